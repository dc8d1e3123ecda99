/* engine_model.h: what a serving engine does around the kernels (fidelity.md, "Engine"): how many
 * batches are in flight, what the host costs, when tokens become visible. One engine's numbers are
 * never laid on another's runs. */
#ifndef SIM_ENGINE_MODEL_H
#define SIM_ENGINE_MODEL_H

#include "sim/base.h"

struct engine_model {
    const char *name, *doc, *provenance;
    uint32_t depth;       /* batches in flight: 1 synchronous, 2 asynchronous */
    ns_t host_ns;         /* a step: added when synchronous, a floor when asynchronous */
    ns_t host_seq_ns;     /* more for each sequence in the batch */
    ns_t output_delay_ns; /* from the end of a step to tokens being visible */
    bool null_block;      /* one of num_gpu_blocks is not usable */
};

const struct engine_model *engine_model_find(const char *name); /* NULL: unknown */
const struct engine_model *engine_model_at(uint32_t i);         /* NULL past the end */

/* Host time of a step with that many sequences. */
static inline ns_t engine_model_host_ns(const struct engine_model *m, uint32_t n_seqs)
{
    return m->host_ns + m->host_seq_ns * n_seqs;
}

/* Duration of such a step from the device's time: host + device, or max(host, device). */
static inline ns_t engine_model_step_ns(const struct engine_model *m, uint32_t n_seqs,
                                        double device_ns)
{
    CHECK(device_ns >= 0 && device_ns < 0x1p62, "engine model: a duration is a length of time",
          "%g ns", device_ns);
    ns_t device = ns_round(device_ns), host = engine_model_host_ns(m, n_seqs);
    ns_t step = m->depth > 1 ? MAX(host, device) : host + device;
    return MAX(step, 1);
}

#endif
