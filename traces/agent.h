/* agent.h: what the calls of an agent's session are like: recorded sessions of a file, or the
 * quantiles of such a file. Recorded characters count as tokens, 4 each. */
#ifndef TRACES_AGENT_H
#define TRACES_AGENT_H

#include "sim/rng.h"

struct agent_call {
    uint32_t context_tokens; /* the whole prompt, >= 1 */
    uint32_t output_tokens;  /* >= 1 */
    double gap_s;            /* to the next call as recorded: the model's latency and the tools' */
};

struct agent {
    const struct agent_table *table; /* NULL: recorded sessions */
    struct agent_call *call;         /* owned: of all sessions */
    size_t n_calls, call_cap;
    size_t *first; /* owned: of each session's calls; one more for the end */
    size_t n_sessions, first_cap;
};

struct agent_session {
    size_t recorded; /* which; without a file: 0 */
    uint32_t n_calls;
};

/* `id` is one of the generator's choices; `path` "" for the quantiles. */
bool agent_open(struct agent *a, const char *id, const char *path, struct err *e) NODISCARD;
void agent_release(struct agent *a);

struct agent_session agent_session_draw(const struct agent *a, gsl_rng *rng);

/* The session's call `i` (0..), where `history` tokens are the call before and its output. */
struct agent_call agent_call_draw(const struct agent *a, const struct agent_session *s, uint32_t i,
                                  uint32_t history, gsl_rng *rng);

#endif
