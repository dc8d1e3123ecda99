/* form.c: one decision: residents first, then, if nobody was preempted, those waiting. */
#include "tests/reference/reference.h"

static struct step *forming(struct replica *r)
{
    return &r->step[r->n_steps];
}

static uint32_t wanted(const struct ref_request *q)
{
    return q->info.generated < q->info.max_tokens ? req_len(q) - q->info.computed : 0;
}

static uint32_t chunk(struct replica *r, req_id id)
{
    uint32_t want = wanted(req_at(r, id)), most = MIN(want, r->budget);
    return r->ops->chunk == NULL ? most : r->ops->chunk(r->sched, look(r), id, want, r->budget);
}

/* ---- the step's rows ---- */

static void add_row(struct replica *r, req_id id, uint32_t n)
{
    const struct ref_request *q = req_at(r, id);
    uint32_t context = q->info.computed;
    struct step *s = forming(r);
    s->row[s->n++] = (struct row){.id = id,
                                  .n = n,
                                  .context = context,
                                  .decode = n == 1 && context >= q->info.prompt_tokens,
                                  .emits = context + n == req_len(q)};
    r->budget -= n;
}

/* From now on its tokens count as computed. */
static void commit_row(struct replica *r, const struct row *w)
{
    struct ref_request *q = req_at(r, w->id);
    q->info.computed += w->n;
    q->info.generated += w->emits;
    q->info.last_run_at = r->now;
    if (r->limits.enable_prefix_caching && q->content.shareable)
        publish(r, q);
}

static void drop_row(struct replica *r, req_id id)
{
    struct step *s = forming(r);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < s->n; i++)
        if (s->row[i].id == id)
            r->budget += s->row[i].n;
        else
            s->row[kept++] = s->row[i];
    s->n = kept;
}

/* ---- residents ---- */

/* Without a host, whatever the mode, it computes everything again; what is full can be hit. */
static void preempt(struct replica *r, req_id id)
{
    struct ref_request *q = req_at(r, id);
    tell_evicted(r);
    drop_row(r, id);
    q->info.preemptions++;
    q->ever_computed = MAX(q->ever_computed, q->info.computed);
    if (r->limits.enable_prefix_caching)
        publish(r, q);
    give_back(r, q);
    list_remove(&r->running, id);
    list_push(&r->waiting, 0, id);
    q->info.state = REQ_WAITING;
    tell(r, DEC_PREEMPT, q->info.seq, r->now, PREEMPT_RECOMPUTE);
    if (r->ops->on_preempt != NULL)
        r->ops->on_preempt(r->sched, look(r), id, PREEMPT_RECOMPUTE);
}

static req_id victim(struct replica *r, const struct ref_request *q, req_id id, uint32_t n)
{
    enum preempt_mode mode = r->limits.preempt;
    if (r->ops->victim == NULL)
        return r->running.v[r->running.n - 1];
    return r->ops->victim(r->sched, look(r), growth(r, q, q->info.computed + n), id, &mode);
}

/* Blocks for n more tokens, or somebody goes. False: the resident does not run in this step. */
static bool make_room(struct replica *r, req_id id, uint32_t n)
{
    struct ref_request *q = req_at(r, id);
    while (!take_blocks(r, q, n)) {
        if (blocks_of(r, q->info.computed + n) > r->limits.num_gpu_blocks) {
            refuse(r, id);
            return false;
        }
        req_id v = victim(r, q, id, n);
        if (v == REQ_NONE)
            return false;
        preempt(r, v);
        r->preempted = true;
        if (v == id)
            return false;
    }
    return true;
}

static void form_residents(struct replica *r)
{
    uint32_t n = r->running.n;
    req_id *order = mem_alloc((n + 1) * sizeof(*order));
    for (uint32_t i = 0; i < n; i++)
        order[i] = r->running.v[i];
    if (r->ops->select_run != NULL)
        n = r->ops->select_run(r->sched, look(r), order, n);
    for (uint32_t i = 0; i < n && r->budget > 0; i++) {
        struct ref_request *q = req_at(r, order[i]);
        if (!q->live || q->info.state != REQ_RUNNING || wanted(q) == 0)
            continue;
        uint32_t tokens = chunk(r, order[i]);
        if (tokens == 0)
            continue;
        if (make_room(r, order[i], tokens))
            add_row(r, order[i], tokens);
        else if (q->live && q->info.state == REQ_WAITING)
            break; /* it was the victim itself */
    }
    mem_free(order);
    for (uint32_t i = 0; i < forming(r)->n; i++)
        commit_row(r, &forming(r)->row[i]);
}

/* ---- admission ---- */

/* LightLLM's test: when `q` and the residents all stay until their true ends, is there a moment at
 * which memory would be full? The fullest ones are those right before somebody ends. */
static bool peak_fits(const struct replica *r, const struct ref_request *q)
{
    for (uint32_t i = 0; i <= r->running.n; i++) {
        const struct ref_request *ends = i == r->running.n ? q : req_at(r, r->running.v[i]);
        uint32_t later = ends->output - MIN(ends->info.generated, ends->output);
        uint64_t held = 0;
        for (uint32_t j = 0; j <= r->running.n; j++) {
            const struct ref_request *o = j == r->running.n ? q : req_at(r, r->running.v[j]);
            uint32_t emitted = MIN(o->info.generated, o->output);
            if (o->output - emitted >= later)
                held += o->info.prompt_tokens + emitted + later;
        }
        if (held >= limits_kv_tokens(&r->limits))
            return false;
    }
    return true;
}

/* Tokens there must be blocks for before it may come in. */
static uint32_t must_hold(const struct replica *r, const struct ref_request *q)
{
    if (r->limits.kv_admission == KV_ADMISSION_RESERVE)
        return MIN(q->info.prompt_tokens + q->info.max_tokens, r->limits.max_model_len);
    if (r->limits.scheduler_reserve_full_isl)
        return req_len(q);
    return q->info.computed + MIN(wanted(q), r->budget);
}

/* Whether it may, with what it hits held already; *n: how many tokens it then computes. */
static enum try_result may_enter(struct replica *r, req_id id, uint32_t *n)
{
    struct ref_request *q = req_at(r, id);
    uint64_t need = growth(r, q, must_hold(r, q)), promised = promised_units(r);
    uint64_t free_units, cached_units;
    if (r->ops->reserve != NULL)
        need = r->ops->reserve(r->sched, look(r), id, need);
    if (r->ops->committed != NULL)
        promised = r->ops->committed(r->sched, look(r), promised);
    count_units(r, &free_units, &cached_units);
    if (need + promised > free_units + cached_units)
        return TRY_NO_MEM;
    if (r->limits.kv_admission == KV_ADMISSION_LIGHTLLM && !peak_fits(r, q))
        return TRY_NO_MEM;
    if (r->limits.prefill_mode == PREFILL_SEPARATE && wanted(q) > r->budget && r->running.n > 0)
        return TRY_NO_BUDGET;
    *n = chunk(r, id);
    if (*n == 0)
        return TRY_NO_BUDGET;
    return take_blocks(r, q, *n) ? TRY_ADMITTED : TRY_NO_MEM;
}

static enum try_result admit(struct replica *r, req_id id)
{
    struct ref_request *q = req_at(r, id);
    bool pauses = r->ops->needs & SCHED_PAUSES;
    if ((pauses ? forming(r)->n : r->running.n) >= r->limits.max_num_seqs)
        return TRY_NO_SLOT;
    if (r->limits.enable_prefix_caching)
        take_hit(r, q);
    uint32_t cached = q->n_path * r->limits.block_size, n = 0;
    q->info.computed = cached;
    enum try_result res = may_enter(r, id, &n);
    if (res != TRY_ADMITTED) {
        q->info.computed = q->end = q->n_path = 0;
        return res;
    }
    bool resumed = q->info.admitted_before;
    if (r->limits.kv_admission == KV_ADMISSION_RESERVE)
        q->promised_to = must_hold(r, q);
    use_path(r, q);
    tell_evicted(r);
    q->info.state = REQ_RUNNING;
    list_remove(&r->waiting, id);
    list_push(&r->running, r->running.n, id);
    if (!resumed)
        q->info.cached_tokens = cached;
    q->info.admitted_before = true;
    tell(r, DEC_ADMIT, q->info.seq, r->now, cached);
    if (r->ops->on_admit != NULL)
        r->ops->on_admit(r->sched, look(r), id, req_len(q) - cached, cached, resumed);
    add_row(r, id, n);
    commit_row(r, &forming(r)->row[forming(r)->n - 1]);
    return TRY_ADMITTED;
}

/* True: somebody came in. */
static bool form_admissions(struct replica *r)
{
    bool admitted = false;
    req_id last = REQ_NONE;
    enum try_result res = TRY_FIRST;
    while (r->budget > 0 && r->waiting.n > 0) {
        req_id id = REQ_NONE;
        if (r->ops->next_candidate != NULL)
            id = r->ops->next_candidate(r->sched, look(r), last, res);
        else if (res == TRY_FIRST || res == TRY_ADMITTED)
            id = r->waiting.v[0];
        if (id == REQ_NONE)
            break;
        res = admit(r, id);
        admitted = admitted || res == TRY_ADMITTED;
        last = id;
    }
    return admitted;
}

/* ---- the whole ---- */

static void move_out(struct replica *r)
{
    req_id id;
    enum preempt_mode mode = PREEMPT_SWAP;
    while (r->ops->kv_move != NULL &&
           (id = r->ops->kv_move(r->sched, look(r), &mode)) != REQ_NONE) {
        preempt(r, id);
        mode = PREEMPT_SWAP;
    }
}

bool form_step(struct replica *r)
{
    struct step *s = forming(r);
    bool admitted = false, separate = r->limits.prefill_mode == PREFILL_SEPARATE;
    s->n = 0;
    r->budget = r->limits.max_num_batched_tokens;
    r->preempted = false;
    if (r->ops->step_begin != NULL)
        r->ops->step_begin(r->sched, look(r));
    move_out(r);
    bool due = r->limits.admit_interval == 1 || r->running.n == 0 ||
               r->since_admit >= r->limits.admit_interval;
    if (separate && due)
        admitted = form_admissions(r);
    if (!separate || s->n == 0)
        form_residents(r);
    if (!separate && due && !r->preempted)
        admitted = form_admissions(r);
    if (s->n == 0 && !r->preempted && r->ops->select_run != NULL && r->running.n > 0)
        form_residents(r);
    if (s->n == 0)
        return r->preempted && r->n_steps == 0 ? form_step(r) : false;
    r->since_admit = admitted ? 0 : r->since_admit + 1;
    return true;
}
