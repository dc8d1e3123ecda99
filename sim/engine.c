/* engine.c: a replica from outside: opened, requests arrive, timers fire, decisions are due. What a
 * decision is stands in batch.c, what comes of it in steps.c, whose blocks are whose in blocks.c.
 */
#include "sim/engine.h"

#include <string.h>

#include "sim/core.h"

/* ---- queues: intrusive, so that a request is in one at a time ---- */

void queue_push_back(struct sim *s, struct queue *q, req_id id)
{
    struct request *r = sim_req(s, id);
    r->prev = q->last;
    r->next = REQ_NONE;
    if (q->last == REQ_NONE)
        q->first = id;
    else
        sim_req(s, q->last)->next = id;
    q->last = id;
    q->n++;
}

void queue_push_front(struct sim *s, struct queue *q, req_id id)
{
    struct request *r = sim_req(s, id);
    r->prev = REQ_NONE;
    r->next = q->first;
    if (q->first == REQ_NONE)
        q->last = id;
    else
        sim_req(s, q->first)->prev = id;
    q->first = id;
    q->n++;
}

void queue_remove(struct sim *s, struct queue *q, req_id id)
{
    struct request *r = sim_req(s, id);
    CHECK(q->n > 0, INV_QUEUE, "request %llu leaves an empty queue",
          (unsigned long long)r->info.seq);
    if (r->prev == REQ_NONE)
        q->first = r->next;
    else
        sim_req(s, r->prev)->next = r->next;
    if (r->next == REQ_NONE)
        q->last = r->prev;
    else
        sim_req(s, r->next)->prev = r->prev;
    r->prev = r->next = REQ_NONE;
    q->n--;
}

/* Its length does not change while it waits, so what is added is what will be taken off. */
static void count_waiting(struct replica *r, const struct request *q, int sign)
{
    uint32_t tokens = request_len(q);
    uint64_t units = blocks_resident_units(r, q, tokens);
    r->sim->state.waiting += (uint32_t)sign;
    r->waiting_tokens += sign > 0 ? tokens : -(uint64_t)tokens;
    r->waiting_units += sign > 0 ? units : -units;
    metrics_waiting(r->sim->metrics, q->info.tenant, sign);
}

void waiting_enter(struct replica *r, req_id id, bool front)
{
    if (front)
        queue_push_front(r->sim, &r->waiting, id);
    else
        queue_push_back(r->sim, &r->waiting, id);
    count_waiting(r, sim_req(r->sim, id), 1);
}

void waiting_leave(struct replica *r, req_id id)
{
    queue_remove(r->sim, &r->waiting, id);
    count_waiting(r, sim_req(r->sim, id), -1);
}

/* ---- opening and closing ---- */

static void set_timer(struct replica *r, ns_t at)
{
    r->timer_pending = true;
    r->sim->n_timers++;
    evq_push(&r->sim->evq,
             (struct event){.at = at, .kind = EV_TIMER, .entity = r->id, .number = r->n_timers++});
}

/* A backend that runs real steps holds the whole cache of every sequence, and is called when the
 * step before is over. */
static bool check_executes(const struct replica_config *cfg, struct err *e)
{
    const char *name = cfg->backend->name;
    if (!(cfg->backend->caps & BACKEND_EXECUTES))
        return true;
    if (cfg->engine->depth > 1)
        return err_set(e, "engine: %s has %u batches in flight, %s runs one; use engine=tandem",
                       cfg->engine->name, cfg->engine->depth, name);
    return cfg->kv->lossless || err_set(e, "kv: %s holds the full cache; use --kv full", name);
}

bool replica_open(struct replica *r, struct sim *s, uint32_t id, const struct replica_config *cfg,
                  struct err *e)
{
    const struct params *params = s->cfg->params;
    *r = (struct replica){
        .sim = s,
        .id = id,
        .cfg = cfg,
        .limits = cfg->limits,
        .ops = cfg->scheduler,
        .waiting = {REQ_NONE, REQ_NONE, 0},
        .running = {REQ_NONE, REQ_NONE, 0},
    };
    if (r->ops->batching == BATCHING_SEPARATE)
        r->limits.prefill_mode = PREFILL_SEPARATE;
    slots_init(&r->tenant_state, r->ops->tenant_state_bytes);
    replica_view_init(r);
    kv_init(&r->kv, r->limits.num_gpu_blocks * r->limits.units_per_block);
    link_init(&r->out, r->limits.pcie_bytes_per_s, r->limits.pcie_latency_ns);
    link_init(&r->in, r->limits.pcie_bytes_per_s, r->limits.pcie_latency_ns);

    if (!check_executes(cfg, e))
        return false;
    struct kv_rule_config rule = {cfg->kv, cfg->kv_budget, params, cfg->kv_shape, s->cfg->seed};
    r->kv_rule = arena_alloc(&s->arena, sizeof(*r->kv_rule));
    if (!kv_rule_open(r->kv_rule, &s->arena, &rule, e))
        return false;
    if (r->limits.enable_prefix_caching && cfg->kv->lossless) {
        struct prefix_env env = {.capacity_blocks = r->limits.num_gpu_blocks,
                                 .block_tokens = r->limits.block_size,
                                 .pair_cost = cfg->prefix_pair_cost};
        void *prefix = cfg->prefix->open(&s->arena, params, &env, e);
        if (prefix == NULL)
            return false;
        r->tree = ptree_open(cfg->prefix, prefix);
    }
    r->sched = r->ops->open(&s->arena, params, &r->limits, e);
    if (r->sched == NULL)
        return false;
    r->offload = (struct offload){.share = 1};
    if (r->ops->offload != NULL)
        r->offload = r->ops->offload(r->sched);
    CHECK(r->offload.share > 0 && r->offload.share <= 1, INV_OFFER, "%s: copies of %g of the KV",
          r->ops->name, r->offload.share);
    if ((cfg->backend->caps & BACKEND_EXECUTES) && r->offload.share < 1)
        return err_set(e, "scheduler: %s packs what it swaps, which %s does not; let it swap whole",
                       r->ops->name, cfg->backend->name);
    struct backend_env env = cfg->backend_env;
    env.limits = &r->limits;
    r->backend = cfg->backend->open(&s->arena, &env, &s->res->note, e);
    if (r->backend == NULL)
        return false;
    if (r->ops->on_timer != NULL)
        set_timer(r, 0);
    return true;
}

void replica_close(struct replica *r)
{
    if (r->backend != NULL && r->cfg->backend->close != NULL)
        r->cfg->backend->close(r->backend);
    if (r->tree != NULL)
        ptree_close(r->tree);
    for (uint32_t i = 0; i < SIM_MAX_DEPTH; i++) {
        mem_free(r->flight[i].seq);
        mem_free(r->flight[i].req_seq);
    }
    leap_release(r);
    link_release(&r->out);
    link_release(&r->in);
    mem_free(r->swap);
    slots_release(&r->tenant_state);
    mem_free(r->scratch);
    mem_free(r->runs);
    mem_free(r->peak);
}

/* ---- arrivals, timers ---- */

void replica_wake(struct replica *r)
{
    /* While a batch is in flight the engine is blocked on its output: an arrival waits for it. */
    if (r->n_flight == 0)
        replica_decide_soon(r);
}

void replica_decide_soon(struct replica *r)
{
    if (r->decide_pending)
        return;
    r->decide_pending = true;
    evq_push(&r->sim->evq,
             (struct event){
                 .at = r->sim->now, .kind = EV_DECIDE, .entity = r->id, .number = r->n_decisions});
}

/* NULL if the request can run here some day, else the reason it cannot. */
static const char *refusal(const struct replica *r, const struct request *q)
{
    uint64_t prompt = q->info.prompt_tokens;
    if (prompt >= r->limits.max_model_len)
        return "prompt_too_long";
    uint64_t tokens = prompt + 1;
    if (r->limits.kv_admission == KV_ADMISSION_RESERVE)
        tokens = MIN(prompt + q->info.max_tokens, r->limits.max_model_len);
    if (r->limits.kv_admission == KV_ADMISSION_LIGHTLLM &&
        prompt + q->output_tokens >= limits_kv_tokens(&r->limits))
        return "capacity"; /* alone it would not pass the peak test */
    if (r->limits.prefill_mode == PREFILL_SEPARATE && prompt > r->limits.max_num_batched_tokens)
        return "prompt_too_long";
    if (blocks_peak_units(r, q, (uint32_t)tokens) > r->kv.capacity)
        return "capacity";
    return NULL;
}

static void defer(struct replica *r, req_id id, ns_t until)
{
    r->n_deferred++;
    evq_push(&r->sim->evq, (struct event){.at = until,
                                          .kind = EV_DEFERRED,
                                          .entity = r->id,
                                          .number = sim_req(r->sim, id)->info.seq,
                                          .data = id});
}

static void ask_arrival(struct replica *r, req_id id)
{
    struct sim *s = r->sim;
    struct request *q = sim_req(s, id);
    q->info.state = REQ_WAITING;
    waiting_enter(r, id, false);
    ns_t wake_at = NS_NEVER;
    enum adm answer = ADM_ACCEPT;
    if (r->ops->on_arrival != NULL)
        answer = r->ops->on_arrival(r->sched, replica_view(r), id, &wake_at);
    switch (answer) {
    case ADM_ACCEPT:
        replica_wake(r);
        return;
    case ADM_REJECT:
        waiting_leave(r, id);
        q->info.state = REQ_DEFERRED; /* in no queue */
        sim_done(s, id, STATUS_REFUSED, "policy", s->now);
        return;
    case ADM_DEFER:
        CHECK(wake_at > s->now && wake_at < NS_NEVER, INV_OFFER,
              "%s.on_arrival: deferred at %lld until %lld", r->ops->name, (long long)s->now,
              (long long)wake_at);
        waiting_leave(r, id);
        q->info.state = REQ_DEFERRED;
        defer(r, id, wake_at);
        return;
    }
}

void replica_arrive(struct replica *r, req_id id)
{
    leap_land(r);
    r->refusals_hold = false;
    struct request *q = sim_req(r->sim, id);
    uint32_t room = r->limits.max_model_len > q->info.prompt_tokens
                        ? r->limits.max_model_len - q->info.prompt_tokens
                        : 0;
    q->replica = r->id;
    if (q->info.max_tokens == 0 || q->info.max_tokens > room)
        q->info.max_tokens = room;
    q->cut = q->output_tokens > q->info.max_tokens;
    q->output_tokens = MIN(q->output_tokens, q->info.max_tokens);

    if (r->ops->req_state_bytes > 0)
        memset(slots_at(&r->sim->req_state, id), 0, r->ops->req_state_bytes);
    const char *reason = refusal(r, q);
    if (reason != NULL) {
        q->info.state = REQ_DEFERRED;
        sim_done(r->sim, id, STATUS_REFUSED, reason, r->sim->now);
        return;
    }
    q->predicted = sim_predict(r->sim, q);
    if (q->fetched > 0) {
        q->info.state = REQ_DEFERRED;
        defer(r, id, ns_add(r->sim->now, q->fetch_ns));
        return;
    }
    ask_arrival(r, id);
}

void replica_deferred(struct replica *r, req_id id)
{
    r->n_deferred--;
    struct request *q = sim_req(r->sim, id);
    if (q->fetched > 0)
        blocks_import(r, q, q->fetched);
    q->fetched = 0;
    ask_arrival(r, id);
}

void replica_timer(struct replica *r)
{
    struct sim *s = r->sim;
    r->timer_pending = false;
    s->n_timers--;
    ns_t next = r->ops->on_timer(r->sched, replica_view(r));
    CHECK(next > s->now, INV_TIME, "%s.on_timer: asks for %lld at %lld", r->ops->name,
          (long long)next, (long long)s->now);
    if (next < NS_NEVER)
        set_timer(r, next);
    replica_wake(r);
}

/* ---- decisions ---- */

void replica_decide(struct replica *r)
{
    r->decide_pending = false;
    while (r->n_flight < r->cfg->engine->depth && !r->sim->err->set)
        if (!form_batch(r))
            break;
    if (r->n_flight == 0)
        swaps_ask(r, true);
    bool woken = r->n_flight > 0 || r->n_deferred > 0 || r->timer_pending || r->out.n > 0 ||
                 r->in.n > 0 || r->n_swaps > 0 || r->sim->err->set;
    CHECK(woken || r->waiting.n + r->running.n == 0, INV_WORK,
          "%s: %u waiting and %u resident requests, nothing runs", r->ops->name, r->waiting.n,
          r->running.n);
}
