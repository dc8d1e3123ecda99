/* replay.c: backend `replay`: plays the steps and swaps of an earlier run back, each at its time.
 * What must hold: a decision of the core that the recording shows to be another one is refused by
 * name, never given some other step's time. */
#include <inttypes.h>
#include <stdio.h>

#include "sim/backend.h"

#define DIFFERS                                                                                    \
    "the first decision that differs; replay with the run's own configuration, trace and program"

struct replay {
    const struct recording *rec;
};

static void *open_replay(struct arena *a, const struct backend_env *env, struct backend_note *note,
                         struct err *e)
{
    if (env->recording == NULL) {
        err_set(e, "backend: replay plays a stored run back; give --replay DB --run ID");
        return NULL;
    }
    struct replay *r = arena_alloc(a, sizeof(*r));
    r->rec = env->recording;
    (void)snprintf(note->cost_model, sizeof(note->cost_model), "played back: %s",
                   r->rec->cost_model);
    return r;
}

static uint64_t context_tokens(const struct batch_shape *s)
{
    return s->decode_context_sum + s->prefill_history_sum;
}

static bool same(const struct recorded_step *was, const struct batch_shape *is)
{
    return was->n_decode == is->n_decode && was->n_prefill == is->n_prefill &&
           was->decode_tokens == is->decode_tokens && was->prefill_tokens == is->prefill_tokens &&
           was->context_tokens == context_tokens(is);
}

static bool step(void *self, const struct batch *b, struct step_cost *cost, struct err *e)
{
    const struct replay *r = self;
    if (b->step >= r->rec->n_steps)
        return err_set(e, "replay: the run has %zu steps, and now step %" PRIu64 " is formed: %s",
                       r->rec->n_steps, b->step, DIFFERS);
    const struct recorded_step *was = &r->rec->step[b->step];
    const struct batch_shape *is = &b->shape;
    if (!same(was, is))
        return err_set(e,
                       "replay: step %" PRIu64 " at %" PRId64 " ns decoded %u and prefilled %u "
                       "sequences (%u and %u tokens, %" PRIu64 " before them), now %u and %u (%u "
                       "and %u, %" PRIu64 "): %s",
                       b->step, was->start_at, was->n_decode, was->n_prefill, was->decode_tokens,
                       was->prefill_tokens, was->context_tokens, is->n_decode, is->n_prefill,
                       is->decode_tokens, is->prefill_tokens, context_tokens(is), DIFFERS);
    *cost = (struct step_cost){
        .device_ns = was->device_ns, .wall_ns = was->duration_ns, .start_at = was->start_at};
    return true;
}

static bool swap(void *self, const struct swap *w, ns_t *done_at, struct err *e)
{
    const struct replay *r = self;
    const char *way = w->out ? "out" : "in";
    if (w->number >= r->rec->n_swaps)
        return err_set(e,
                       "replay: the run has %zu swaps, and now request %" PRIu64 " is swapped %s "
                       "at %" PRId64 " ns: %s",
                       r->rec->n_swaps, w->seq, way, w->submitted_at, DIFFERS);
    const struct recorded_swap *was = &r->rec->swap[w->number];
    if (was->seq != w->seq || was->out != w->out || was->submitted_at != w->submitted_at)
        return err_set(e,
                       "replay: swap %" PRIu64 " took request %" PRIu64 " %s at %" PRId64
                       " ns, now request %" PRIu64 " %s at %" PRId64 " ns: %s",
                       w->number, was->seq, was->out ? "out" : "in", was->submitted_at, w->seq, way,
                       w->submitted_at, DIFFERS);
    *done_at = was->done_at;
    return true;
}

static const struct param_desc no_params[] = {{.name = NULL}};

const struct backend_ops backend_replay = {
    .name = "replay",
    .doc = "step and swap times of a stored run (--replay DB --run ID); the same decisions",
    .source = "architecture.md section 8",
    .params = no_params,
    .caps = BACKEND_MEASURED,
    .open = open_replay,
    .step = step,
    .swap = swap,
};
