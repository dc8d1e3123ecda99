/* token_ratio.h: SGLang's admission (scheduling.md 3.3): a newcomer must find room for its prompt
 * and all that it may emit, while of those that run only a share of what they may still emit is set
 * aside. The share, new_token_ratio, falls while no step runs out of memory and is put back to what
 * was seen when one does; then those that have emitted least are sent away.
 *
 * A policy that uses it starts its state with a struct token_ratio, that of a request with a struct
 * token_ratio_request (zeroed at first), and has TOKEN_RATIO_CALLBACKS in its table. What a request
 * may emit counts up to `clip` tokens, so that a client that asks for everything is let in; a
 * request is never asked for more than all of memory.
 *
 * With kv_admission other than paged the engine's own promise stands instead. */
#ifndef SIM_TOKEN_RATIO_H
#define SIM_TOKEN_RATIO_H

#include "sim/hold.h"

struct token_ratio {
    double ratio;
    double init, least, decay; /* decay: of a step that decodes and preempts nobody */
    uint32_t retract_steps;    /* tokens that each survivor is given after a preemption */
    uint32_t clip;             /* tokens */
    uint64_t left;             /* of the residents: what they may still emit, clipped */
    uint64_t fresh;            /* of those admitted in this decision: counts in full */
    bool decoded, retracted;   /* since the last step ended */
};

struct token_ratio_request {
    uint32_t left; /* its part of that */
};

/* The parameters, for the tables of users. */
#define TOKEN_RATIO_PARAMS                                                                           \
    {"ratio_init", PARAM_REAL, "0.7", "share of what residents may emit that is set aside", 0, 1,    \
     NULL},                                                                                          \
        {"min_factor", PARAM_REAL, "0.14", "the least it falls to, of where it starts", 0, 1, NULL}, \
        {"decay_steps",                                                                              \
         PARAM_INT,                                                                                  \
         "600",                                                                                      \
         "decode steps without preemption until it has fallen to that",                              \
         1,                                                                                          \
         1e9,                                                                                        \
         NULL},                                                                                      \
        {"retract_steps",                                                                            \
         PARAM_INT,                                                                                  \
         "20",                                                                                       \
         "tokens that survivors of a preemption are expected to emit",                               \
         0,                                                                                          \
         1e6,                                                                                        \
         NULL},                                                                                      \
        {"clip", PARAM_INT, "4096", "most output of a request that is set aside, tokens",            \
         1,      1e9,       NULL},                                                                   \
    {                                                                                                \
        "conservativeness", PARAM_REAL, "1", "factor of ratio_init", 0, 100, NULL                    \
    }

void token_ratio_init(struct token_ratio *t, const struct params *p, const struct param_desc *desc,
                      const char *owner);

/* Callbacks of struct scheduler_ops. */
#define TOKEN_RATIO_CALLBACKS                                                                      \
    .step_begin = token_ratio_step_begin, .reserve = token_ratio_reserve,                          \
    .committed = token_ratio_committed, .on_admit = token_ratio_on_admit,                          \
    .on_tokens = token_ratio_on_tokens, .on_finish = token_ratio_on_finish,                        \
    .on_preempt = token_ratio_on_preempt, .step_end = token_ratio_step_end,                        \
    .victim = token_ratio_victim, .hold = hold_until_admission, .leapt = token_ratio_leapt

void token_ratio_step_begin(void *self, const struct sched_view *v);
uint64_t token_ratio_reserve(void *self, const struct sched_view *v, req_id id, uint64_t deflt);
uint64_t token_ratio_committed(void *self, const struct sched_view *v, uint64_t deflt);
void token_ratio_on_admit(void *self, const struct sched_view *v, req_id id, uint32_t extend,
                          uint32_t cached, bool resumed);
void token_ratio_on_tokens(void *self, const struct sched_view *v, req_id id, uint32_t prefill_done,
                           uint32_t out_new, uint32_t recomputed, ns_t at);
void token_ratio_on_finish(void *self, const struct sched_view *v, req_id id,
                           enum finish_reason why, ns_t at);
void token_ratio_on_preempt(void *self, const struct sched_view *v, req_id id,
                            enum preempt_mode mode);
req_id token_ratio_victim(void *self, const struct sched_view *v, uint64_t need_units,
                          req_id requester, enum preempt_mode *mode);
void token_ratio_step_end(void *self, const struct sched_view *v, ns_t duration_ns);
void token_ratio_leapt(void *self, const struct sched_view *v, uint32_t n_steps);

#endif
