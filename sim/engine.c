/* engine.c: a replica's decisions: the policy-neutral loop of scheduling.md section 2, with vLLM
 * V1's order where the policy leaves it to the engine (architecture.md section 6). */
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

void waiting_enter(struct replica *r, req_id id, bool front)
{
    if (front)
        queue_push_front(r->sim, &r->waiting, id);
    else
        queue_push_back(r->sim, &r->waiting, id);
    r->sim->state.waiting++;
    metrics_waiting(r->sim->metrics, sim_req(r->sim, id)->info.tenant, 1);
}

void waiting_leave(struct replica *r, req_id id)
{
    queue_remove(r->sim, &r->waiting, id);
    r->sim->state.waiting--;
    metrics_waiting(r->sim->metrics, sim_req(r->sim, id)->info.tenant, -1);
}

static bool is_waiting(const struct request *q)
{
    return q->info.state == REQ_WAITING || q->info.state == REQ_SWAPPING_OUT ||
           q->info.state == REQ_SWAPPED;
}

/* ---- opening and closing ---- */

static void set_timer(struct replica *r, ns_t at)
{
    r->timer_pending = true;
    r->sim->n_timers++;
    evq_push(&r->sim->evq, (struct event){.at = at,
                                          .kind = EV_TIMER,
                                          .entity = r->id,
                                          .number = r->n_timers++});
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
    slots_init(&r->tenant_state, r->ops->tenant_state_bytes);
    kv_init(&r->kv, r->limits.num_gpu_blocks * r->limits.units_per_block);
    link_init(&r->out, r->limits.pcie_bytes_per_s, r->limits.pcie_latency_ns);
    link_init(&r->in, r->limits.pcie_bytes_per_s, r->limits.pcie_latency_ns);

    r->kv_policy = cfg->kv->open(&s->arena, params, &cfg->kv_shape, e);
    if (r->kv_policy == NULL)
        return false;
    if (r->limits.enable_prefix_caching && cfg->kv->lossless) {
        void *prefix = cfg->prefix->open(&s->arena, params, e);
        if (prefix == NULL)
            return false;
        r->tree = ptree_open(cfg->prefix, prefix);
    }
    r->sched = r->ops->open(&s->arena, params, &r->limits, e);
    if (r->sched == NULL)
        return false;
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
    link_release(&r->out);
    link_release(&r->in);
    slots_release(&r->tenant_state);
    mem_free(r->scratch);
    mem_free(r->runs);
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
    evq_push(&r->sim->evq, (struct event){.at = r->sim->now,
                                          .kind = EV_DECIDE,
                                          .entity = r->id,
                                          .number = r->n_decisions});
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
    if (blocks_resident_units(r, q, (uint32_t)tokens) > r->kv.capacity)
        return "capacity";
    return NULL;
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
        CHECK(wake_at > s->now && wake_at < NS_NEVER, INV_OFFER, "deferred at %lld until %lld",
              (long long)s->now, (long long)wake_at);
        waiting_leave(r, id);
        q->info.state = REQ_DEFERRED;
        r->n_deferred++;
        evq_push(&s->evq, (struct event){.at = wake_at,
                                         .kind = EV_DEFERRED,
                                         .entity = r->id,
                                         .number = q->info.seq,
                                         .data = id});
        return;
    }
}

void replica_arrive(struct replica *r, req_id id)
{
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
    ask_arrival(r, id);
}

void replica_deferred(struct replica *r, req_id id)
{
    r->n_deferred--;
    ask_arrival(r, id);
}

void replica_timer(struct replica *r)
{
    struct sim *s = r->sim;
    r->timer_pending = false;
    s->n_timers--;
    ns_t next = r->ops->on_timer(r->sched, replica_view(r));
    CHECK(next > s->now, INV_TIME, "timer at %lld asks for %lld", (long long)s->now,
          (long long)next);
    if (next < NS_NEVER)
        set_timer(r, next);
    replica_wake(r);
}

/* ---- forming a batch ---- */

struct forming {
    struct flight *f;
    uint32_t budget;       /* tokens left */
    uint64_t claimed;      /* units that stalled requests wait for */
    bool preempted;
};

/* Tokens the request could compute now: the rest of its prompt, or the token after its last. 0 when
 * all it may emit is under way. */
static uint32_t wanted(const struct request *q)
{
    uint32_t len = q->info.prompt_tokens + q->info.generated;
    return q->info.generated >= q->info.max_tokens ? 0 : len - q->info.computed;
}

static uint32_t ask_chunk(struct replica *r, req_id id, uint32_t want, uint32_t budget)
{
    uint32_t limit = MIN(want, budget);
    if (r->ops->chunk == NULL)
        return limit;
    uint32_t n = r->ops->chunk(r->sched, replica_view(r), id, want, budget);
    CHECK(n <= limit, INV_OFFER, "%s: chunk of %u tokens where %u are left", r->ops->name, n,
          limit);
    return n;
}

static void batch_add(struct replica *r, struct forming *fm, req_id id, uint32_t n)
{
    struct flight *f = fm->f;
    struct request *q = sim_req(r->sim, id);
    CHECK(q->batch_step != r->n_steps + 1, INV_BATCH, "request %llu twice in step %llu",
          (unsigned long long)q->info.seq, (unsigned long long)r->n_steps);
    CHECK(n <= fm->budget, INV_BATCH, "%u tokens, %u left in the step", n, fm->budget);
    CHECK(f->batch.n < r->limits.max_num_seqs, INV_BATCH, "more than %u sequences",
          r->limits.max_num_seqs);
    f->seq = mem_reserve(f->seq, &f->seq_cap, f->batch.n + 1u, sizeof(*f->seq));
    f->req_seq = mem_reserve(f->req_seq, &f->req_seq_cap, f->batch.n + 1u, sizeof(*f->req_seq));
    q->batch_step = r->n_steps + 1;
    q->batch_slot = f->batch.n;
    uint32_t context = q->info.computed;
    f->seq[f->batch.n] = (struct batch_seq){
        .id = id,
        .n_tokens = n,
        .context = context,
        .prefill = n > 1 || context < q->info.prompt_tokens,
        .emits = context + n == q->info.prompt_tokens + q->info.generated,
    };
    f->req_seq[f->batch.n] = q->info.seq;
    f->batch.n++;
    fm->budget -= n;
}

/* The batch is decided as far as this request goes: its tokens count as computed, its full blocks
 * can be hit from now on. */
static void batch_commit(struct replica *r, const struct batch_seq *b)
{
    struct request *q = sim_req(r->sim, b->id);
    q->info.computed += b->n_tokens;
    q->info.generated += b->emits;
    q->info.last_run_at = r->sim->now;
    blocks_publish(r, q);
}

/* A victim that was in the batch already gives its place and its tokens back. */
static void batch_drop(struct replica *r, struct forming *fm, req_id id)
{
    struct request *q = sim_req(r->sim, id);
    if (q->batch_step != r->n_steps + 1)
        return;
    struct flight *f = fm->f;
    uint32_t at = q->batch_slot;
    fm->budget += f->seq[at].n_tokens;
    q->batch_step = 0;
    f->batch.n--;
    for (uint32_t i = at; i < f->batch.n; i++) {
        f->seq[i] = f->seq[i + 1];
        f->req_seq[i] = f->req_seq[i + 1];
        sim_req(r->sim, f->seq[i].id)->batch_slot = i;
    }
}

static req_id choose_victim(struct replica *r, uint64_t need, req_id requester,
                            enum preempt_mode *mode)
{
    *mode = r->limits.preempt;
    req_id v = r->running.last;
    if (r->ops->victim != NULL)
        v = r->ops->victim(r->sched, replica_view(r), need, requester, mode);
    /* A request whose KV is still on its way in cannot be sent away: the default looks further. */
    while (r->ops->victim == NULL && v != REQ_NONE &&
           sim_req(r->sim, v)->info.state != REQ_RUNNING)
        v = sim_req(r->sim, v)->prev;
    if (v != REQ_NONE) {
        const struct request *q = sim_req(r->sim, v);
        CHECK(q->live && q->info.state == REQ_RUNNING && q->replica == r->id, INV_OFFER,
              "%s: victim %llu is not resident", r->ops->name, (unsigned long long)q->info.seq);
    }
    return v;
}

enum room {
    ROOM_YES,
    ROOM_STALLED, /* blocks are on their way out, or nobody may be preempted: it waits */
    ROOM_REFUSED, /* it can never go on and has left */
    ROOM_VICTIM,  /* it was the victim itself */
};

/* Makes room for n more tokens of a resident request, preempting as the policy says. */
static enum room make_room(struct replica *r, struct forming *fm, req_id id, uint32_t n)
{
    struct request *q = sim_req(r->sim, id);
    for (;;) {
        uint64_t total = blocks_resident_units(r, q, q->info.computed + n);
        uint64_t need = total - blocks_resident_units(r, q, q->info.computed);
        if (blocks_alloc(r, q, n))
            return ROOM_YES;
        if (total > r->kv.capacity) {
            replica_refuse(r, id, "capacity");
            return ROOM_REFUSED;
        }
        if (blocks_available_units(r) + r->leaving_units >= need + fm->claimed) {
            fm->claimed += need;
            return ROOM_STALLED;
        }
        enum preempt_mode mode;
        req_id v = choose_victim(r, need, id, &mode);
        if (v == REQ_NONE)
            return ROOM_STALLED;
        batch_drop(r, fm, v);
        blocks_preempt(r, v, mode);
        fm->f->preempted++;
        fm->preempted = true;
        if (v == id)
            return ROOM_VICTIM;
    }
}

/* Residents first. A policy that answers select_run says which, and in what order. */
static uint32_t list_residents(struct replica *r)
{
    r->scratch = mem_reserve(r->scratch, &r->scratch_cap, r->running.n, sizeof(*r->scratch));
    if (r->ops->select_run != NULL) {
        uint32_t n = r->ops->select_run(r->sched, replica_view(r), r->scratch, r->running.n);
        CHECK(n <= r->running.n, INV_OFFER, "%s: selects %u of %u residents", r->ops->name, n,
              r->running.n);
        return n;
    }
    uint32_t n = 0;
    for (req_id id = r->running.first; id != REQ_NONE; id = sim_req(r->sim, id)->next)
        r->scratch[n++] = id;
    return n;
}

static void form_residents(struct replica *r, struct forming *fm)
{
    uint32_t n = list_residents(r);
    for (uint32_t i = 0; i < n && fm->budget > 0; i++) {
        req_id id = r->scratch[i];
        struct request *q = sim_req(r->sim, id);
        bool resident = q->live && q->replica == r->id &&
                        (q->info.state == REQ_RUNNING || q->info.state == REQ_LOADING);
        if (!resident) { /* a victim of this very step, or never one of ours */
            CHECK(fm->preempted || r->ops->select_run == NULL, INV_OFFER,
                  "%s: selects a request that is not resident", r->ops->name);
            continue;
        }
        uint32_t want = wanted(q);
        if (q->info.state == REQ_LOADING || want == 0)
            continue;
        uint32_t tokens = ask_chunk(r, id, want, fm->budget);
        if (tokens == 0)
            continue;
        enum room room = make_room(r, fm, id, tokens);
        if (room == ROOM_YES)
            batch_add(r, fm, id, tokens);
        else if (room == ROOM_VICTIM)
            break; /* those after it were admitted later still: none of them goes first */
    }
    for (uint32_t i = 0; i < fm->f->batch.n; i++)
        batch_commit(r, &fm->f->seq[i]);
}

/* Units that must be there before `q` may come in: for all it may ever hold under `reserve`, for
 * the rest of its prompt or for its next chunk under `paged`. Its pinned path is there already. */
static uint64_t admission_need(const struct replica *r, const struct request *q, uint32_t chunk)
{
    uint32_t len = q->info.prompt_tokens + q->info.generated;
    uint32_t tokens = q->info.computed + chunk;
    if (r->limits.kv_admission == KV_ADMISSION_RESERVE)
        tokens = MIN(q->info.prompt_tokens + q->info.max_tokens, r->limits.max_model_len);
    else if (r->limits.scheduler_reserve_full_isl)
        tokens = len;
    return blocks_resident_units(r, q, tokens) - blocks_resident_units(r, q, q->info.computed);
}

static void enter_running(struct replica *r, req_id id, uint32_t cached)
{
    struct sim *s = r->sim;
    struct request *q = sim_req(s, id);
    bool resumed = q->info.admitted_before;
    uint32_t len = q->info.prompt_tokens + q->info.generated;
    waiting_leave(r, id);
    queue_push_back(s, &r->running, id);
    s->state.running++;
    if (!resumed) {
        q->info.admitted_before = true;
        q->info.cached_tokens = cached;
        q->admitted_at = s->now;
        metrics_admit(s->metrics, s->now, q->info.tenant, q->info.prompt_tokens, cached);
    }
    sim_decision(s, DEC_ADMIT, q->info.seq, s->now, cached);
    if (r->ops->on_admit != NULL)
        r->ops->on_admit(r->sched, replica_view(r), id, len - cached, cached, resumed);
}

static enum try_result try_admit(struct replica *r, struct forming *fm, req_id id)
{
    struct request *q = sim_req(r->sim, id);
    if (q->info.state == REQ_SWAPPING_OUT)
        return TRY_BUSY;
    if (r->running.n >= r->limits.max_num_seqs)
        return TRY_NO_SLOT;

    /* Pinned first: what it is about to hit must not count as evictable. */
    uint32_t cached = blocks_pin_hit(r, q);
    CHECK(cached < q->info.prompt_tokens + q->info.generated, INV_HIT, "%u of %u tokens cached",
          cached, q->info.prompt_tokens + q->info.generated);
    q->info.computed = cached;
    uint32_t load = q->host_tokens > cached ? q->host_tokens - cached : 0;
    uint32_t want = wanted(q);
    uint64_t need = admission_need(r, q, load > 0 ? load : MIN(want, fm->budget));
    uint64_t reserve = need, promised = r->promised_units;
    if (r->ops->reserve != NULL)
        reserve = r->ops->reserve(r->sched, replica_view(r), id, need);
    if (r->ops->committed != NULL)
        promised = r->ops->committed(r->sched, replica_view(r), promised);

    enum try_result res = load > 0 ? TRY_LOADING : TRY_ADMITTED;
    uint32_t n = load;
    if (reserve + promised > blocks_available_units(r))
        res = TRY_NO_MEM;
    else if (load == 0 && (n = ask_chunk(r, id, want, fm->budget)) == 0)
        res = TRY_NO_BUDGET;
    else if (!blocks_alloc(r, q, n))
        res = TRY_NO_MEM;
    if (res != TRY_ADMITTED && res != TRY_LOADING) {
        q->info.computed = 0;
        blocks_unpin_hit(r, q);
        return res;
    }
    if (r->limits.kv_admission == KV_ADMISSION_RESERVE) {
        q->promised_units =
            need - (blocks_resident_units(r, q, cached + n) - blocks_resident_units(r, q, cached));
        r->promised_units += q->promised_units;
    }
    if (q->path_blocks > 0)
        ptree_touch(r->tree, q->path_node);
    if (load > 0) {
        q->info.computed = cached + load;
        blocks_load(r, id);
        enter_running(r, id, cached + load);
        return TRY_LOADING;
    }
    blocks_forget_host(r, q); /* the cache had it all */
    q->info.state = REQ_RUNNING;
    enter_running(r, id, cached);
    batch_add(r, fm, id, n);
    batch_commit(r, &fm->f->seq[fm->f->batch.n - 1]);
    return TRY_ADMITTED;
}

static req_id ask_candidate(struct replica *r, req_id last, enum try_result res)
{
    if (r->ops->next_candidate != NULL)
        return r->ops->next_candidate(r->sched, replica_view(r), last, res);
    bool go_on = res == TRY_FIRST || res == TRY_ADMITTED || res == TRY_LOADING;
    return go_on ? r->waiting.first : REQ_NONE;
}

static void form_admissions(struct replica *r, struct forming *fm)
{
    CHECK(!fm->preempted, INV_ADMIT, "step %llu", (unsigned long long)r->n_steps);
    req_id last = REQ_NONE;
    enum try_result res = TRY_FIRST;
    while (fm->budget > 0 && r->waiting.n > 0) {
        req_id id = ask_candidate(r, last, res);
        if (id == REQ_NONE)
            break;
        struct request *q = sim_req(r->sim, id);
        CHECK(q->live && q->replica == r->id && is_waiting(q), INV_OFFER,
              "%s: candidate is not waiting here", r->ops->name);
        CHECK(q->offered_in != r->n_decisions, INV_OFFER, "%s: request %llu offered twice",
              r->ops->name, (unsigned long long)q->info.seq);
        q->offered_in = r->n_decisions;
        res = try_admit(r, fm, id);
        last = id;
    }
}

static void describe_shape(struct replica *r, struct flight *f)
{
    struct batch_shape s = {0};
    for (uint32_t i = 0; i < f->batch.n; i++) {
        const struct batch_seq *b = &f->seq[i];
        uint32_t after = b->context + b->n_tokens;
        if (b->prefill) {
            s.n_prefill++;
            s.prefill_tokens += b->n_tokens;
            s.prefill_history_sum += b->context;
            s.prefill_pairs += (double)b->n_tokens * (double)b->context +
                               (double)b->n_tokens * ((double)b->n_tokens + 1.0) / 2.0;
        } else {
            uint32_t read = (uint32_t)r->cfg->kv->read_tokens(
                r->kv_policy, sim_req(r->sim, b->id)->info.prompt_tokens, after);
            s.n_decode++;
            s.decode_tokens += b->n_tokens;
            s.decode_context_sum += read;
            s.decode_context_max = MAX(s.decode_context_max, read);
        }
    }
    CHECK(s.decode_tokens + s.prefill_tokens <= r->limits.max_num_batched_tokens, INV_BATCH,
          "%u tokens, limit %u", s.decode_tokens + s.prefill_tokens,
          r->limits.max_num_batched_tokens);
    f->batch.shape = s;
}

/* Forms one batch and sends it off; false: there is nothing to compute. */
static bool form_batch(struct replica *r)
{
    struct forming fm = {.f = flight_next(r), .budget = r->limits.max_num_batched_tokens};
    r->n_decisions++;
    metrics_decide_begin(r->sim->metrics);
    if (r->ops->step_begin != NULL)
        r->ops->step_begin(r->sched, replica_view(r));
    form_residents(r, &fm);
    bool due = ++r->steps_since_admit >= r->limits.admit_interval || r->running.n == 0;
    if (!fm.preempted && due) {
        r->steps_since_admit = 0;
        form_admissions(r, &fm);
    }
    metrics_decide_end(r->sim->metrics);
    if (fm.f->batch.n == 0) /* when the only one to run was preempted, those waiting have their turn */
        return fm.preempted && r->n_flight == 0 ? form_batch(r) : false;
    describe_shape(r, fm.f);
    r->n_steps++;
    flight_launch(r);
    return true;
}

void replica_decide(struct replica *r)
{
    r->decide_pending = false;
    while (r->n_flight < r->cfg->engine->depth && !r->sim->err->set)
        if (!form_batch(r))
            break;
    bool woken = r->n_flight > 0 || r->n_deferred > 0 || r->timer_pending || r->out.n > 0 ||
                 r->in.n > 0 || r->sim->err->set;
    CHECK(woken || r->waiting.n + r->running.n == 0, INV_WORK,
          "%s: %u waiting and %u resident requests, nothing runs", r->ops->name, r->waiting.n,
          r->running.n);
}
