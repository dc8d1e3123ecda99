/* dialogue.c: see dialogue.h. Every session draws from a stream of its own, so that how sessions
 * interleave changes nothing in them. */
#include "traces/dialogue.h"

#include <inttypes.h>
#include <stdio.h>

#include "sim/hash.h"
#include "traces/record.h"

#define SALT_TALK UINT64_C(0x6469616c6f677565)
#define TURNS_MAX 1000000u

struct talk {
    struct rng rng;
    struct dialogue_start start;
    struct agent_session agent;
    uint64_t id, last_seq;
    uint32_t turn, n_turns;
    uint32_t history; /* tokens: last prompt and its output */
    uint32_t epoch;   /* how often the history was cut */
    ns_t gap_ns;      /* from the turn before */
};

void dialogue_init(struct dialogue *d, uint64_t seed)
{
    d->seed = seed;
    d->rng = rng_gsl(seed, "generate.session");
}

void dialogue_release(struct dialogue *d)
{
    gsl_rng_free(d->rng);
    dist_release(&d->c.turns);
    dist_release(&d->c.think);
    heap_release(&d->heap);
    mem_free(d->talk);
    mem_free(d->idle);
}

/* The state of `t`'s stream goes into d->rng, and back. */
static gsl_rng *take_rng(struct dialogue *d, const struct talk *t)
{
    *(struct rng *)d->rng->state = t->rng;
    return d->rng;
}

static void give_rng(const struct dialogue *d, struct talk *t)
{
    t->rng = *(const struct rng *)d->rng->state;
}

static uint32_t free_talk(struct dialogue *d)
{
    if (d->n_idle > 0)
        return d->idle[--d->n_idle];
    d->talk = mem_reserve(d->talk, &d->talk_cap, d->n_talks + 1, sizeof(*d->talk));
    d->idle = mem_reserve(d->idle, &d->idle_cap, d->n_talks + 1, sizeof(*d->idle));
    return (uint32_t)d->n_talks++;
}

void dialogue_begin(struct dialogue *d, const struct dialogue_start *start)
{
    uint32_t i = free_talk(d);
    struct talk *t = &d->talk[i];
    gsl_rng *rng;
    char name[48];

    *t = (struct talk){.start = *start, .id = d->n_begun++};
    snprintf(name, sizeof(name), "generate.session.%" PRIu64, t->id);
    rng_init(&t->rng, d->seed, name);
    rng = take_rng(d, t);
    if (d->c.agent) {
        t->agent = agent_session_draw(d->c.agent, rng);
        t->n_turns = t->agent.n_calls;
    } else {
        t->n_turns = dist_count(&d->c.turns, rng, 1, TURNS_MAX);
    }
    give_rng(d, t);
    heap_push(&d->heap, start->at, i);
}

bool dialogue_goes_on(const struct dialogue *d, ns_t at)
{
    return d->heap.n > 0 && (d->c.follow || d->heap.v[0].at <= at);
}

/* Lengths of the next turn, and the gap behind it. false: its context would be too long. */
static bool draw_turn(struct dialogue *d, struct talk *t, struct trace_rec *rec, double *gap_s)
{
    gsl_rng *rng = take_rng(d, t);

    if (d->c.agent) {
        struct agent_call c = agent_call_draw(d->c.agent, &t->agent, t->turn, t->history, rng);

        rec->prompt_tokens = c.context_tokens;
        rec->output_tokens = c.output_tokens;
        *gap_s = c.gap_s;
    } else {
        rec->prompt_tokens = t->history + dist_count(d->c.prompt, rng, 1, d->c.max_context);
        rec->output_tokens = dist_count(d->c.output, rng, 1, TOKENS_MAX);
        *gap_s = dist_draw(&d->c.think, rng);
    }
    give_rng(d, t);
    if (t->turn == 0)
        rec->prompt_tokens = MIN(rec->prompt_tokens, d->c.max_context);
    return rec->prompt_tokens <= d->c.max_context;
}

/* Without a prefix the session's name says what is shared. With one: the group's, then a stream of
 * the session's own, in which the output goes on. */
static void set_content(struct dialogue *d, struct talk *t, struct trace_rec *rec)
{
    snprintf(d->session, sizeof(d->session), "s%" PRIu64, t->id);
    rec->session = d->session;
    rec->turn = t->turn;
    if (rec->prompt_tokens < t->history)
        t->epoch++;
    t->history = rec->prompt_tokens + rec->output_tokens;
    if (d->c.prefix_tokens == 0)
        return;
    record_prefix(rec, d->segment, t->start.group, d->c.prefix_tokens,
                  hash_mix(hash_mix(SALT_TALK, t->id), t->epoch));
    rec->continues = rec->n_segments > 0;
}

bool dialogue_next(struct dialogue *d, uint64_t seq, struct trace_rec *rec)
{
    struct heap_item item = heap_pop(&d->heap);
    struct talk *t = &d->talk[item.id];
    double gap_s;

    *rec = (struct trace_rec){.after = TRACE_NO_PARENT,
                              .arrival_at = item.at,
                              .tenant = t->start.tenant,
                              .slo_class = NAMES_NONE};
    if (t->turn == t->n_turns || !draw_turn(d, t, rec, &gap_s)) {
        d->idle[d->n_idle++] = item.id;
        return false;
    }
    set_content(d, t, rec);
    if (d->c.follow && t->turn > 0) {
        rec->after = t->last_seq;
        rec->delay_ns = t->gap_ns;
        rec->arrival_at = 0;
    }
    t->gap_ns = ns_from_s(gap_s);
    t->last_seq = seq;
    t->turn++;
    heap_push(&d->heap, ns_add(item.at, t->gap_ns), item.id);
    return true;
}
