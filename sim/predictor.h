/* predictor.h: the interface of output-length predictors. A predictor never sees the truth of a
 * live request, unless it declares PREDICTOR_ORACLE and is handed it. Predictors learn online from
 * finished requests. All lengths in tokens. */
#ifndef SIM_PREDICTOR_H
#define SIM_PREDICTOR_H

#include "sim/arena.h"
#include "sim/params.h"
#include "sim/request.h"

enum predictor_needs { PREDICTOR_ORACLE = 1u << 0 };

struct prediction {
    double mean;     /* 0: nothing is known */
    uint32_t bucket; /* upper edge of the predicted length class; 0: none */
};

/* Length classes double: (0, 1], (1, 2], (2, 4], ... The upper edge of the one `tokens` is in. */
static inline uint32_t prediction_class(double tokens)
{
    uint32_t edge = 1;
    while (edge < tokens && edge < UINT32_C(1) << 31)
        edge *= 2;
    return edge;
}

/* A length and its class; of a length of 0, that nothing is known. */
static inline struct prediction prediction_of(double tokens)
{
    if (!(tokens > 0))
        return (struct prediction){0};
    return (struct prediction){.mean = tokens, .bucket = prediction_class(tokens)};
}

struct predictor_ops {
    const char *name, *doc, *source;
    const struct param_desc *params;
    uint32_t needs;
    size_t tenant_state_bytes;
    void *(*open)(struct arena *, const struct params *, uint64_t seed, struct err *);
    /* true_output is 0 unless PREDICTOR_ORACLE. */
    struct prediction (*predict)(void *, const struct req_info *, void *tenant_state,
                                 uint32_t true_output);
    void (*learn)(void *, const struct req_info *, void *tenant_state,
                  uint32_t output); /* [nothing] */
};

#endif
