/* main.c: reference FIRST LAST: runs those seeds of differ_case and prints what was decided, a line
 * a decision: "case SEED", then "WHAT SEQ AT NUMBER" of enum decision, then "end". */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/reference/reference.h"
#include "tests/support/differ.h"

void tell(const struct replica *r, enum decision what, uint64_t seq, ns_t at, uint64_t number)
{
    (void)r;
    printf("%d %" PRIu64 " %" PRId64 " %" PRIu64 "\n", (int)what, seq, at, number);
}

/* ---- lists ---- */

uint32_t list_find(const struct list *l, req_id id)
{
    uint32_t i = 0;
    while (i < l->n && l->v[i] != id)
        i++;
    return i;
}

void list_push(struct list *l, uint32_t at, req_id id)
{
    for (uint32_t i = l->n++; i > at; i--)
        l->v[i] = l->v[i - 1];
    l->v[at] = id;
}

void list_remove(struct list *l, req_id id)
{
    uint32_t i = list_find(l, id);
    CHECK(i < l->n, "reference", "request %u is not in the list", id);
    for (l->n--; i < l->n; i++)
        l->v[i] = l->v[i + 1];
}

/* ---- arrivals ---- */

/* Could it ever run? Alone, with all of memory. */
static bool can_run(const struct replica *r, const struct ref_request *q)
{
    uint64_t prompt = q->info.prompt_tokens, tokens = prompt + 1;
    if (prompt >= r->limits.max_model_len)
        return false;
    if (r->limits.kv_admission == KV_ADMISSION_RESERVE)
        tokens = MIN(prompt + q->info.max_tokens, r->limits.max_model_len);
    if (r->limits.kv_admission == KV_ADMISSION_LIGHTLLM &&
        prompt + q->output >= limits_kv_tokens(&r->limits))
        return false;
    if (r->limits.prefill_mode == PREFILL_SEPARATE && prompt > r->limits.max_num_batched_tokens)
        return false;
    return blocks_of(r, (uint32_t)tokens) <= r->limits.num_gpu_blocks;
}

/* Closed loop: one that is done makes place for the next of the trace. */
static void let_next_in(struct replica *r, ns_t at)
{
    if (r->next_in < r->lab->n_rec)
        req_at(r, r->next_in++)->arrives_at = at;
}

static void leave_unserved(struct replica *r, struct ref_request *q)
{
    q->live = false;
    tell(r, DEC_REFUSE, q->info.seq, r->now, q->info.emitted);
    let_next_in(r, r->now);
}

static void ask_arrival(struct replica *r, req_id id)
{
    struct ref_request *q = req_at(r, id);
    ns_t wake_at = NS_NEVER;
    enum adm answer = ADM_ACCEPT;
    q->wake_at = -1;
    q->info.state = REQ_WAITING;
    list_push(&r->waiting, r->waiting.n, id);
    if (r->ops->on_arrival != NULL)
        answer = r->ops->on_arrival(r->sched, look(r), id, &wake_at);
    if (answer == ADM_ACCEPT) {
        r->decide = r->decide || r->n_steps == 0;
        return;
    }
    list_remove(&r->waiting, id);
    q->info.state = REQ_DEFERRED;
    if (answer == ADM_REJECT)
        leave_unserved(r, q);
    else
        q->wake_at = wake_at;
}

static void arrive(struct replica *r, req_id id)
{
    struct ref_request *q = req_at(r, id);
    q->info.arrived_at = r->now;
    q->arrives_at = -1;
    tell(r, DEC_ARRIVAL, id, r->now, 0);
    tell(r, DEC_ROUTE, id, r->now, 0);
    slots_ensure(&r->tenant_state, q->info.tenant + 1);
    q->live = true;
    if (!can_run(r, q)) {
        leave_unserved(r, q);
        return;
    }
    ask_arrival(r, id);
}

/* ---- steps ---- */

static void start(struct replica *r, struct step *s)
{
    const struct lab *l = r->lab;
    uint64_t tokens = 0, context = 0;
    for (uint32_t i = 0; i < s->n; i++) {
        tokens += s->row[i].n;
        context += s->row[i].decode ? s->row[i].context + 1 : 0;
    }
    double device = l->step_ns + l->token_ns * (double)tokens + l->context_ns * (double)context;
    ns_t device_ns = ns_round(device), host_ns = r->engine->host_ns + r->engine->host_seq_ns * s->n;
    ns_t both = r->engine->depth > 1 ? MAX(host_ns, device_ns) : host_ns + device_ns;
    s->start_at = r->now;
    s->duration_ns = MAX(both, 1);
}

static void decide(struct replica *r)
{
    r->decide = false;
    while (r->n_steps < r->engine->depth && form_step(r))
        if (r->n_steps++ == 0)
            start(r, &r->step[0]);
}

static void leave(struct replica *r, req_id id, enum finish_reason why)
{
    struct ref_request *q = req_at(r, id);
    tell_evicted(r);
    list_remove(q->info.state == REQ_RUNNING ? &r->running : &r->waiting, id);
    r->leaving = id;
    if (r->ops->on_finish != NULL)
        r->ops->on_finish(r->sched, look(r), id, why, r->now);
    r->leaving = REQ_NONE;
    q->live = false;
    give_back(r, q);
}

void refuse(struct replica *r, req_id id)
{
    leave(r, id, FINISH_REFUSED);
    leave_unserved(r, req_at(r, id));
}

static void finish(struct replica *r, req_id id)
{
    struct ref_request *q = req_at(r, id);
    const struct predictor_ops *p = r->lab->predictor;
    leave(r, id, q->cut ? FINISH_LENGTH : FINISH_DONE);
    tell(r, DEC_FINISH, q->info.seq, q->last_token_at, q->info.emitted);
    if (p != NULL && p->learn != NULL)
        p->learn(r->predictor, &q->info, slots_at(&r->tenant_predictor, q->info.tenant),
                 q->info.emitted);
    let_next_in(r, q->last_token_at);
}

/* Tokens below q->ever_computed were computed before a preemption: those are not new. */
static void row_done(struct replica *r, const struct row *w)
{
    struct ref_request *q = req_at(r, w->id);
    uint32_t again = 0, prefilled = 0;
    for (uint32_t t = w->context; t < w->context + w->n; t++) {
        again += t < q->ever_computed;
        prefilled += t >= q->ever_computed && t < q->info.prompt_tokens;
    }
    if (w->emits) {
        q->last_token_at = r->now + r->engine->output_delay_ns;
        if (q->info.emitted++ == 0)
            tell(r, DEC_FIRST_TOKEN, q->info.seq, q->last_token_at, 0);
    }
    if (r->ops->on_tokens != NULL)
        r->ops->on_tokens(r->sched, look(r), w->id, prefilled, w->emits, again, r->now);
}

static void step_done(struct replica *r)
{
    struct step done = r->step[0];
    req_id *ended = mem_alloc(done.n * sizeof(*ended));
    uint32_t n = 0;
    for (uint32_t i = 0; i < done.n; i++) {
        const struct ref_request *q = req_at(r, done.row[i].id);
        if (!q->live)
            continue; /* it ended a step ago, when this one was under way */
        row_done(r, &done.row[i]);
        if (q->info.emitted == q->output)
            ended[n++] = done.row[i].id;
    }
    for (uint32_t i = 0; i < n; i++)
        finish(r, ended[i]);
    mem_free(ended);
    if (r->ops->step_end != NULL)
        r->ops->step_end(r->sched, look(r), done.duration_ns);
    r->step[0] = r->step[1];
    r->step[1] = done;
    if (--r->n_steps > 0)
        start(r, &r->step[0]);
    r->decide = true;
}

/* ---- what happens next: look at all that might ---- */

enum what { NOTHING, STEP_DONE, ARRIVAL, WAKE, TIMER, DECIDE };

struct next {
    enum what what;
    ns_t at;
    req_id id;
};

/* Asked in the order in which things of one moment happen. */
static void offer(struct next *best, enum what what, ns_t at, req_id id)
{
    if (at < best->at)
        *best = (struct next){what, at, id};
}

static struct next next_event(const struct replica *r)
{
    struct next best = {.at = NS_NEVER};
    bool work = r->decide; /* or only timers are left */
    if (r->n_steps > 0)
        offer(&best, STEP_DONE, r->step[0].start_at + r->step[0].duration_ns, REQ_NONE);
    for (req_id id = 0; id < r->lab->n_rec; id++)
        if (req_at(r, id)->arrives_at >= 0)
            offer(&best, ARRIVAL, req_at(r, id)->arrives_at, id);
    for (req_id id = 0; id < r->lab->n_rec; id++) {
        const struct ref_request *q = req_at(r, id);
        work = work || q->live || q->arrives_at >= 0;
        if (q->live && q->wake_at >= 0)
            offer(&best, WAKE, q->wake_at, id);
    }
    if (work)
        offer(&best, TIMER, r->timer_at, REQ_NONE);
    if (r->decide)
        offer(&best, DECIDE, r->now, REQ_NONE);
    return best;
}

static void run(struct replica *r)
{
    struct next e;
    while ((e = next_event(r)).what != NOTHING) {
        r->now = e.at;
        switch (e.what) {
        case STEP_DONE:
            step_done(r);
            break;
        case ARRIVAL:
            arrive(r, e.id);
            break;
        case WAKE:
            ask_arrival(r, e.id);
            break;
        case TIMER:
            r->timer_at = r->ops->on_timer(r->sched, look(r));
            r->decide = r->decide || r->n_steps == 0;
            break;
        case DECIDE:
            decide(r);
            break;
        case NOTHING:
            break;
        }
    }
    tell_evicted(r);
}

/* ---- one case ---- */

static void add_request(struct replica *r, req_id id, const struct trace_rec *rec)
{
    struct ref_request *q = req_at(r, id);
    uint32_t room = r->limits.max_model_len > rec->prompt_tokens
                        ? r->limits.max_model_len - rec->prompt_tokens
                        : 0;
    uint32_t most = rec->max_tokens == 0 ? room : MIN(rec->max_tokens, room);
    *q = (struct ref_request){.info = {.seq = rec->seq,
                                       .arrived_at = rec->arrival_at,
                                       .last_run_at = -1,
                                       .tenant = rec->tenant,
                                       .slo_class = rec->slo_class,
                                       .priority = rec->priority,
                                       .prompt_tokens = rec->prompt_tokens,
                                       .max_tokens = most,
                                       .predicted_tokens = rec->predicted_tokens,
                                       .state = REQ_DEFERRED},
                              .output = MIN(rec->output_tokens, most),
                              .cut = rec->output_tokens > most,
                              .arrives_at = r->lab->concurrency > 0 ? -1 : rec->arrival_at,
                              .wake_at = -1};
    content_build(&q->content, rec->seq, rec->prompt_tokens, r->limits.block_size, rec->segment,
                  rec->n_segments, rec->continues);
    uint32_t n = blocks_of(r, rec->prompt_tokens + q->output) + 1;
    struct key_run *runs = NULL;
    size_t n_runs = 0, cap = 0, k = 0;
    content_runs(&q->content, 0, n, &runs, &n_runs, &cap);
    q->key = mem_alloc(n * sizeof(*q->key));
    for (size_t i = 0; i < n_runs; i++)
        for (uint32_t j = 0; j < runs[i].n; j++)
            q->key[k++] = (struct key){runs[i].stream, runs[i].start + j};
    mem_free(runs);
}

static void open_replica(struct replica *r, const struct lab *l)
{
    struct err e = {0};
    uint32_t n = (uint32_t)l->n_rec, tenants = 0;
    *r = (struct replica){.lab = l,
                          .limits = l->limits,
                          .engine = engine_model_find(l->engine),
                          .ops = l->scheduler,
                          .leaving = REQ_NONE,
                          .timer_at = l->scheduler->on_timer != NULL ? 0 : NS_NEVER};
    if (r->ops->batching == BATCHING_SEPARATE)
        r->limits.prefill_mode = PREFILL_SEPARATE;
    for (size_t i = 0; i < l->n_rec; i++)
        tenants = MAX(tenants, l->rec[i].tenant + 1);
    arena_init(&r->arena);
    slots_init(&r->requests, sizeof(struct ref_request));
    slots_init(&r->req_state, r->ops->req_state_bytes);
    slots_init(&r->tenant_state, r->ops->tenant_state_bytes);
    slots_init(&r->tenant_predictor, l->predictor ? l->predictor->tenant_state_bytes : 0);
    slots_ensure(&r->requests, n);
    slots_ensure(&r->req_state, n);
    slots_ensure(&r->tenant_predictor, tenants);
    r->waiting.v = mem_alloc(n * sizeof(req_id));
    r->running.v = mem_alloc(n * sizeof(req_id));
    r->cached = mem_alloc((1 + l->limits.num_gpu_blocks) * sizeof(*r->cached));
    for (uint32_t i = 0; i < 2; i++)
        r->step[i].row = mem_alloc(l->limits.max_num_seqs * sizeof(struct row));
    for (uint32_t i = 0; i < n; i++)
        add_request(r, i, &l->rec[i]);
    r->next_in = l->concurrency > 0 ? 0 : n;
    for (uint32_t i = 0; i < l->concurrency; i++)
        let_next_in(r, 0);
    r->sched = r->ops->open(&r->arena, &l->params, &r->limits, &e);
    if (l->predictor != NULL)
        r->predictor = l->predictor->open(&r->arena, &l->params, l->seed, &e);
    CHECK(!e.set, "reference", "%s", e.text);
}

static void close_replica(struct replica *r)
{
    for (uint32_t i = 0; i < r->requests.high; i++) {
        content_release(&req_at(r, i)->content);
        mem_free(req_at(r, i)->key);
    }
    for (uint32_t i = 0; i < 2; i++)
        mem_free(r->step[i].row);
    mem_free(r->cached);
    mem_free(r->running.v);
    mem_free(r->waiting.v);
    slots_release(&r->tenant_predictor);
    slots_release(&r->tenant_state);
    slots_release(&r->req_state);
    slots_release(&r->requests);
    arena_release(&r->arena);
}

static void run_case(uint64_t seed)
{
    struct lab l;
    struct replica r;
    struct segment *seg = differ_case(&l, seed);
    printf("case %" PRIu64 "\n", seed);
    open_replica(&r, &l);
    run(&r);
    puts("end");
    close_replica(&r);
    lab_release(&l);
    mem_free(seg);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: reference FIRST LAST\n");
        return EXIT_FAILURE;
    }
    uint64_t last = strtoull(argv[2], NULL, 10);
    for (uint64_t seed = strtoull(argv[1], NULL, 10); seed <= last; seed++)
        run_case(seed);
    return EXIT_SUCCESS;
}
