/* cluster.c: the event loop of a run: trace -> router -> replicas; arrivals are pulled as the
 * clock reaches them, followers are released by what they follow, everything else is an event. */
#include "sim/cluster.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sim/core.h"

#define PROGRESS_EVERY 4096u /* events */

void sim_decision(struct sim *s, enum decision what, uint64_t seq, ns_t at, uint64_t number)
{
    digest_fold(&s->digest, what, seq, at, number);
    const struct sink *k = &s->cfg->sink;
    if (k->ops != NULL && k->ops->decision != NULL)
        k->ops->decision(k->self, what, seq, at, number, s->digest.h);
}

/* ---- arrived and done ---- */

void sim_arrived(struct sim *s, req_id id, ns_t at)
{
    struct request *q = sim_req(s, id);
    q->live = true;
    s->live++;
    s->res->requests++;
    metrics_arrival(s->metrics, at, q->info.tenant);
    sim_decision(s, DEC_ARRIVAL, q->info.seq, at, 0);
}

static void report_request(struct sim *s, const struct request *q, enum req_status status,
                           const char *reason, ns_t at)
{
    bool finished = status == STATUS_FINISHED;
    struct request_row row = {
        .seq = q->info.seq,
        .tenant = names_text(s->cfg->tenants, q->info.tenant),
        .session = q->session[0] != '\0' ? q->session : NULL,
        .slo_class =
            q->info.slo_class == NAMES_NONE ? NULL : names_text(s->cfg->classes, q->info.slo_class),
        .turn = q->turn,
        .arrived_at = q->info.arrived_at,
        .admitted_at = q->admitted_at,
        .first_token_at = q->first_token_at,
        .done_at = status == STATUS_UNFINISHED ? -1 : at,
        .prompt_tokens = q->info.prompt_tokens,
        .output_tokens = q->info.emitted,
        .max_tokens = q->info.max_tokens,
        .cached_tokens = q->info.cached_tokens,
        .preemptions = q->info.preemptions,
        .itl_max_ns = q->itl_max_ns,
        .replica = q->replica,
        .status = status,
        .reason = reason,
    };
    if (finished) {
        CHECK(q->info.arrived_at <= q->admitted_at && q->admitted_at <= q->first_token_at &&
                  q->first_token_at <= at,
              INV_ORDER, "request %llu: %lld %lld %lld %lld", (unsigned long long)q->info.seq,
              (long long)q->info.arrived_at, (long long)q->admitted_at,
              (long long)q->first_token_at, (long long)at);
        CHECK(q->info.emitted == q->output_tokens, INV_TOKENS, "request %llu: %u of %u tokens",
              (unsigned long long)q->info.seq, q->info.emitted, q->output_tokens);
    }
    metrics_done(s->metrics, &row, q->info.tenant, q->info.slo_class);
    const struct sink *k = &s->cfg->sink;
    if (k->ops != NULL && k->ops->request != NULL)
        (void)k->ops->request(k->self, &row, s->err);
}

/* ---- what the router sees ---- */

/* The last snapshot while it is young enough, else a new one. */
static const struct replica_load *look_at(void *self, uint32_t replica)
{
    struct sim *s = self;
    struct replica_load *l = &s->load[replica];
    if (l->taken_at >= 0 && s->now - l->taken_at < s->cfg->snapshot_age_ns)
        return l;
    const struct replica *r = &s->replica[replica];
    *l = (struct replica_load){.taken_at = s->now,
                               .waiting = r->waiting.n,
                               .running = r->running.n,
                               .waiting_tokens = r->waiting_tokens,
                               .running_tokens = r->running_tokens,
                               .waiting_units = r->waiting_units,
                               .free_units = r->kv.free,
                               .evictable_units = r->kv.cached,
                               .capacity_units = r->kv.capacity,
                               .capacity_tokens = limits_kv_tokens(&r->limits),
                               .queued_ns = r->queued_ns};
    return l;
}

static uint32_t cached_there(void *self, uint32_t replica)
{
    struct sim *s = self;
    CHECK(s->routed != REQ_NONE, INV_OFFER, "%s: no request is being routed", s->cfg->router->name);
    return blocks_cached_len(&s->replica[replica], sim_req(s, s->routed));
}

static ns_t prefill_there(void *self, uint32_t replica, uint32_t tokens, uint32_t cached)
{
    return price_prefill(&((struct sim *)self)->replica[replica], tokens, cached);
}

static ns_t decode_there(void *self, uint32_t replica, uint32_t n_seqs, uint64_t context)
{
    return price_decode(&((struct sim *)self)->replica[replica], n_seqs, context);
}

/* A backend that runs real steps could not get at what another one computed. */
static uint64_t kv_bytes_there(void *self, uint32_t replica, uint32_t tokens)
{
    const struct replica *r = &((struct sim *)self)->replica[replica];
    if (r->tree == NULL || (r->cfg->backend->caps & BACKEND_MEASURED) != 0)
        return UINT64_MAX;
    return div_ceil_u32(tokens, r->limits.block_size) * r->limits.block_bytes;
}

static void fetch(void *self, uint32_t tokens, ns_t takes_ns)
{
    struct sim *s = self;
    CHECK(s->routed != REQ_NONE, INV_OFFER, "%s: no request is being routed", s->cfg->router->name);
    struct request *q = sim_req(s, s->routed);
    q->fetched = tokens;
    q->fetch_ns = MAX(takes_ns, 1);
}

static const struct route_services route_services = {
    .load = look_at,
    .cached_len = cached_there,
    .prefill_ns = prefill_there,
    .decode_ns = decode_there,
    .kv_bytes = kv_bytes_there,
    .fetch = fetch,
};

static struct route_view route_view(struct sim *s)
{
    return (struct route_view){s->now, s->cfg->n_replicas, s->count, &route_services, s};
}

static void dispatched(struct sim *s, struct request *q, uint32_t to)
{
    struct replica *r = &s->replica[to];
    if (s->cfg->router->needs & ROUTER_PREDICTS) {
        uint32_t cached = MAX(blocks_cached_len(r, q), q->fetched);
        q->prompt_ns = price_prefill(r, request_len(q), cached);
        r->queued_ns += q->prompt_ns;
        s->load[to].sent_ns += q->prompt_ns;
    }
    s->count[to].in_flight++;
    s->count[to].dispatched++;
    s->load[to].sent++;
    s->load[to].sent_tokens += request_len(q);
    s->load[to].sent_units += blocks_resident_units(r, q, request_len(q));
}

static void tell_router(struct sim *s, struct request *q)
{
    if (q->replica == UINT32_MAX)
        return;
    s->count[q->replica].in_flight--;
    prompt_over(&s->replica[q->replica], q);
    const struct router_ops *ops = s->cfg->router;
    if (ops->on_done == NULL)
        return;
    struct route_view v = route_view(s);
    ops->on_done(s->router, &v, &q->info, q->replica, q->info.emitted);
}

/* ---- predictions ---- */

struct prediction sim_predict(const struct sim *s, const struct request *q)
{
    const struct predictor_ops *p = s->cfg->predictor;
    if (p == NULL)
        return (struct prediction){0};
    uint32_t truth = p->needs & PREDICTOR_ORACLE ? q->output_tokens : 0;
    return p->predict(s->predictor, &q->info, slots_at(&s->tenant_predictor, q->info.tenant),
                      truth);
}

/* A request has finished: its length is known. */
static void learn_length(struct sim *s, const struct request *q)
{
    const struct predictor_ops *p = s->cfg->predictor;
    if (p == NULL)
        return;
    double length = q->info.emitted;
    if (q->counted) {
        s->accuracy.n++;
        if (q->predicted.mean > 0) {
            s->accuracy.known++;
            s->accuracy.error += fabs(q->predicted.mean - length) / length;
            s->accuracy.class_hit +=
                prediction_class(q->predicted.bucket) == prediction_class(length);
        }
    }
    if (p->learn != NULL)
        p->learn(s->predictor, &q->info, slots_at(&s->tenant_predictor, q->info.tenant),
                 q->info.emitted);
}

/* How good the predictions were, of requests of which something was known (NaN: of none). */
static bool report_accuracy(const struct sim *s)
{
    const struct sink *k = &s->cfg->sink;
    if (s->cfg->predictor == NULL || k->ops == NULL || k->ops->summary == NULL)
        return true;
    double n = (double)s->accuracy.n, known = (double)s->accuracy.known;
    double hit = (double)s->accuracy.class_hit;
    return k->ops->summary(k->self, "predictor_mape", s->accuracy.error / known, s->err) &&
           k->ops->summary(k->self, "predictor_bucket_accuracy", hit / known, s->err) &&
           k->ops->summary(k->self, "predictor_coverage", known / n, s->err);
}

static bool report_packed(const struct sim *s)
{
    const struct sink *k = &s->cfg->sink;
    if (s->res->packed_bytes == 0 || k->ops == NULL || k->ops->summary == NULL)
        return true;
    return k->ops->summary(k->self, "packed_bytes", (double)s->res->packed_bytes, s->err);
}

void sim_done(struct sim *s, req_id id, enum req_status status, const char *reason, ns_t at)
{
    struct request *q = sim_req(s, id);
    bool refused = status == STATUS_REFUSED;
    s->live--;
    if (refused)
        s->res->refused++;
    else
        s->res->finished++;
    sim_decision(s, refused ? DEC_REFUSE : DEC_FINISH, q->info.seq, at, q->info.emitted);
    report_request(s, q, status, reason, at);
    tell_router(s, q);
    if (!refused)
        learn_length(s, q);
    CHECK(s->res->requests == s->live + s->res->finished + s->res->refused, INV_CONSERVE,
          "%llu arrived, %llu live, %llu finished, %llu refused",
          (unsigned long long)s->res->requests, (unsigned long long)s->live,
          (unsigned long long)s->res->finished, (unsigned long long)s->res->refused);
    bool timed = q->after == TRACE_NO_PARENT;
    intake_followers(s, q, refused, at);
    intake_free(s, id);
    if (s->cfg->concurrency > 0 && timed)
        (void)intake_next(s, at); /* a failure is in s->err and stops the loop */
}

/* ---- events ---- */

static void on_arrival(struct sim *s, req_id id)
{
    struct request *q = sim_req(s, id);
    bool timed = q->after == TRACE_NO_PARENT;
    sim_arrived(s, id, s->now);
    struct route_view v = route_view(s);
    s->routed = id;
    uint32_t to =
        s->cfg->router->route(s->router, &v, &q->info, slots_at(&s->tenant_router, q->info.tenant));
    s->routed = REQ_NONE;
    if (to == ROUTE_REJECT) {
        sim_done(s, id, STATUS_REFUSED, "router", s->now);
    } else {
        CHECK(to < s->cfg->n_replicas, INV_OFFER, "%s.route: replica %u of %u",
              s->cfg->router->name, to, s->cfg->n_replicas);
        sim_decision(s, DEC_ROUTE, q->info.seq, s->now, to);
        dispatched(s, q, to);
        slots_ensure(&s->replica[to].tenant_state, q->info.tenant + 1);
        replica_arrive(&s->replica[to], id);
    }
    if (s->cfg->concurrency == 0 && timed)
        (void)intake_next(s, s->now);
}

/* What the replica holds now joins the cluster's state. */
static void settle_units(struct sim *s, struct replica *r)
{
    if (r->kv.held == r->units_reported)
        return;
    s->state.units_used += r->kv.held - r->units_reported;
    metrics_units(s->metrics, s->now, (int64_t)(r->kv.held - r->units_reported));
    r->units_reported = r->kv.held;
}

static void on_event(struct sim *s, const struct event *ev)
{
    if (ev->kind == EV_ARRIVAL) {
        on_arrival(s, (req_id)ev->data);
        return;
    }
    struct replica *r = &s->replica[ev->kind == EV_TRANSFER ? ev->entity / 2 : ev->entity];
    if (ev->kind != EV_STEP_DONE) {
        leap_land(r);
        r->refusals_hold = false;
    }
    switch ((enum ev_kind)ev->kind) {
    case EV_STEP_DONE:
        replica_step_done(r);
        break;
    case EV_TRANSFER:
        blocks_transfer_event(r, ev->entity % 2 == 0, ev->number);
        break;
    case EV_ARRIVAL:
        break;
    case EV_DEFERRED:
        replica_deferred(r, (req_id)ev->data);
        break;
    case EV_TIMER:
        replica_timer(r);
        break;
    case EV_DECIDE:
        replica_decide(r);
        break;
    }
    settle_units(s, r);
}

static void sleep_until(ns_t wall_at)
{
    struct timespec ts = {.tv_sec = wall_at / NS_PER_S, .tv_nsec = (long)(wall_at % NS_PER_S)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
        ;
}

static ns_t wall_now(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (ns_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

ns_t sim_wall(const struct sim *s)
{
    return wall_now() - s->wall_zero;
}

static bool loop(struct sim *s)
{
    const struct sim_config *cfg = s->cfg;
    s->wall_zero = wall_now();
    for (uint32_t i = 0; i < MAX(cfg->concurrency, 1); i++)
        if (!intake_next(s, 0))
            return false;
    uint64_t n_events = 0;
    struct event ev;
    while (!s->err->set && evq_pop(&s->evq, &ev)) {
        CHECK(ev.at >= s->now, INV_TIME, "event at %lld, clock at %lld", (long long)ev.at,
              (long long)s->now);
        if (ev.at >= cfg->metrics.horizon_ns)
            break;
        if (s->n_timers == s->evq.n + 1 && ev.kind == EV_TIMER && s->live == 0)
            break; /* only timers are left: nothing will ever happen again */
        if (cfg->clock == CLOCK_PACED)
            sleep_until(ns_add(s->wall_zero, ev.at));
        if (ev.at > s->now)
            metrics_advance(s->metrics, ev.at);
        s->now = ev.at;
        on_event(s, &ev);
        metrics_state(s->metrics, &s->state);
        if (cfg->progress != NULL && n_events++ % PROGRESS_EVERY == 0)
            cfg->progress(cfg->progress_self, s->now, s->res->finished + s->res->refused);
    }
    return !s->err->set;
}

/* ---- the run ---- */

static size_t max_req_state(const struct sim_config *cfg)
{
    size_t most = 0;
    for (uint32_t i = 0; i < cfg->n_replicas; i++)
        most = MAX(most, cfg->replica[i].scheduler->req_state_bytes);
    return most;
}

static bool open_all(struct sim *s)
{
    const struct sim_config *cfg = s->cfg;
    for (uint32_t i = 1; i < cfg->n_replicas; i++)
        CHECK(cfg->replica[i].limits.block_size == cfg->replica[0].limits.block_size, INV_BATCH,
              "replica %u: block_size %u, replica 0: %u", i, cfg->replica[i].limits.block_size,
              cfg->replica[0].limits.block_size);
    s->router = cfg->router->open(&s->arena, cfg->params, cfg->n_replicas, cfg->seed, s->err);
    if (s->router == NULL)
        return false;
    if (cfg->predictor != NULL) {
        s->predictor = cfg->predictor->open(&s->arena, cfg->params, cfg->seed, s->err);
        if (s->predictor == NULL)
            return false;
    }
    uint64_t capacity = 0;
    for (uint32_t i = 0; i < cfg->n_replicas; i++) {
        if (!replica_open(&s->replica[i], s, i, &cfg->replica[i], s->err))
            return false;
        s->load[i].taken_at = -1;
        capacity += s->replica[i].kv.capacity;
    }
    struct metrics_config mc = cfg->metrics;
    mc.tenants = cfg->tenants;
    mc.classes = cfg->classes;
    mc.n_replicas = cfg->n_replicas;
    mc.capacity_units = capacity;
    s->metrics = metrics_open(&mc);
    return true;
}

static int by_seq(const void *a, const void *b)
{
    const struct request *const *x = a, *const *y = b;
    return ((*x)->info.seq > (*y)->info.seq) - ((*x)->info.seq < (*y)->info.seq);
}

/* Requests that the horizon cut off, in the order of the trace. */
static void report_unfinished(struct sim *s)
{
    if (s->live == 0)
        return;
    const struct request **left = mem_alloc((size_t)s->live * sizeof(const struct request *));
    size_t n = 0;
    for (req_id id = 0; id < s->requests.high; id++)
        if (sim_req(s, id)->live)
            left[n++] = sim_req(s, id);
    CHECK(n == s->live, INV_CONSERVE, "%zu slots in use, %llu live", n,
          (unsigned long long)s->live);
    qsort(left, n, sizeof(const struct request *), by_seq);
    for (size_t i = 0; i < n; i++)
        report_request(s, left[i], STATUS_UNFINISHED, "", s->now);
    s->res->unfinished = n;
    mem_free(left);
}

static void close_all(struct sim *s)
{
    for (req_id id = 0; id < s->requests.high; id++)
        content_release(&sim_req(s, id)->content);
    for (uint32_t i = 0; i < s->cfg->n_replicas; i++)
        replica_close(&s->replica[i]);
    if (s->metrics != NULL)
        metrics_close(s->metrics);
    mem_free(s->replica);
    mem_free(s->load);
    mem_free(s->count);
    mem_free(s->ahead);
    mem_free(s->segment);
    mem_free(s->seqmap);
    slots_release(&s->requests);
    slots_release(&s->req_state);
    slots_release(&s->tenant_router);
    slots_release(&s->tenant_predictor);
    evq_release(&s->evq);
    arena_release(&s->arena);
}

bool sim_run(const struct sim_config *cfg, struct sim_result *res, struct err *e)
{
    *res = (struct sim_result){.note = {.error = (double)NAN}};
    struct sim s = {.cfg = cfg, .res = res, .err = e, .orphan_first = REQ_NONE, .routed = REQ_NONE};
    arena_init(&s.arena);
    evq_init(&s.evq);
    slots_init(&s.requests, sizeof(struct request));
    slots_init(&s.req_state, max_req_state(cfg));
    slots_init(&s.tenant_router, cfg->router->tenant_state_bytes);
    slots_init(&s.tenant_predictor,
               cfg->predictor != NULL ? cfg->predictor->tenant_state_bytes : 0);
    s.replica = mem_alloc(cfg->n_replicas * sizeof(*s.replica));
    s.load = mem_alloc(cfg->n_replicas * sizeof(*s.load));
    s.count = mem_alloc(cfg->n_replicas * sizeof(*s.count));
    s.ahead_cap = cfg->trace.traits.has_after ? INTAKE_AHEAD : 1;
    s.ahead = mem_alloc(s.ahead_cap * sizeof(*s.ahead));

    const struct sink *k = &cfg->sink;
    bool begun = false;
    bool ok = open_all(&s);
    if (ok && k->ops != NULL && k->ops->begin != NULL)
        ok = begun = k->ops->begin(k->self, e);
    if (ok && k->ops != NULL && k->ops->cost_model != NULL)
        k->ops->cost_model(k->self, res->note.cost_model);
    ok = ok && loop(&s);
    if (ok) {
        for (uint32_t i = 0; i < cfg->n_replicas; i++) /* leaps ran ahead of the clock */
            s.now = MAX(s.now, s.replica[i].leap.last_run_at);
        for (uint32_t i = 0; i < cfg->n_replicas; i++)
            replica_cut(&s.replica[i]);
        report_unfinished(&s);
        ok = metrics_report(s.metrics, k, e);
        if (ok && k->ops != NULL && k->ops->summary != NULL)
            ok = k->ops->summary(k->self, "cost_model_error", res->note.error, e);
        ok = ok && report_accuracy(&s) && report_packed(&s);
    }
    res->digest = s.digest.h;
    res->end_at = s.now;
    if (begun && k->ops->end != NULL)
        ok = k->ops->end(k->self, ok, res->digest, e) && ok;
    close_all(&s);
    return ok && !e->set;
}
