/* blocks.c: whose KV blocks are whose. A request's blocks are a pinned path of the prefix tree
 * plus units of its own; they are taken before a step is formed and go to the tree (cached), to the
 * host (swap) or back to the free ones when it leaves the batch.
 *
 * Units move between free, held and cached in this file only (I1 is kept by sim/kv.c). */
#include "sim/core.h"

uint64_t blocks_resident_units(const struct replica *r, const struct request *q, uint32_t tokens)
{
    return r->cfg->kv->resident_units(r->kv_policy, q->info.prompt_tokens, tokens);
}

uint64_t blocks_available_units(const struct replica *r)
{
    return r->kv.free + r->kv.cached;
}

static uint64_t units(const struct replica *r, uint32_t blocks)
{
    return blocks * r->limits.units_per_block;
}

static void update_held(const struct replica *r, struct request *q)
{
    q->info.held_units = q->own_units + units(r, q->path_blocks);
}

/* ---- the prefix tree ---- */

/* May a lookup find anything? A private stream is in the tree only after a preemption. */
static bool may_hit(const struct replica *r, const struct request *q)
{
    return r->tree != NULL && (q->content.shareable || q->info.preemptions > 0);
}

/* A hit covers full blocks and leaves at least one token to compute. */
static uint32_t hit_limit(const struct replica *r, const struct request *q)
{
    return (q->info.prompt_tokens + q->info.generated - 1) / r->limits.block_size;
}

uint32_t blocks_cached_len(const struct replica *r, const struct request *q)
{
    if (!may_hit(r, q))
        return 0;
    struct key_run *run = NULL;
    size_t n = 0, cap = 0;
    uint32_t limit = hit_limit(r, q);
    content_runs(&q->content, 0, limit, &run, &n, &cap);
    uint32_t blocks = ptree_match(r->tree, run, n, limit);
    mem_free(run);
    return blocks * r->limits.block_size;
}

uint32_t blocks_pin_hit(struct replica *r, struct request *q)
{
    if (!may_hit(r, q))
        return 0;
    uint32_t limit = hit_limit(r, q);
    r->n_runs = 0;
    content_runs(&q->content, 0, limit, &r->runs, &r->n_runs, &r->runs_cap);
    struct ptree_pin pin = ptree_pin(r->tree, r->runs, r->n_runs, limit, false);
    kv_pin(&r->kv, units(r, pin.n_revived));
    q->path_node = pin.node;
    q->path_blocks = pin.n_blocks;
    update_held(r, q);
    return pin.n_blocks * r->limits.block_size;
}

static void unpin_path(struct replica *r, struct request *q, bool touch)
{
    if (q->path_blocks > 0)
        kv_cache(&r->kv, units(r, ptree_unpin(r->tree, q->path_node, touch)));
    q->path_node = PTREE_ROOT;
    q->path_blocks = 0;
    update_held(r, q);
}

void blocks_unpin_hit(struct replica *r, struct request *q)
{
    unpin_path(r, q, false);
}

/* Hands the full blocks computed so far to the tree. Where somebody else's block of the same
 * content is there already, the request's own one stays a duplicate until it leaves. */
static void insert_full(struct replica *r, struct request *q)
{
    uint32_t full = q->info.computed / r->limits.block_size;
    if (full <= q->path_blocks)
        return;
    uint32_t added, revived;
    r->n_runs = 0;
    content_runs(&q->content, q->path_blocks, full - q->path_blocks, &r->runs, &r->n_runs,
                 &r->runs_cap);
    q->path_node = ptree_extend(r->tree, q->path_node, r->runs, r->n_runs, &added, &revived);
    kv_pin(&r->kv, units(r, revived));
    CHECK(units(r, added) <= q->own_units, INV_UNITS, "%llu units of its own, %u blocks to share",
          (unsigned long long)q->own_units, added);
    q->own_units -= units(r, added);
    q->path_blocks = full;
    update_held(r, q);
}

void blocks_publish(struct replica *r, struct request *q)
{
    if (r->tree != NULL && q->content.shareable)
        insert_full(r, q);
}

/* ---- taking and giving back ---- */

static bool evict_until(struct replica *r, uint64_t need)
{
    if (need > blocks_available_units(r))
        return false;
    while (r->kv.free < need) {
        uint64_t last = 0;
        uint32_t want = (uint32_t)div_ceil_u64(need - r->kv.free, r->limits.units_per_block);
        uint32_t gone = ptree_evict(r->tree, want, &last);
        CHECK(gone > 0, INV_UNITS, "%llu units cached, none evictable",
              (unsigned long long)r->kv.cached);
        kv_evict(&r->kv, units(r, gone));
        r->n_evicted += gone;
        r->last_evicted = last;
    }
    return true;
}

void blocks_fold_evictions(struct replica *r)
{
    if (r->n_evicted == 0)
        return;
    sim_decision(r->sim, DEC_EVICT, r->last_evicted, r->sim->now, r->n_evicted);
    r->n_evicted = 0;
}

bool blocks_alloc(struct replica *r, struct request *q, uint32_t n_tokens)
{
    uint64_t had = blocks_resident_units(r, q, q->info.computed);
    uint64_t need = blocks_resident_units(r, q, q->info.computed + n_tokens) - had;
    if (need == 0)
        return true;
    if (!evict_until(r, need))
        return false;
    kv_hold(&r->kv, need);
    q->own_units += need;
    uint64_t kept = MIN(need, q->promised_units);
    q->promised_units -= kept;
    r->promised_units -= kept;
    update_held(r, q);
    return true;
}

static void drop_own(struct replica *r, struct request *q)
{
    kv_drop(&r->kv, q->own_units);
    r->promised_units -= q->promised_units;
    q->own_units = q->promised_units = 0;
    q->info.computed = 0;
    update_held(r, q);
}

/* Blocks on the host that belong to `tokens` tokens. */
static uint32_t host_blocks(const struct replica *r, uint32_t tokens)
{
    return div_ceil_u32(tokens, r->limits.block_size);
}

void blocks_forget_host(struct replica *r, struct request *q)
{
    r->host_used -= host_blocks(r, q->host_tokens);
    q->host_tokens = 0;
}

static uint64_t path_and_own(const struct replica *r, const struct request *q)
{
    return q->own_units + units(r, q->path_blocks);
}

static void transfer_event(struct replica *r, const struct link *l)
{
    ns_t at = link_next_at(l);
    if (at < NS_NEVER)
        evq_push(&r->sim->evq, (struct event){.at = at,
                                              .kind = EV_TRANSFER,
                                              .entity = 2 * r->id + (l == &r->in),
                                              .number = l->generation});
}

void blocks_release(struct replica *r, struct request *q)
{
    if (q->info.state == REQ_SWAPPING_OUT) {
        link_cancel(&r->out, r->sim->now, q->transfer);
        transfer_event(r, &r->out);
        r->leaving_units -= path_and_own(r, q);
    }
    blocks_forget_host(r, q);
    bool was_private = r->tree != NULL && !q->content.shareable && q->info.preemptions > 0;
    if (was_private) { /* nobody else can hit its blocks: they go with it */
        if (q->path_blocks == 0)
            (void)blocks_pin_hit(r, q);
        uint32_t removed = 0;
        if (q->path_blocks > 0) {
            uint32_t cached = ptree_unpin_drop(r->tree, q->path_node, q->path_blocks, &removed);
            kv_drop(&r->kv, units(r, removed));
            kv_cache(&r->kv, units(r, cached));
        }
        q->path_node = PTREE_ROOT;
        q->path_blocks = 0;
    }
    unpin_path(r, q, true);
    drop_own(r, q);
}

/* ---- preemption ---- */

static void transfer_start(struct replica *r, struct link *l, req_id id, uint32_t blocks)
{
    struct request *q = sim_req(r->sim, id);
    uint64_t bytes = blocks * r->limits.block_bytes;
    q->transfer = link_submit(l, r->sim->now, bytes, id);
    metrics_swapped(r->sim->metrics, r->sim->now, bytes);
    transfer_event(r, l);
}

static void swap_out(struct replica *r, req_id id)
{
    struct request *q = sim_req(r->sim, id);
    q->host_tokens = q->info.computed;
    r->host_used += host_blocks(r, q->host_tokens);
    r->leaving_units += path_and_own(r, q);
    q->info.state = REQ_SWAPPING_OUT; /* its blocks stay held until the copy is out */
    transfer_start(r, &r->out, id, host_blocks(r, q->host_tokens));
}

static void drop_for_recompute(struct replica *r, req_id id)
{
    struct request *q = sim_req(r->sim, id);
    q->recompute_until = MAX(q->recompute_until, q->info.computed);
    if (r->tree != NULL) /* its own full blocks can be hit again when it comes back */
        insert_full(r, q);
    unpin_path(r, q, true);
    drop_own(r, q);
    q->info.state = REQ_WAITING;
}

void blocks_preempt(struct replica *r, req_id id, enum preempt_mode mode)
{
    struct sim *s = r->sim;
    struct request *q = sim_req(s, id);
    blocks_fold_evictions(r);
    queue_remove(s, &r->running, id);
    r->running_tokens -= request_len(q);
    s->state.running--;
    q->info.preemptions++;
    if (r->host_used + host_blocks(r, q->info.computed) > r->limits.host_blocks)
        mode = PREEMPT_RECOMPUTE; /* no room on the host */
    if (mode == PREEMPT_SWAP)
        swap_out(r, id);
    else
        drop_for_recompute(r, id);
    waiting_enter(r, id, true);
    metrics_preemption(s->metrics, s->now);
    sim_decision(s, DEC_PREEMPT, q->info.seq, s->now, mode);
    if (r->ops->on_preempt != NULL)
        r->ops->on_preempt(r->sched, replica_view(r), id, mode);
}

/* ---- swap ---- */

void blocks_load(struct replica *r, req_id id)
{
    struct request *q = sim_req(r->sim, id);
    q->info.state = REQ_LOADING;
    transfer_start(r, &r->in, id, host_blocks(r, q->info.computed) - q->path_blocks);
}

static void report_transfer(struct replica *r, const struct request *q, const char *direction,
                            const struct link_transfer *t, uint64_t moved)
{
    struct sim *s = r->sim;
    const struct sink *sink = &s->cfg->sink;
    if (!s->cfg->store_steps || sink->ops == NULL || sink->ops->transfer == NULL)
        return;
    struct transfer_row row = {.replica = r->id,
                               .n = t->number,
                               .seq = q->info.seq,
                               .direction = direction,
                               .units = moved,
                               .submitted_at = t->submitted_at,
                               .done_at = s->now};
    (void)sink->ops->transfer(sink->self, &row, s->err);
}

static void swapped_out(struct replica *r, struct request *q, const struct link_transfer *t)
{
    report_transfer(r, q, "out", t, path_and_own(r, q));
    r->leaving_units -= path_and_own(r, q);
    unpin_path(r, q, true);
    drop_own(r, q);
    q->info.state = REQ_SWAPPED;
}

static void loaded(struct replica *r, struct request *q, const struct link_transfer *t)
{
    report_transfer(r, q, "in", t, q->own_units);
    blocks_forget_host(r, q);
    q->info.state = REQ_RUNNING;
}

void blocks_transfers_done(struct replica *r, struct link *l, uint64_t generation)
{
    if (generation != l->generation)
        return; /* the link's schedule has changed since: a later event stands for it */
    struct link_transfer t;
    while (link_take_done(l, r->sim->now, &t)) {
        struct request *q = sim_req(r->sim, (req_id)t.tag);
        if (l == &r->out)
            swapped_out(r, q, &t);
        else
            loaded(r, q, &t);
    }
    transfer_event(r, l);
    replica_wake(r);
}
