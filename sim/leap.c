/* leap.c: steps that change nothing but lengths, taken in one go (architecture.md section 9).
 *
 * While a replica's batches are the same residents decoding token after token, and the scheduler
 * says that its answers hold, an *epoch* is open: its steps cost O(1) each plus O(1) for every
 * block that begins or fills, and no policy is asked. What a step does to its members (lengths,
 * last token, the policy's counters) is written back when somebody needs it: leap_land.
 *
 * What must hold: the same decisions at the same times, the same sums and the same samples as
 * stepping gives. Hence
 *   - a leap ends before the next event that could see or change the replica, and before the next
 *     sample of the timeline (limit_of); with one replica that is whatever comes next;
 *   - a step that would finish a request, run short of blocks, or offer a waiting request another
 *     chance than it had is stepped (open_epoch, epoch_step);
 *   - blocks are taken and handed to the tree in the order and at the times of stepping;
 *   - sums are integers (metrics.c), so that n equal steps may be added at once. */
#include <string.h>

#include "sim/core.h"

/* ---- when ---- */

/* Could a request that waits be admitted in a later step though nothing happened? Asked after an
 * attempt that failed. The blocks that are left only become fewer while residents decode, and what
 * is not in the cache does not come into it, unless residents share what they compute. What stalled
 * residents claim is free again when they run. */
bool leap_refusal_holds(const struct replica *r, const struct request *q, enum try_result res)
{
    if (res == TRY_NO_SLOT)
        return true;
    bool may_hit = r->tree != NULL && (q->content.shareable || q->info.preemptions > 0);
    return res == TRY_NO_MEM && !may_hit && r->claimed_units == 0 &&
           r->limits.kv_admission != KV_ADMISSION_LIGHTLLM;
}

/* The two batches in flight are of the present residents, all decoding. */
static bool steady(const struct replica *r)
{
    if (r->n_flight < r->cfg->engine->depth || r->decide_pending)
        return false;
    for (uint32_t i = 0; i < r->n_flight; i++) {
        const struct flight *f = &r->flight[(r->flight_head + i) % SIM_MAX_DEPTH];
        if (f->residents != r->residents || f->batch.shape.n_prefill > 0 ||
            f->batch.n != r->running.n)
            return false;
    }
    return true;
}

/* Steps for which the waiting requests are left alone, as far as the engine is concerned. */
static uint32_t admission_rests(const struct replica *r)
{
    if (r->waiting.n == 0 || r->refusals_hold)
        return HOLD_FOREVER;
    uint32_t interval = r->limits.admit_interval;
    return interval > 1 && interval > r->steps_since_admit ? interval - r->steps_since_admit : 0;
}

static bool possible(const struct replica *r)
{
    const struct sim *s = r->sim;
    const struct sim_config *cfg = s->cfg;
    return cfg->leap && cfg->clock == CLOCK_VIRTUAL && !cfg->store_steps && r->ops->hold != NULL &&
           r->cfg->kv->lossless && (r->cfg->backend->caps & BACKEND_AFFINE_DECODE) != 0 &&
           s->now >= cfg->metrics.warmup_ns && metrics_pairs_settled(s->metrics) && steady(r);
}

/* Nothing outside the replica happens to it, or looks at it, before this time. */
static ns_t limit_of(const struct replica *r)
{
    const struct sim *s = r->sim;
    ns_t at = MIN(s->cfg->metrics.horizon_ns, metrics_next_sample(s->metrics));
    const struct event *top = evq_top(&s->evq);
    bool alone = s->cfg->n_replicas == 1;
    bool own_events = r->timer_pending || r->n_deferred > 0 || r->out.n > 0 || r->in.n > 0;
    bool only_arrivals = s->cfg->concurrency == 0 && !s->cfg->trace.traits.has_after &&
                         !own_events && metrics_tenants(s->metrics) < 2;
    if (!alone && only_arrivals)
        return MIN(at, s->next_timed_at);
    return top != NULL ? MIN(at, top->at) : at;
}

/* ---- an epoch ---- */

/* Steps until the request begins a block. */
static uint32_t steps_to_a_block(const struct replica *r, req_id id)
{
    uint32_t size = r->limits.block_size;
    return (size - sim_req(r->sim, id)->info.computed % size) % size;
}

/* Members by the step (modulo block_size) in which they begin a block; in order of the batch. */
static void sort_members(struct replica *r)
{
    struct leap *l = &r->leap;
    const struct flight *f = &r->flight[r->flight_head];
    uint32_t size = r->limits.block_size;
    l->bucket = mem_reserve(l->bucket, &l->bucket_cap, size + 1u, sizeof(*l->bucket));
    l->member = mem_reserve(l->member, &l->member_cap, f->batch.n, sizeof(*l->member));
    memset(l->bucket, 0, (size + 1u) * sizeof(*l->bucket));
    for (uint32_t i = 0; i < f->batch.n; i++)
        l->bucket[steps_to_a_block(r, f->seq[i].id) + 1]++;
    for (uint32_t k = 0; k < size; k++)
        l->bucket[k + 1] += l->bucket[k];
    for (uint32_t i = 0; i < f->batch.n; i++)
        l->member[l->bucket[steps_to_a_block(r, f->seq[i].id)]++] = f->seq[i].id;
    memmove(l->bucket + 1, l->bucket, size * sizeof(*l->bucket));
    l->bucket[0] = 0;
}

/* Members whose tenants' service a step adds to; neighbours of one tenant are counted together. */
static void count_tenant(struct leap *l, uint32_t tenant)
{
    if (l->n_tenants == 0 || l->tenant[l->n_tenants - 1].id != tenant) {
        l->tenant = mem_reserve(l->tenant, &l->tenant_cap, l->n_tenants + 1u, sizeof(*l->tenant));
        l->tenant[l->n_tenants++] = (struct leap_tenant){.id = tenant};
    }
    l->tenant[l->n_tenants - 1].members++;
}

/* Steps until a member would finish, or may compute no more. 0: they are not in step. */
static uint32_t steps_to_an_end(struct replica *r)
{
    struct leap *l = &r->leap;
    const struct flight *f = &r->flight[r->flight_head];
    uint32_t least = HOLD_FOREVER;
    l->last_token_at = sim_req(r->sim, f->seq[0].id)->last_token_at;
    l->n_tenants = l->n_counted = 0;
    for (uint32_t i = 0; i < f->batch.n; i++) {
        struct request *q = sim_req(r->sim, f->seq[i].id);
        if (q->info.emitted == 0 || q->last_token_at != l->last_token_at ||
            q->info.max_tokens <= q->info.generated)
            return 0;
        least = MIN(least, q->output_tokens - q->info.emitted - 1);
        least = MIN(least, q->info.max_tokens - q->info.generated);
        q->leapt = 0;
        count_tenant(l, q->info.tenant);
        if (metrics_counts(r->sim->metrics, q->info.arrived_at)) {
            l->n_counted++;
            l->counted_at = q->info.arrived_at;
        }
    }
    return least;
}

static bool open_epoch(struct replica *r)
{
    struct leap *l = &r->leap;
    uint32_t steps = admission_rests(r);
    if (steps == 0)
        return false;
    steps = MIN(steps, r->ops->hold(r->sched, replica_view(r)));
    if (steps < 2)
        return false; /* a step alone is not worth it */
    steps = MIN(steps, steps_to_an_end(r));
    if (steps < 2)
        return false;
    sort_members(r);
    l->open = true;
    l->left = steps;
    l->done = l->phase = 0;
    l->gap_max = 0;
    l->line = (struct decode_line){0};
    l->line_at = 0; /* there is no line yet */
    return true;
}

/* Writes back what a member has gained. */
static void settle(struct leap *l, struct request *q)
{
    uint32_t steps = l->done - q->leapt;
    if (steps == 0)
        return;
    q->leapt = l->done;
    q->info.computed += steps;
    q->info.generated += steps;
    q->info.emitted += steps;
    q->info.last_run_at = l->last_run_at;
    q->last_token_at = l->last_token_at;
    q->itl_max_ns = MAX(q->itl_max_ns, l->gap_max);
}

void leap_land(struct replica *r)
{
    struct leap *l = &r->leap;
    if (!l->open)
        return;
    l->open = false;
    if (l->done == 0)
        return;
    for (uint32_t i = 0; i < r->n_flight; i++) {
        struct flight *f = &r->flight[(r->flight_head + i) % SIM_MAX_DEPTH];
        for (uint32_t k = 0; k < f->batch.n; k++)
            f->seq[k].context += l->done;
    }
    const struct flight *f = &r->flight[r->flight_head];
    for (uint32_t k = 0; k < f->batch.n; k++)
        settle(l, sim_req(r->sim, f->seq[k].id));
    if (r->ops->on_tokens != NULL)
        for (uint32_t k = 0; k < f->batch.n; k++)
            r->ops->on_tokens(r->sched, replica_view(r), f->seq[k].id, 0, l->done, 0,
                              l->last_run_at);
    if (r->ops->leapt != NULL)
        r->ops->leapt(r->sched, replica_view(r), l->done);
}

/* ---- a step ---- */

/* Takes the blocks that this step begins; false: there are too few. */
static bool begin_blocks(struct replica *r)
{
    struct leap *l = &r->leap;
    uint32_t k = l->phase;
    uint64_t n = l->bucket[k + 1] - l->bucket[k];
    if (n == 0)
        return true;
    if (n * r->limits.units_per_block > blocks_available_units(r))
        return false;
    for (uint32_t i = l->bucket[k]; i < l->bucket[k + 1]; i++) {
        struct request *q = sim_req(r->sim, l->member[i]);
        settle(l, q);
        bool ok = blocks_alloc(r, q, 1);
        CHECK(ok, INV_UNITS, "no block for request %llu in a leap",
              (unsigned long long)q->info.seq);
    }
    return true;
}

/* Hands the blocks that this step fills to the tree. */
static void fill_blocks(struct replica *r)
{
    struct leap *l = &r->leap;
    uint32_t k = l->phase;
    if (r->tree == NULL)
        return;
    for (uint32_t i = l->bucket[k]; i < l->bucket[k + 1]; i++) {
        struct request *q = sim_req(r->sim, l->member[i]);
        if (!q->content.shareable)
            continue;
        settle(l, q);
        blocks_publish(r, q);
    }
}

/* The next step starts: the flight stays where it is, and reads a token more of each member. */
static void run_next(struct replica *r, struct flight *f, ns_t now)
{
    struct leap *l = &r->leap;
    if (l->line_at == l->line.steps) {
        r->cfg->backend->decode_line(r->backend, &f->batch.shape, &l->line);
        l->line_at = 0;
    }
    f->cost.device_ns = decode_line_ns(&l->line, l->line_at++);
    f->cost.extrapolated = l->line.extrapolated;
    f->start_at = now;
    f->duration_ns = engine_model_step_ns(r->cfg->engine, f->batch.n, f->cost.device_ns);
}

/* One step is done at `now`: its tokens are out, the next batch starts and one more is formed. The
 * flights stay where they are and grow. false: this step must be stepped. */
static bool epoch_step(struct replica *r, ns_t now)
{
    struct leap *l = &r->leap;
    struct sim *s = r->sim;
    struct flight *f = &r->flight[r->flight_head];
    if (l->left == 0 || !begin_blocks(r))
        return false;
    ns_t token_at = ns_add(now, r->cfg->engine->output_delay_ns);
    ns_t gap = token_at - l->last_token_at;
    metrics_gap(s->metrics, l->counted_at, gap, l->n_counted);
    l->gap_max = MAX(l->gap_max, gap);
    l->last_token_at = token_at;
    l->last_run_at = now;
    l->extrapolated += f->cost.extrapolated;
    l->left--;
    l->done++;
    l->phase = l->phase + 1 < r->limits.block_size ? l->phase + 1 : 0;
    fill_blocks(r);
    f->batch.shape.decode_context_sum += f->batch.n;
    f->batch.shape.decode_context_max++;
    run_next(r, f, now);
    return true;
}

bool leap_take(struct replica *r)
{
    struct leap *l = &r->leap;
    struct sim *s = r->sim;
    struct flight *f = &r->flight[r->flight_head];
    if (!possible(r))
        return false;
    ns_t limit = limit_of(r);
    if (s->now >= limit || (!l->open && !open_epoch(r)))
        return false;

    ns_t now = s->now, from = f->start_at;
    uint32_t before = l->done;
    uint64_t held = r->kv.held;
    l->extrapolated = 0;
    while (now < limit && epoch_step(r, now)) {
        if (r->kv.held != held) {
            metrics_units(s->metrics, now, (int64_t)(r->kv.held - held));
            held = r->kv.held;
        }
        now = ns_add(f->start_at, f->duration_ns);
    }
    uint32_t steps = l->done - before;
    if (steps == 0)
        return false;
    for (uint32_t i = 0; i < r->n_flight; i++) {
        struct flight *g = &r->flight[(r->flight_head + i) % SIM_MAX_DEPTH];
        g->batch.step += steps;
        if (i > 0) { /* it grows as the one before does */
            g->batch.shape.decode_context_sum += (uint64_t)steps * g->batch.n;
            g->batch.shape.decode_context_max += steps;
        }
    }
    s->state.units_used += r->kv.held - r->units_reported;
    r->units_reported = r->kv.held;
    s->res->steps += steps;
    s->res->leapt += steps;
    r->n_steps += steps;
    r->n_decisions += steps;
    r->steps_since_admit += steps;
    r->running_tokens += (uint64_t)steps * f->batch.n;
    metrics_steps(s->metrics, from, f->start_at - from, f->batch.n, steps, l->extrapolated);
    for (uint32_t i = 0; i < l->n_tenants; i++)
        metrics_tokens(s->metrics, s->now, l->tenant[i].id, l->tenant[i].members * steps);
    metrics_step_end(s->metrics);
    flight_expect(r, f);
    return true;
}

void leap_release(struct replica *r)
{
    mem_free(r->leap.bucket);
    mem_free(r->leap.member);
    mem_free(r->leap.tenant);
}
