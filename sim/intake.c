/* intake.c: records on their way in: read ahead of the clock, kept in slots, handed over as arrival
 * events when the trace says so, when a place is free (closed loop), or when what they follow is
 * done. */
#include <string.h>

#include "sim/core.h"

/* ---- live requests by seq, for followers ---- */

static size_t seqmap_slot(const struct sim *s, uint64_t seq)
{
    size_t i = (size_t)hash_u64(seq) & (s->seqmap_len - 1);
    while (s->seqmap[i].id != REQ_NONE && s->seqmap[i].seq != seq)
        i = (i + 1) & (s->seqmap_len - 1);
    return i;
}

static void seqmap_put(struct sim *s, uint64_t seq, req_id id)
{
    if (4 * (s->seqmap_used + 1) > 3 * s->seqmap_len) {
        struct seqmap_entry *old = s->seqmap;
        size_t old_len = s->seqmap_len;
        s->seqmap_len = MAX((size_t)64, 2 * old_len);
        s->seqmap = mem_alloc(s->seqmap_len * sizeof(*s->seqmap));
        for (size_t i = 0; i < s->seqmap_len; i++)
            s->seqmap[i].id = REQ_NONE;
        for (size_t i = 0; i < old_len; i++)
            if (old[i].id != REQ_NONE)
                s->seqmap[seqmap_slot(s, old[i].seq)] = old[i];
        mem_free(old);
    }
    s->seqmap[seqmap_slot(s, seq)] = (struct seqmap_entry){seq, id};
    s->seqmap_used++;
}

static req_id seqmap_get(const struct sim *s, uint64_t seq)
{
    return s->seqmap_len == 0 ? REQ_NONE : s->seqmap[seqmap_slot(s, seq)].id;
}

static void seqmap_drop(struct sim *s, uint64_t seq)
{
    size_t mask = s->seqmap_len - 1, i = seqmap_slot(s, seq);
    if (s->seqmap[i].id == REQ_NONE)
        return;
    s->seqmap_used--;
    for (size_t j = (i + 1) & mask; s->seqmap[j].id != REQ_NONE; j = (j + 1) & mask) {
        size_t home = (size_t)hash_u64(s->seqmap[j].seq) & mask;
        if (((j - home) & mask) >= ((j - i) & mask)) { /* may move back into the hole */
            s->seqmap[i] = s->seqmap[j];
            i = j;
        }
    }
    s->seqmap[i].id = REQ_NONE;
}

/* ---- reading the trace ---- */

/* Tenants that share nothing have streams of their own, whatever is in them. */
static const struct segment *segments_of(struct sim *s, const struct trace_rec *rec)
{
    if (!s->cfg->isolate_tenants || rec->n_segments == 0)
        return rec->segment;
    s->segment = mem_reserve(s->segment, &s->segment_cap, rec->n_segments, sizeof(*s->segment));
    for (uint32_t i = 0; i < rec->n_segments; i++) {
        s->segment[i] = rec->segment[i];
        s->segment[i].stream = hash_mix(rec->segment[i].stream, rec->tenant);
    }
    return s->segment;
}

static req_id request_new(struct sim *s, const struct trace_rec *rec)
{
    req_id id = slots_take(&s->requests);
    slots_ensure(&s->req_state, id + 1);
    slots_ensure(&s->tenant_router, rec->tenant + 1);
    slots_ensure(&s->tenant_predictor, rec->tenant + 1);
    struct request *q = sim_req(s, id);
    *q = (struct request){
        .id = id,
        .info = {.seq = rec->seq,
                 .arrived_at = rec->arrival_at,
                 .last_run_at = -1,
                 .tenant = rec->tenant,
                 .slo_class = rec->slo_class,
                 .priority = rec->priority,
                 .prompt_tokens = rec->prompt_tokens,
                 .max_tokens = rec->max_tokens,
                 .predicted_tokens = rec->predicted_tokens,
                 .session_hash = rec->session != NULL ? hash_str(rec->session) : 0,
                 .state = REQ_DEFERRED},
        .output_tokens = rec->output_tokens,
        .turn = rec->turn,
        .replica = UINT32_MAX,
        .prev = REQ_NONE,
        .next = REQ_NONE,
        .after = rec->after,
        .delay_ns = rec->delay_ns,
        .first_child = REQ_NONE,
        .last_child = REQ_NONE,
        .next_sibling = REQ_NONE,
        .admitted_at = -1,
        .first_token_at = -1,
        .last_token_at = -1,
        .itl_max_ns = -1,
    };
    if (rec->session != NULL)
        memcpy(q->session, rec->session, strnlen(rec->session, TRACE_SESSION_MAX));
    content_build(&q->content, rec->seq, rec->prompt_tokens, s->cfg->replica[0].limits.block_size,
                  segments_of(s, rec), rec->n_segments, rec->continues);
    if (s->cfg->trace.traits.has_after)
        seqmap_put(s, rec->seq, id);
    return id;
}

void intake_free(struct sim *s, req_id id)
{
    struct request *q = sim_req(s, id);
    if (s->cfg->trace.traits.has_after)
        seqmap_drop(s, q->info.seq);
    content_release(&q->content);
    q->live = false;
    slots_give(&s->requests, id);
}

/* Followers wait at the record they follow, in the order of the trace. */
static bool attach(struct sim *s, req_id id, const struct trace_rec *rec)
{
    struct request *q = sim_req(s, id);
    req_id parent = seqmap_get(s, q->after);
    if (parent == REQ_NONE)
        return err_set(s->err,
                       "trace line %llu: row %llu follows row %llu, which was done before this row "
                       "was read; put followers within %u rows of the row they follow",
                       (unsigned long long)rec->line, (unsigned long long)rec->seq,
                       (unsigned long long)rec->after, INTAKE_AHEAD);
    struct request *p = sim_req(s, parent);
    if (p->first_child == REQ_NONE)
        p->first_child = id;
    else
        sim_req(s, p->last_child)->next_sibling = id;
    p->last_child = id;
    return true;
}

/* Reads until `want` timed records are waiting their turn, or the trace ends. */
static bool read_ahead(struct sim *s)
{
    size_t want = s->cfg->trace.traits.has_after ? INTAKE_AHEAD : 1;
    while (!s->trace_ended && s->ahead_n < want) {
        struct trace_rec rec;
        enum trace_status st = s->cfg->trace.ops->next(s->cfg->trace.self, &rec, s->err);
        if (st == TRACE_ERR)
            return false;
        if (st == TRACE_END) {
            s->trace_ended = true;
            break;
        }
        if (rec.failed) {
            metrics_failed_in_trace(s->metrics);
            s->res->failed_in_trace++;
            continue;
        }
        req_id id = request_new(s, &rec);
        if (rec.after != TRACE_NO_PARENT) {
            if (!attach(s, id, &rec))
                return false;
            continue;
        }
        s->ahead[(s->ahead_head + s->ahead_n++) % s->ahead_cap] = id;
    }
    return true;
}

static void arrive_at(struct sim *s, req_id id, ns_t at)
{
    struct request *q = sim_req(s, id);
    q->info.arrived_at = at;
    q->counted = at >= s->cfg->metrics.warmup_ns;
    evq_push(&s->evq,
             (struct event){.at = at, .kind = EV_ARRIVAL, .number = q->info.seq, .data = id});
}

/* The next timed record gets its arrival event: when the trace says, or now (closed loop). */
bool intake_next(struct sim *s, ns_t now)
{
    if (!read_ahead(s))
        return false;
    s->next_timed_at = NS_NEVER;
    if (s->ahead_n == 0)
        return true;
    req_id id = s->ahead[s->ahead_head];
    s->ahead_head = (s->ahead_head + 1) % s->ahead_cap;
    s->ahead_n--;
    ns_t at = s->cfg->concurrency > 0 ? now : sim_req(s, id)->info.arrived_at;
    arrive_at(s, id, at);
    s->next_timed_at = at;
    return true;
}

/* ---- followers ---- */

static void release_children(struct sim *s, const struct request *parent, ns_t at)
{
    for (req_id id = parent->first_child; id != REQ_NONE; id = sim_req(s, id)->next_sibling)
        arrive_at(s, id, ns_add(at, sim_req(s, id)->delay_ns));
}

/* What follows a refused request is refused then, and so is what follows that: a loop over a list,
 * since a chain of followers may be as long as the trace. */
static void refuse_children(struct sim *s, const struct request *parent, ns_t at)
{
    if (parent->first_child == REQ_NONE)
        return;
    if (s->orphan_first == REQ_NONE)
        s->orphan_first = parent->first_child;
    else
        sim_req(s, s->orphan_last)->next_sibling = parent->first_child;
    s->orphan_last = parent->last_child;
    if (s->refusing) /* the loop below is running already, and will come to them */
        return;
    s->refusing = true;
    while (s->orphan_first != REQ_NONE) {
        req_id id = s->orphan_first;
        struct request *q = sim_req(s, id);
        s->orphan_first = q->next_sibling;
        q->info.arrived_at = at;
        q->counted = at >= s->cfg->metrics.warmup_ns;
        sim_arrived(s, id, at);
        sim_done(s, id, STATUS_REFUSED, "parent", at);
    }
    s->refusing = false;
}

void intake_followers(struct sim *s, const struct request *parent, bool refused, ns_t at)
{
    if (refused)
        refuse_children(s, parent, at);
    else
        release_children(s, parent, at);
}
