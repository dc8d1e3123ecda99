/* batch.c: forming a batch: the policy-neutral loop of scheduling.md section 2, with vLLM V1's
 * order where the policy leaves it to the engine (architecture.md section 6). Residents first,
 * then, if nobody was preempted, waiting requests; every answer of the policy is checked. */
#include <stdlib.h>

#include "sim/core.h"

struct forming {
    struct flight *f;
    uint32_t budget;                   /* tokens left */
    bool preempted, refused, admitted; /* somebody was, in this decision */
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
    CHECK(n <= limit, INV_OFFER, "%s.chunk: %u tokens where %u are left", r->ops->name, n, limit);
    return n;
}

static void grow_flight(struct flight *f)
{
    size_t cap = f->cap;
    f->seq = mem_reserve(f->seq, &cap, f->batch.n + 1u, sizeof(*f->seq));
    f->req_seq = mem_reserve(f->req_seq, &f->cap, f->batch.n + 1u, sizeof(*f->req_seq));
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
    if (f->batch.n == f->cap)
        grow_flight(f);
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
    r->running_tokens += b->emits;
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

/* Who a policy's callback named: somebody that there ever was. */
static struct request *named(const struct replica *r, const char *callback, req_id id)
{
    CHECK(id < r->sim->requests.high, INV_OFFER, "%s.%s: there is no request %u", r->ops->name,
          callback, id);
    return sim_req(r->sim, id);
}

static void expect_resident(const struct replica *r, const char *callback, req_id id)
{
    const struct request *q = named(r, callback, id);
    CHECK(q->live && q->info.state == REQ_RUNNING && q->replica == r->id, INV_OFFER,
          "%s.%s: request %llu is not resident", r->ops->name, callback,
          (unsigned long long)q->info.seq);
}

/* What it has to compute next would not fit if it were alone. It leaves where it would be
 * preempted: it could never come back. */
static bool outgrown(struct replica *r, req_id id)
{
    const struct request *q = sim_req(r->sim, id);
    return blocks_resident_units(r, q, request_len(q)) > r->kv.capacity;
}

static req_id choose_victim(struct replica *r, uint64_t need, req_id requester,
                            enum preempt_mode *mode)
{
    *mode = r->limits.preempt;
    req_id v = r->running.last;
    if (r->ops->victim != NULL)
        v = r->ops->victim(r->sched, replica_view(r), need, requester, mode);
    /* A request whose KV is still on its way in cannot be sent away: the default looks further. */
    while (r->ops->victim == NULL && v != REQ_NONE && sim_req(r->sim, v)->info.state != REQ_RUNNING)
        v = sim_req(r->sim, v)->prev;
    if (v != REQ_NONE)
        expect_resident(r, "victim", v);
    return v;
}

/* It can never go on: it leaves, and what it held is free. */
static void refuse(struct replica *r, struct forming *fm, req_id id)
{
    replica_refuse(r, id, "capacity");
    fm->refused = true;
}

/* The policy sends residents away ahead of need. */
static void move_out(struct replica *r, struct forming *fm)
{
    while (r->ops->kv_move != NULL) {
        enum preempt_mode mode = PREEMPT_SWAP;
        req_id id = r->ops->kv_move(r->sched, replica_view(r), &mode);
        if (id == REQ_NONE)
            return;
        expect_resident(r, "kv_move", id);
        if (outgrown(r, id)) {
            refuse(r, fm, id);
            continue;
        }
        blocks_preempt(r, id, mode);
        r->n_preempted++;
    }
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
    while (!blocks_alloc(r, q, n)) {
        uint64_t total = blocks_resident_units(r, q, q->info.computed + n);
        uint64_t need = blocks_growth(r, q, q->info.computed + n);
        if (total > r->kv.capacity) {
            refuse(r, fm, id);
            return ROOM_REFUSED;
        }
        if (blocks_available_units(r) + r->leaving_units >= need + r->claimed_units) {
            r->claimed_units += need;
            return ROOM_STALLED;
        }
        enum preempt_mode mode;
        req_id v = choose_victim(r, need, id, &mode);
        if (v == REQ_NONE)
            return ROOM_STALLED;
        batch_drop(r, fm, v);
        if (outgrown(r, v)) {
            refuse(r, fm, v);
            if (v == id)
                return ROOM_REFUSED;
            continue;
        }
        blocks_preempt(r, v, mode);
        r->n_preempted++;
        fm->preempted = true;
        if (v == id)
            return ROOM_VICTIM;
    }
    return ROOM_YES;
}

/* Residents first. A policy that answers select_run says which, and in what order. */
static uint32_t list_residents(struct replica *r)
{
    r->scratch = mem_reserve(r->scratch, &r->scratch_cap, r->running.n, sizeof(*r->scratch));
    if (r->ops->select_run != NULL) {
        uint32_t n = r->ops->select_run(r->sched, replica_view(r), r->scratch, r->running.n);
        CHECK(n <= r->running.n, INV_OFFER, "%s.select_run: %u of %u residents", r->ops->name, n,
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
    r->claimed_units = 0;
    for (uint32_t i = 0; i < n && fm->budget > 0; i++) {
        req_id id = r->scratch[i];
        struct request *q = named(r, "select_run", id);
        bool resident = q->live && q->replica == r->id &&
                        (q->info.state == REQ_RUNNING || q->info.state == REQ_LOADING);
        if (!resident) { /* a victim of this very step, or never one of ours */
            CHECK(fm->preempted || fm->refused || r->ops->select_run == NULL, INV_OFFER,
                  "%s.select_run: request %llu is not resident", r->ops->name,
                  (unsigned long long)q->info.seq);
            continue;
        }
        CHECK(q->batch_step != r->n_steps + 1, INV_OFFER, "%s.select_run: request %llu twice",
              r->ops->name, (unsigned long long)q->info.seq);
        uint32_t want = wanted(q);
        if (q->info.state == REQ_LOADING || want == 0)
            continue;
        uint32_t tokens = ask_chunk(r, id, want, fm->budget);
        if (tokens == 0)
            continue;
        CHECK(fm->f->batch.n < r->limits.max_num_seqs, INV_OFFER,
              "%s.select_run: more than max_num_seqs = %u requests", r->ops->name,
              r->limits.max_num_seqs);
        enum room room = make_room(r, fm, id, tokens);
        if (room == ROOM_YES)
            batch_add(r, fm, id, tokens);
        else if (room == ROOM_VICTIM)
            break; /* those after it were admitted later still: none of them goes first */
    }
    for (uint32_t i = 0; i < fm->f->batch.n; i++)
        batch_commit(r, &fm->f->seq[i]);
}

static int by_left(const void *a, const void *b)
{
    const struct peak_entry *x = a, *y = b;
    if (x->left != y->left)
        return x->left > y->left ? -1 : 1;
    return (x->used < y->used) - (x->used > y->used);
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
    return blocks_growth(r, q, tokens);
}

/* LightLLM's test (scheduling.md 3.4 and 3.18): if `q` joined, and every request kept its memory
 * until its true end, would the peak fit? With the requests sorted by what they have left, longest
 * first, the i-th to last to end holds max(left_i * i + sum of used_j, j <= i). */
static bool peak_fits(struct replica *r, const struct request *q)
{
    size_t n = r->running.n + 1u;
    r->peak = mem_reserve(r->peak, &r->peak_cap, n, sizeof(*r->peak));
    size_t k = 0;
    r->peak[k++] = (struct peak_entry){q->output_tokens - q->info.generated,
                                       q->info.prompt_tokens + q->info.generated};
    for (req_id id = r->running.first; id != REQ_NONE; id = sim_req(r->sim, id)->next) {
        const struct request *o = sim_req(r->sim, id);
        uint32_t emitted = MIN(o->info.generated, o->output_tokens);
        r->peak[k++] =
            (struct peak_entry){o->output_tokens - emitted, o->info.prompt_tokens + emitted};
    }
    qsort(r->peak, n, sizeof(*r->peak), by_left);
    uint64_t used = 0, peak = 0;
    for (size_t i = 0; i < n; i++) {
        used += r->peak[i].used;
        peak = MAX(peak, (uint64_t)r->peak[i].left * (i + 1) + used);
    }
    return peak < limits_kv_tokens(&r->limits);
}

static void enter_running(struct replica *r, req_id id, uint32_t cached)
{
    struct sim *s = r->sim;
    struct request *q = sim_req(s, id);
    bool resumed = q->info.admitted_before;
    uint32_t len = q->info.prompt_tokens + q->info.generated;
    blocks_fold_evictions(r);
    waiting_leave(r, id);
    queue_push_back(s, &r->running, id);
    r->residents++;
    r->running_tokens += len;
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

static bool step_is_full(const struct replica *r, const struct forming *fm)
{
    return fm->f->batch.n >= r->limits.max_num_seqs;
}

/* Where residents may be paused, max_num_seqs limits those of a step: what has to be loaded first
 * is in none yet. */
static bool has_slot(const struct replica *r, const struct forming *fm, const struct request *q)
{
    if (r->ops->needs & SCHED_PAUSES)
        return q->host_tokens > 0 || !step_is_full(r, fm);
    return r->running.n < r->limits.max_num_seqs;
}

static enum try_result try_admit(struct replica *r, struct forming *fm, req_id id)
{
    struct request *q = sim_req(r->sim, id);
    if (q->info.state == REQ_SWAPPING_OUT)
        return TRY_BUSY;
    if (!has_slot(r, fm, q))
        return TRY_NO_SLOT;

    /* Pinned first: what it is about to hit must not count as evictable. */
    uint32_t cached = blocks_pin_hit(r, q);
    CHECK(cached < q->info.prompt_tokens + q->info.generated, INV_HIT, "%u of %u tokens cached",
          cached, q->info.prompt_tokens + q->info.generated);
    q->info.computed = cached;
    uint32_t load = q->host_tokens > cached ? q->host_tokens - cached : 0;
    uint32_t want = wanted(q);
    uint64_t need = admission_need(r, q, load > 0 ? load : MIN(want, fm->budget));
    uint64_t reserve = need, promised = r->promised_units, own = q->own_units;
    if (r->ops->reserve != NULL)
        reserve = r->ops->reserve(r->sched, replica_view(r), id, need);
    if (r->ops->committed != NULL)
        promised = r->ops->committed(r->sched, replica_view(r), promised);

    enum try_result res = load > 0 ? TRY_LOADING : TRY_ADMITTED;
    uint32_t n = load;
    if (load == 0 && step_is_full(r, fm))
        res = TRY_NO_SLOT; /* it was on the host, but the cache has it all */
    else if (reserve + promised + r->claimed_units > blocks_available_units(r))
        res = TRY_NO_MEM;
    else if (r->limits.kv_admission == KV_ADMISSION_LIGHTLLM && !peak_fits(r, q))
        res = TRY_NO_MEM;
    else if (r->limits.prefill_mode == PREFILL_SEPARATE && want > fm->budget && r->running.n > 0)
        res = TRY_NO_BUDGET; /* whole or not at all, unless it grew too long while it ran */
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
        q->promised_units = need - MIN(need, q->own_units - own);
        r->promised_units += q->promised_units;
    }
    blocks_hit(r, q);
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
    r->refusals_hold = true;
    while (fm->budget > 0 && r->waiting.n > 0) {
        req_id id = ask_candidate(r, last, res);
        if (id == REQ_NONE)
            break;
        struct request *q = named(r, "next_candidate", id);
        CHECK(q->live && q->replica == r->id && req_is_waiting(&q->info), INV_OFFER,
              "%s.next_candidate: request %llu is not waiting", r->ops->name,
              (unsigned long long)q->info.seq);
        CHECK(q->offered_in != r->n_decisions, INV_OFFER,
              "%s.next_candidate: request %llu twice in a decision", r->ops->name,
              (unsigned long long)q->info.seq);
        q->offered_in = r->n_decisions;
        res = try_admit(r, fm, id);
        fm->admitted = fm->admitted || res == TRY_ADMITTED;
        r->refusals_hold = r->refusals_hold && leap_refusal_holds(r, q, res);
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
            batch_shape_prompt(&s, b->context, b->n_tokens);
        } else {
            uint32_t read = after;
            if (!r->cfg->kv->lossless)
                read = (uint32_t)kv_rule_read_tokens(
                    r->kv_rule, sim_req(r->sim, b->id)->info.prompt_tokens, after);
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

bool form_batch(struct replica *r)
{
    struct forming fm = {.f = flight_next(r), .budget = r->limits.max_num_batched_tokens};
    r->n_decisions++;
    r->refusals_hold = false;
    metrics_decide_begin(r->sim->metrics);
    if (r->ops->step_begin != NULL)
        r->ops->step_begin(r->sched, replica_view(r));
    move_out(r, &fm);
    bool due = r->limits.admit_interval == 1 || r->running.n == 0 ||
               r->steps_since_admit >= r->limits.admit_interval;
    bool separate = r->limits.prefill_mode == PREFILL_SEPARATE;
    if (separate && due)
        form_admissions(r, &fm);
    if (!separate || fm.f->batch.n == 0)
        form_residents(r, &fm);
    if (!separate && due && !fm.preempted)
        form_admissions(r, &fm);
    if (fm.f->batch.n == 0 && !fm.preempted && r->ops->select_run != NULL && r->running.n > 0)
        form_residents(r, &fm);
    metrics_decide_end(r->sim->metrics);
    if (fm.preempted || fm.refused) /* there is room that was not there when somebody had to wait */
        r->refusals_hold = false;
    if (fm.f->batch.n == 0) /* when the only one to run has gone, those waiting have their turn */
        return (fm.preempted || fm.refused) && r->n_flight == 0 ? form_batch(r) : false;
    describe_shape(r, fm.f);
    r->steps_since_admit = fm.admitted ? 0 : r->steps_since_admit + 1;
    r->n_steps++;
    flight_launch(r);
    return true;
}
