/* blocks.c: whose KV blocks are whose. A request's blocks are a pinned path of the prefix tree
 * plus units of its own; they are taken before a step is formed and go to the tree (cached), to the
 * host (swap) or back to the free ones when it leaves the batch.
 *
 * Units move between free, held and cached in this file only (I1 is kept by sim/kv.c). */
#include "sim/core.h"

uint64_t blocks_resident_units(const struct replica *r, const struct request *q, uint32_t tokens)
{
    return kv_rule_units(r->kv_rule, q->info.prompt_tokens, tokens);
}

uint64_t blocks_peak_units(const struct replica *r, const struct request *q, uint32_t tokens)
{
    return kv_rule_peak_units(r->kv_rule, q->info.prompt_tokens, tokens);
}

static uint64_t units(const struct replica *r, uint32_t blocks)
{
    return blocks * r->limits.units_per_block;
}

static void update_held(const struct replica *r, struct request *q)
{
    q->info.held_units = q->own_units + units(r, q->path_blocks);
}

/* A lossy policy shares nothing, so that all it holds is its own: what is too much is dropped when
 * it computes next. */
uint64_t blocks_growth(const struct replica *r, const struct request *q, uint32_t tokens)
{
    uint32_t computed = q->info.computed, prompt = q->info.prompt_tokens;
    if (r->cfg->kv->lossless) /* asked for every resident in every step */
        return tokens > computed ? units(r, div_ceil_u32(tokens, r->limits.block_size) -
                                                div_ceil_u32(computed, r->limits.block_size))
                                 : 0;
    bool decodes = computed >= prompt || q->host_tokens > computed; /* or comes back as it was */
    uint64_t then = decodes ? blocks_resident_units(r, q, tokens) : blocks_peak_units(r, q, tokens);
    return then - MIN(then, q->own_units);
}

static void drop_surplus(struct replica *r, struct request *q, uint32_t tokens)
{
    if (r->cfg->kv->lossless || q->info.computed < q->info.prompt_tokens)
        return;
    uint64_t stays = blocks_resident_units(r, q, tokens);
    if (q->own_units <= stays)
        return;
    kv_drop(&r->kv, q->own_units - stays);
    q->own_units = stays;
    update_held(r, q);
}

uint64_t blocks_available_units(const struct replica *r)
{
    return r->kv.free + r->kv.cached;
}

/* Who holds the KV itself; NULL: nobody, it is only counted. */
static const struct kv_events *holder(const struct replica *r)
{
    return r->cfg->backend->kv;
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

struct ptree_hit blocks_find(const struct replica *r, const struct request *q)
{
    if (!may_hit(r, q))
        return (struct ptree_hit){.node = PTREE_ROOT};
    struct key_run *run = NULL;
    size_t n = 0, cap = 0;
    uint32_t limit = hit_limit(r, q);
    content_runs(&q->content, 0, limit, &run, &n, &cap);
    struct ptree_hit hit = ptree_find(r->tree, run, n, limit);
    mem_free(run);
    return hit;
}

uint32_t blocks_cached_len(const struct replica *r, const struct request *q)
{
    return blocks_find(r, q).n_blocks * r->limits.block_size;
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

void blocks_hit(struct replica *r, struct request *q)
{
    if (q->path_blocks > 0)
        ptree_touch(r->tree, q->path_node);
    if (holder(r) != NULL)
        holder(r)->attach(r->backend, q->id, &q->content, q->path_blocks);
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
    if (holder(r) != NULL)
        holder(r)->publish(r->backend, q->id, full);
}

void blocks_publish(struct replica *r, struct request *q)
{
    if (r->tree != NULL && q->content.shareable)
        insert_full(r, q);
}

/* ---- taking and giving back ---- */

/* The tree's next victim loses its last blocks. */
static uint32_t evict(struct replica *r, uint32_t want, uint64_t *last)
{
    uint32_t victim = ptree_victim(r->tree);
    if (holder(r) == NULL)
        return ptree_evict(r->tree, victim, want, last);
    r->n_runs = 0;
    ptree_path(r->tree, victim, &r->runs, &r->n_runs, &r->runs_cap);
    uint32_t gone = ptree_evict(r->tree, victim, want, last);
    holder(r)->evict(r->backend, r->runs, r->n_runs, gone);
    return gone;
}

static bool evict_until(struct replica *r, uint64_t need)
{
    if (need > blocks_available_units(r))
        return false;
    while (r->kv.free < need) {
        uint64_t last = 0;
        uint32_t want = (uint32_t)div_ceil_u64(need - r->kv.free, r->limits.units_per_block);
        uint32_t gone = evict(r, want, &last);
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
    uint64_t need = blocks_growth(r, q, q->info.computed + n_tokens);
    drop_surplus(r, q, q->info.computed + n_tokens);
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
    if (holder(r) != NULL)
        holder(r)->release(r->backend, q->id);
}

void blocks_import(struct replica *r, struct request *q, uint32_t tokens)
{
    if (r->tree == NULL || !q->content.shareable)
        return;
    uint32_t cached = blocks_pin_hit(r, q);
    uint32_t blocks = MIN(tokens / r->limits.block_size, hit_limit(r, q));
    q->info.computed = cached;
    if (blocks > q->path_blocks && blocks_alloc(r, q, blocks * r->limits.block_size - cached)) {
        q->info.computed = blocks * r->limits.block_size;
        insert_full(r, q);
    }
    unpin_path(r, q, true);
    drop_own(r, q);
}

/* Blocks on the host for what it holds at `tokens` tokens. */
static uint32_t host_blocks(const struct replica *r, const struct request *q, uint32_t tokens)
{
    return (uint32_t)div_ceil_u64(blocks_resident_units(r, q, tokens), r->limits.units_per_block);
}

void blocks_forget_host(struct replica *r, struct request *q)
{
    r->host_used -= host_blocks(r, q, q->host_tokens);
    if (holder(r) != NULL && q->host_tokens > 0)
        holder(r)->forget_host(r->backend, q->id);
    q->host_tokens = 0;
}

static uint64_t path_and_own(const struct replica *r, const struct request *q)
{
    return q->own_units + units(r, q->path_blocks);
}

static bool swaps_itself(const struct replica *r)
{
    return r->cfg->backend->swap != NULL;
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

/* ---- reports of swaps ---- */

/* A transfer that is over, or was cut off (done_at -1). */
static void report_transfer(struct replica *r, const struct swap *w, uint64_t moved, ns_t done_at)
{
    struct sim *s = r->sim;
    const struct sink *sink = &s->cfg->sink;
    if (!s->cfg->store_steps || sink->ops == NULL || sink->ops->transfer == NULL)
        return;
    struct transfer_row row = {.replica = r->id,
                               .n = w->number,
                               .seq = sim_req(s, w->id)->info.seq,
                               .direction = w->out ? "out" : "in",
                               .units = moved,
                               .submitted_at = w->submitted_at,
                               .done_at = done_at};
    (void)sink->ops->transfer(sink->self, &row, s->err);
}

static uint64_t moving_units(const struct replica *r, const struct request *q, bool out)
{
    return out ? path_and_own(r, q) : q->own_units;
}

static void report_cut(struct replica *r, const struct swap *w)
{
    report_transfer(r, w, moving_units(r, sim_req(r->sim, w->id), w->out), -1);
}

/* What transfer_start gave the link. */
static struct swap swap_on_link(const struct link_transfer *t, bool out)
{
    return (struct swap){
        .number = t->tag >> 32, .id = (req_id)t->tag, .out = out, .submitted_at = t->submitted_at};
}

/* It is done before its copy is out. */
static void transfer_cancel(struct replica *r, const struct request *q)
{
    struct swap w;
    if (swaps_itself(r)) {
        if (swap_take(r, q->transfer, &w))
            report_cut(r, &w);
        return;
    }
    for (size_t i = 0; i < r->out.n; i++)
        if (r->out.t[i].number == q->transfer) {
            w = swap_on_link(&r->out.t[i], true);
            report_cut(r, &w);
        }
    link_cancel(&r->out, r->sim->now, q->transfer);
    transfer_event(r, &r->out);
}

/* Nobody else can hit the blocks of a private stream, which is in the tree only after a preemption:
 * they go with it. */
static void drop_private(struct replica *r, struct request *q)
{
    uint32_t removed = 0;
    if (q->path_blocks == 0)
        (void)blocks_pin_hit(r, q);
    if (q->path_blocks > 0) {
        uint32_t cached = ptree_unpin_drop(r->tree, q->path_node, q->path_blocks, &removed);
        kv_drop(&r->kv, units(r, removed));
        kv_cache(&r->kv, units(r, cached));
    }
    if (holder(r) != NULL && removed > 0) {
        r->n_runs = 0;
        content_runs(&q->content, 0, q->path_blocks, &r->runs, &r->n_runs, &r->runs_cap);
        holder(r)->evict(r->backend, r->runs, r->n_runs, removed);
    }
    q->path_node = PTREE_ROOT;
    q->path_blocks = 0;
}

void blocks_release(struct replica *r, struct request *q)
{
    if (q->info.state == REQ_SWAPPING_OUT) {
        transfer_cancel(r, q);
        r->leaving_units -= path_and_own(r, q);
    }
    blocks_forget_host(r, q);
    if (r->tree != NULL && !q->content.shareable && q->info.preemptions > 0)
        drop_private(r, q);
    unpin_path(r, q, true);
    drop_own(r, q);
}

/* ---- preemption ---- */

/* Bytes of the copy of n blocks. */
static uint64_t copy_bytes(const struct replica *r, uint64_t n)
{
    return (uint64_t)((double)(n * r->limits.block_bytes) * r->offload.share);
}

/* What the link could move while n blocks are packed or unpacked. */
static uint64_t codec_bytes(const struct replica *r, uint64_t n)
{
    if (r->offload.share >= 1)
        return 0;
    double seconds = (double)(n * r->limits.block_bytes) / r->offload.codec_bytes_per_s;
    return (uint64_t)(seconds * r->limits.pcie_bytes_per_s);
}

/* Moves the request's blocks [first, first + n). */
static void transfer_start(struct replica *r, struct request *q, bool out, uint32_t first,
                           uint32_t n)
{
    ns_t now = r->sim->now;
    uint64_t number = r->n_transfers++, bytes = copy_bytes(r, n);
    metrics_swapped(r->sim->metrics, now, bytes);
    r->sim->res->packed_bytes += r->offload.share < 1 ? bytes : 0;
    if (swaps_itself(r)) {
        q->transfer = number;
        swap_begin(r, &(struct swap){number, q->id, q->info.seq, out, first, n, now});
        return;
    }
    struct link *l = out ? &r->out : &r->in;
    q->transfer = link_submit(l, now, bytes + codec_bytes(r, n), number << 32 | q->id);
    transfer_event(r, l);
}

static void swap_out(struct replica *r, req_id id)
{
    struct request *q = sim_req(r->sim, id);
    q->host_tokens = q->info.computed;
    r->host_used += host_blocks(r, q, q->host_tokens);
    r->leaving_units += path_and_own(r, q);
    q->info.state = REQ_SWAPPING_OUT; /* its blocks stay held until the copy is out */
    transfer_start(r, q, true, 0, host_blocks(r, q, q->host_tokens));
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

bool blocks_host_fits(const struct replica *r, const struct request *q)
{
    uint64_t copies = r->host_used + host_blocks(r, q, q->info.computed);
    return copy_bytes(r, copies) <= r->limits.host_blocks * r->limits.block_bytes;
}

void blocks_preempt(struct replica *r, req_id id, enum preempt_mode mode)
{
    struct sim *s = r->sim;
    struct request *q = sim_req(s, id);
    blocks_fold_evictions(r);
    queue_remove(s, &r->running, id);
    r->residents++;
    r->running_tokens -= request_len(q);
    s->state.running--;
    q->info.preemptions++;
    if (!blocks_host_fits(r, q))
        mode = PREEMPT_RECOMPUTE;
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
    transfer_start(r, q, false, q->path_blocks,
                   host_blocks(r, q, q->info.computed) - q->path_blocks);
}

static void transfer_done(struct replica *r, const struct swap *w)
{
    struct request *q = sim_req(r->sim, w->id);
    report_transfer(r, w, moving_units(r, q, w->out), r->sim->now);
    if (!w->out) {
        blocks_forget_host(r, q);
        q->info.state = REQ_RUNNING;
        return;
    }
    r->leaving_units -= path_and_own(r, q);
    unpin_path(r, q, true);
    drop_own(r, q);
    q->info.state = REQ_SWAPPED;
}

void blocks_transfer_event(struct replica *r, bool out, uint64_t number)
{
    struct link *l = out ? &r->out : &r->in;
    struct link_transfer t;
    struct swap w;
    if (swaps_itself(r)) {
        if (!swap_take(r, number, &w))
            return; /* cancelled */
        transfer_done(r, &w);
        replica_wake(r);
        return;
    }
    if (number != l->generation)
        return; /* the link's schedule has changed since: a later event stands for it */
    while (link_take_done(l, r->sim->now, &t)) {
        w = swap_on_link(&t, out);
        transfer_done(r, &w);
    }
    transfer_event(r, l);
    replica_wake(r);
}

void blocks_cut(struct replica *r)
{
    for (uint32_t out = 0; out < 2; out++) {
        const struct link *l = out ? &r->out : &r->in;
        for (size_t i = 0; i < l->n; i++) {
            struct swap w = swap_on_link(&l->t[i], out);
            report_cut(r, &w);
        }
    }
    for (size_t i = 0; i < r->n_swaps; i++)
        report_cut(r, &r->swap[i]);
}
