/* trace_check.h: what every record of every reader must hold (sim/trace.h), for tests and fuzzing.
 * A broken one is a CHECK: the test or the fuzzer dies with the record's line. */
#ifndef TESTS_SUPPORT_TRACE_CHECK_H
#define TESTS_SUPPORT_TRACE_CHECK_H

#include <inttypes.h>
#include <string.h>

#include "sim/trace.h"

struct trace_check {
    uint64_t n, last_seq;
    ns_t last_at;
};

static inline void trace_check(struct trace_check *c, const struct trace_source *src,
                               const struct trace_env *env, const struct trace_rec *r)
{
    uint64_t sum = 0;

    CHECK(c->n == 0 || r->seq > c->last_seq, "trace: seq grows", "line %" PRIu64, r->line);
    if (r->after == TRACE_NO_PARENT) {
        CHECK(r->arrival_at >= c->last_at, "trace: arrivals do not decrease", "line %" PRIu64,
              r->line);
        CHECK(r->delay_ns == 0, "trace: a timed record has no delay", "line %" PRIu64, r->line);
        c->last_at = r->arrival_at;
    } else {
        CHECK(r->after < r->seq, "trace: a parent is earlier", "line %" PRIu64, r->line);
        CHECK(r->delay_ns >= 0, "trace: delays are not negative", "line %" PRIu64, r->line);
        CHECK(src->traits.has_after, "trace: traits announce followers", "line %" PRIu64, r->line);
    }
    CHECK(r->line > 0, "trace: lines count from 1", "seq %" PRIu64, r->seq);
    CHECK(r->failed == (r->output_tokens == 0), "trace: no output = failed", "line %" PRIu64,
          r->line);
    CHECK(r->failed || r->prompt_tokens > 0, "trace: a prompt has tokens", "line %" PRIu64,
          r->line);
    CHECK(r->tenant < env->tenants->n, "trace: a tenant's id", "line %" PRIu64, r->line);
    CHECK(r->slo_class == NAMES_NONE || r->slo_class < env->classes->n, "trace: a class's id",
          "line %" PRIu64, r->line);
    CHECK(!r->session || strlen(r->session) <= TRACE_SESSION_MAX, "trace: a session's name fits",
          "line %" PRIu64, r->line);
    for (uint32_t i = 0; i < r->n_segments; i++) {
        CHECK(r->segment[i].tokens > 0, "trace: segments have tokens", "line %" PRIu64, r->line);
        sum += r->segment[i].tokens;
    }
    CHECK(r->n_segments == 0 || sum == r->prompt_tokens, "trace: segments make the prompt",
          "line %" PRIu64, r->line);
    CHECK(r->n_segments == 0 || src->traits.has_hashes, "trace: traits announce segments",
          "line %" PRIu64, r->line);
    c->last_seq = r->seq;
    c->n++;
}

#endif
