/* steps.c: batches in flight: launched, done, and what comes out of them: tokens, finished
 * requests, facts for metrics and sink.
 *
 * With an asynchronous engine (depth 2) the next batch is formed while one runs and starts the
 * moment that one ends. A request may leave (or be preempted) while rows of it are in flight: a row
 * counts only if the request it was formed for is still alive. */
#include "sim/core.h"

/* ---- launching ---- */

static struct flight *flight_at(struct replica *r, uint32_t i)
{
    return &r->flight[(r->flight_head + i) % SIM_MAX_DEPTH];
}

struct flight *flight_next(struct replica *r)
{
    CHECK(r->n_flight < SIM_MAX_DEPTH, INV_BATCH, "%u batches in flight", r->n_flight);
    struct flight *f = flight_at(r, r->n_flight);
    f->batch.n = 0;
    return f;
}

static uint32_t flight_tokens(const struct flight *f)
{
    return f->batch.shape.decode_tokens + f->batch.shape.prefill_tokens;
}

void flight_expect(struct replica *r, const struct flight *f)
{
    evq_push(&r->sim->evq, (struct event){.at = ns_add(f->start_at, f->duration_ns),
                                          .kind = EV_STEP_DONE,
                                          .entity = r->id,
                                          .number = f->batch.step});
}

/* A step that is played back began when it did, never before its batch was formed. */
static bool replayed_start(struct flight *f, ns_t at, struct err *e)
{
    if (at < f->start_at)
        return err_set(e,
                       "replay: step %llu began at %lld ns and is formed at %lld ns: decisions "
                       "before it differ; replay with the configuration and program of the run",
                       (unsigned long long)f->batch.step, (long long)at, (long long)f->start_at);
    f->start_at = at;
    return true;
}

static void flight_start(struct replica *r, struct flight *f)
{
    struct sim *s = r->sim;
    uint32_t caps = r->cfg->backend->caps;
    bool paced = s->cfg->clock == CLOCK_PACED && (caps & BACKEND_EXECUTES) != 0;
    f->start_at = paced ? MAX(s->now, sim_wall(s)) : s->now; /* deciding took time, too */
    f->cost = (struct step_cost){0};
    if (!r->cfg->backend->step(r->backend, &f->batch, &f->cost, s->err))
        return; /* err is set: the loop stops */
    if (f->cost.start_at != 0 && !replayed_start(f, f->cost.start_at, s->err))
        return;
    f->duration_ns = caps & BACKEND_MEASURED
                         ? MAX(f->cost.wall_ns, 1)
                         : engine_model_step_ns(r->cfg->engine, f->batch.n, f->cost.device_ns);
    s->state.batch_tokens += flight_tokens(f);
    flight_expect(r, f);
}

void flight_launch(struct replica *r)
{
    struct flight *f = flight_at(r, r->n_flight);
    f->batch.seq = f->seq;
    f->batch.step = r->n_steps - 1;
    f->residents = r->residents;
    f->preempted = r->n_preempted; /* an attempt that formed no batch counts with the next */
    r->n_preempted = 0;
    r->n_flight++;
    if (r->n_flight == 1)
        flight_start(r, f);
}

/* ---- what came out ---- */

/* Facts of equal kind that follow one another are told once, with a count. */
struct told {
    uint32_t tenant, tokens;
    ns_t gap_ns, gap_of; /* gap_of: an arrival the gap belongs to, as far as the window cares */
    bool gap_counted;
    uint64_t n_gaps;
};

static void tell_tokens(struct sim *s, struct told *t, uint32_t tenant, uint32_t n)
{
    if (t->tokens > 0 && t->tenant != tenant) {
        metrics_tokens(s->metrics, s->now, t->tenant, t->tokens);
        t->tokens = 0;
    }
    t->tenant = tenant;
    t->tokens += n;
}

static void tell_gap(struct sim *s, struct told *t, const struct request *q, ns_t gap)
{
    if (t->n_gaps > 0 && (t->gap_ns != gap || t->gap_counted != q->counted)) {
        metrics_gap(s->metrics, t->gap_of, t->gap_ns, t->n_gaps);
        t->n_gaps = 0;
    }
    t->gap_ns = gap;
    t->gap_of = q->info.arrived_at;
    t->gap_counted = q->counted;
    t->n_gaps++;
}

static void tell_rest(struct sim *s, struct told *t)
{
    if (t->tokens > 0)
        metrics_tokens(s->metrics, s->now, t->tenant, t->tokens);
    if (t->n_gaps > 0)
        metrics_gap(s->metrics, t->gap_of, t->gap_ns, t->n_gaps);
}

static void emit(struct replica *r, struct request *q, struct told *told)
{
    struct sim *s = r->sim;
    ns_t at = ns_add(s->now, r->cfg->engine->output_delay_ns);
    CHECK(q->info.emitted < q->output_tokens, INV_TOKENS, "request %llu: token %u of %u",
          (unsigned long long)q->info.seq, q->info.emitted + 1, q->output_tokens);
    if (q->info.emitted == 0) {
        q->first_token_at = at;
        prompt_over(r, q);
        sim_decision(s, DEC_FIRST_TOKEN, q->info.seq, at, 0);
    } else {
        ns_t gap = at - q->last_token_at;
        CHECK(gap >= 0, INV_TIME, "token at %lld after one at %lld", (long long)at,
              (long long)q->last_token_at);
        q->itl_max_ns = MAX(q->itl_max_ns, gap);
        tell_gap(s, told, q, gap);
    }
    q->last_token_at = at;
    q->info.emitted++;
    tell_tokens(s, told, q->info.tenant, 1);
}

/* One row of a finished step: its tokens are computed; those computed before a preemption were
 * counted then and are recomputed now. */
static void row_done(struct replica *r, const struct batch_seq *b, struct told *told)
{
    struct sim *s = r->sim;
    struct request *q = sim_req(s, b->id);
    uint32_t end = b->context + b->n_tokens;
    uint32_t again = MIN(q->recompute_until, end);
    uint32_t recomputed = again > b->context ? again - b->context : 0;
    uint32_t fresh_from = MAX(b->context, again);
    uint32_t prompt_end = MIN(end, q->info.prompt_tokens);
    uint32_t prefilled = prompt_end > fresh_from ? prompt_end - fresh_from : 0;
    if (b->emits)
        emit(r, q, told);
    if (recomputed > 0)
        metrics_recomputed(s->metrics, s->now, recomputed);
    if (r->ops->on_tokens != NULL)
        r->ops->on_tokens(r->sched, replica_view(r), b->id, prefilled, b->emits, recomputed,
                          s->now);
}

static void leave(struct replica *r, req_id id, enum finish_reason why)
{
    struct sim *s = r->sim;
    struct request *q = sim_req(s, id);
    bool resident = q->info.state == REQ_RUNNING || q->info.state == REQ_LOADING;
    blocks_fold_evictions(r);
    if (resident) {
        queue_remove(s, &r->running, id);
        r->residents++;
        r->running_tokens -= request_len(q);
        s->state.running--;
    } else {
        waiting_leave(r, id);
    }
    if (r->ops->on_finish != NULL)
        r->ops->on_finish(r->sched, replica_view(r), id, why, s->now);
    blocks_release(r, q);
}

void replica_refuse(struct replica *r, req_id id, const char *reason)
{
    leave(r, id, FINISH_REFUSED);
    sim_done(r->sim, id, STATUS_REFUSED, reason, r->sim->now);
}

static void finish(struct replica *r, req_id id)
{
    struct request *q = sim_req(r->sim, id);
    bool cut = q->cut;
    ns_t at = q->last_token_at;
    leave(r, id, cut ? FINISH_LENGTH : FINISH_DONE);
    sim_done(r->sim, id, STATUS_FINISHED, cut ? "length" : "", at);
}

static void report_step(struct replica *r, const struct flight *f)
{
    struct sim *s = r->sim;
    const struct sink *sink = &s->cfg->sink;
    metrics_steps(s->metrics, f->start_at, f->duration_ns, f->batch.n, 1, f->cost.extrapolated);
    if (!s->cfg->store_steps || sink->ops == NULL || sink->ops->step == NULL)
        return;
    const struct batch_shape *b = &f->batch.shape;
    struct step_row row = {
        .replica = r->id,
        .step = f->batch.step,
        .at = f->start_at,
        .duration_ns = f->duration_ns,
        .device_ns = f->cost.device_ns,
        .host_ns = (double)f->duration_ns - f->cost.device_ns,
        .n_decode = b->n_decode,
        .n_prefill = b->n_prefill,
        .decode_tokens = b->decode_tokens,
        .prefill_tokens = b->prefill_tokens,
        .context_tokens = b->decode_context_sum + b->prefill_history_sum,
        .kv_units_used = r->kv.held,
        .preempted = f->preempted,
        .prefill_history = b->prefill_history_sum,
        .prefill_pairs = b->prefill_pairs,
    };
    (void)sink->ops->step(sink->self, &row, s->err);
}

void replica_cut(struct replica *r)
{
    leap_land(r);
    blocks_fold_evictions(r);
    if (r->n_flight > 0)
        report_step(r, flight_at(r, 0));
    blocks_cut(r);
}

void replica_step_done(struct replica *r)
{
    struct sim *s = r->sim;
    if (leap_take(r))
        return;
    leap_land(r);
    struct flight *f = flight_at(r, 0);
    s->state.batch_tokens -= flight_tokens(f);
    s->res->steps++;
    report_step(r, f);

    struct told told = {0};
    uint32_t n_done = 0;
    r->scratch = mem_reserve(r->scratch, &r->scratch_cap, f->batch.n, sizeof(*r->scratch));
    for (uint32_t i = 0; i < f->batch.n; i++) {
        const struct batch_seq *b = &f->seq[i];
        const struct request *q = sim_req(s, b->id);
        if (!q->live || q->info.seq != f->req_seq[i])
            continue; /* it ended at the step before; this row was computed for nothing */
        row_done(r, b, &told);
        if (q->info.emitted == q->output_tokens)
            r->scratch[n_done++] = b->id;
    }
    tell_rest(s, &told);
    metrics_step_end(s->metrics);
    if (r->cfg->backend->caps & BACKEND_MEASURED) {
        step_time_tokens(&r->step_time, flight_tokens(f));
        step_time_learn(&r->step_time, f->duration_ns);
    }
    for (uint32_t i = 0; i < n_done; i++)
        finish(r, r->scratch[i]);
    if (r->ops->step_end != NULL)
        r->ops->step_end(r->sched, replica_view(r), f->duration_ns);

    r->flight_head = (r->flight_head + 1) % SIM_MAX_DEPTH;
    r->n_flight--;
    if (r->n_flight > 0)
        flight_start(r, flight_at(r, 0));
    swaps_ask(r, false);
    replica_decide_soon(r);
}
