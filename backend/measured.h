/* measured.h: one step that was measured: what a cost model is fitted to and judged by. */
#ifndef BACKEND_MEASURED_H
#define BACKEND_MEASURED_H

#include "sim/backend.h"

struct measured_step {
    struct batch_shape shape; /* decode_context_max may be 0: not known */
    double device_ns;         /* > 0: the step without what the engine model says of the host */
    double host_ns;           /* the rest of the step's duration */
    uint32_t run;             /* steps of one run are held out together */
    bool held_out;            /* never fitted, only judged */
};

/* Kinds of batches that behave differently enough to be judged apart. */
enum regime { REGIME_DECODE, REGIME_PREFILL, REGIME_MIXED, N_REGIMES };

static inline enum regime regime_of(const struct batch_shape *s)
{
    if (s->n_prefill == 0)
        return REGIME_DECODE;
    return s->n_decode == 0 ? REGIME_PREFILL : REGIME_MIXED;
}

#endif
