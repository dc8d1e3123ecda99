#include "sim/levels.h"

void levels_init(struct levels *l, struct arena *a, const struct params *p,
                 const struct param_desc *desc, const char *owner, double age_s)
{
    *l = (struct levels){
        .arena = a,
        .n = (uint32_t)params_num(p, desc, owner, "levels"),
        .age_ns = (ns_t)(age_s * (double)NS_PER_S),
        .spare = params_num(p, desc, owner, "spare"),
        .oldest = REQ_NONE,
        .youngest = REQ_NONE,
        .blocked = REQ_NONE,
    };
    ns_t quantum = (ns_t)(params_num(p, desc, owner, "q1_ms") * (double)NS_PER_MS);
    for (uint32_t i = 0; i < l->n; i++) {
        l->quantum_ns[i] = quantum;
        quantum = MIN(2 * quantum, NS_PER_S * 1000000);
        l->waiting[i] = l->resident[i] = (struct level_list){REQ_NONE, REQ_NONE, REQ_NONE};
    }
}

uint32_t levels_for(const struct levels *l, ns_t turn_ns)
{
    uint32_t i = 0;
    while (i + 1 < l->n && l->quantum_ns[i] < turn_ns)
        i++;
    return i;
}

static struct level_entry *entry(const struct sched_view *v, req_id id)
{
    return view_req_state(v, id);
}

/* ---- lists ---- */

static struct level_list *list_of(struct levels *l, const struct level_entry *e)
{
    return e->resident ? &l->resident[e->level] : &l->waiting[e->level];
}

static void list_insert(const struct sched_view *v, struct level_list *list, req_id id, req_id prev)
{
    struct level_entry *e = entry(v, id);
    e->prev = prev;
    e->next = prev == REQ_NONE ? list->first : entry(v, prev)->next;
    *(e->prev == REQ_NONE ? &list->first : &entry(v, e->prev)->next) = id;
    *(e->next == REQ_NONE ? &list->last : &entry(v, e->next)->prev) = id;
}

static void list_remove(const struct sched_view *v, struct level_list *list, req_id id)
{
    const struct level_entry *e = entry(v, id);
    if (list->near == id)
        list->near = e->prev != REQ_NONE ? e->prev : e->next;
    *(e->prev == REQ_NONE ? &list->first : &entry(v, e->prev)->next) = e->next;
    *(e->next == REQ_NONE ? &list->last : &entry(v, e->next)->prev) = e->prev;
}

/* Those who come in, and those who are sent away, do so in about the order of their stamps: a short
 * walk from where the one before went. */
static void list_insert_in_order(struct levels *l, const struct sched_view *v, req_id id)
{
    const struct level_entry *e = entry(v, id);
    struct level_list *list = list_of(l, e);
    req_id prev = list->near != REQ_NONE ? list->near : list->last;
    while (prev != REQ_NONE && entry(v, prev)->stamp > e->stamp)
        prev = entry(v, prev)->prev;
    req_id next = prev == REQ_NONE ? list->first : entry(v, prev)->next;
    while (next != REQ_NONE && entry(v, next)->stamp < e->stamp) {
        prev = next;
        next = entry(v, next)->next;
    }
    list_insert(v, list, id, prev);
    list->near = id;
}

static void become(struct levels *l, const struct sched_view *v, req_id id, bool resident)
{
    struct level_entry *e = entry(v, id);
    list_remove(v, list_of(l, e), id);
    e->resident = resident;
    list_insert_in_order(l, v, id);
    l->steady = false;
}

static void age_remove(struct levels *l, const struct sched_view *v, req_id id)
{
    struct level_entry *e = entry(v, id);
    if (!e->ages)
        return;
    e->ages = false;
    *(e->older == REQ_NONE ? &l->oldest : &entry(v, e->older)->younger) = e->younger;
    *(e->younger == REQ_NONE ? &l->youngest : &entry(v, e->younger)->older) = e->older;
}

static bool in_run(const struct levels *l, const struct level_entry *e, req_id id)
{
    return e->slot < l->n_run && l->run[e->slot] == id;
}

/* From now on, unless it does already, runs, or has nowhere to go. */
static void age_append(struct levels *l, const struct sched_view *v, req_id id)
{
    struct level_entry *e = entry(v, id);
    if (e->ages || e->level == 0 || in_run(l, e, id))
        return;
    e->ages = true;
    e->since = v->now;
    e->older = l->youngest;
    e->younger = REQ_NONE;
    *(e->older == REQ_NONE ? &l->oldest : &entry(v, e->older)->younger) = id;
    l->youngest = id;
}

/* ---- who is in which level ---- */

static void append(struct levels *l, const struct sched_view *v, req_id id, uint32_t level,
                   ns_t work_ns)
{
    struct level_entry *e = entry(v, id);
    e->level = level;
    e->stamp = l->n_joined++;
    e->work_ns = work_ns;
    l->work_ns[level] += work_ns;
    struct level_list *list = list_of(l, e);
    list_insert(v, list, id, list->last);
    age_append(l, v, id);
    l->steady = false;
}

void levels_join(struct levels *l, const struct sched_view *v, req_id id, uint32_t level,
                 ns_t work_ns)
{
    append(l, v, id, level, work_ns);
}

static void detach(struct levels *l, const struct sched_view *v, req_id id)
{
    const struct level_entry *e = entry(v, id);
    list_remove(v, list_of(l, e), id);
    age_remove(l, v, id);
    l->work_ns[e->level] -= e->work_ns;
    l->steady = false;
}

void levels_left(struct levels *l, const struct sched_view *v, req_id id)
{
    const struct level_entry *e = entry(v, id);
    detach(l, v, id);
    if (!in_run(l, e, id))
        return;
    l->run[e->slot] = REQ_NONE;
    l->stale = true; /* while a step is formed, too: one that cannot go on is refused there */
}

void levels_move(struct levels *l, const struct sched_view *v, req_id id, uint32_t level,
                 ns_t work_ns)
{
    detach(l, v, id);
    append(l, v, id, level, work_ns);
}

req_id levels_due(const struct levels *l, const struct sched_view *v)
{
    bool due = l->oldest != REQ_NONE && v->now - entry(v, l->oldest)->since >= l->age_ns;
    return due ? l->oldest : REQ_NONE;
}

/* ---- the plan ---- */

struct room { /* left in the step */
    uint32_t seqs, tokens;
    uint64_t units;
    bool admits; /* waiting ones are asked at all */
};

/* Residents and waiting ones merged: by level, then by stamp. */
struct walk {
    uint32_t level;
    req_id resident, waiting;
    struct level_entry *r, *q; /* theirs; NULL: not looked up yet, or there is none */
};

/* The next one's entry, and who it is; NULL at the end. */
static struct level_entry *walk_next(const struct levels *l, const struct sched_view *v,
                                     struct walk *w, bool waiting_too, req_id *id)
{
    while (w->resident == REQ_NONE && (w->waiting == REQ_NONE || !waiting_too)) {
        if (w->level == l->n)
            return NULL;
        w->resident = l->resident[w->level].first;
        w->waiting = l->waiting[w->level].first;
        w->r = w->q = NULL;
        w->level++;
    }
    if (w->r == NULL && w->resident != REQ_NONE)
        w->r = entry(v, w->resident);
    if (w->q == NULL && w->waiting != REQ_NONE)
        w->q = entry(v, w->waiting);
    struct level_entry *r = w->r, *q = waiting_too ? w->q : NULL;
    if (q != NULL && (r == NULL || r->stamp >= q->stamp)) {
        *id = w->waiting;
        w->waiting = q->next;
        w->q = NULL;
        return q;
    }
    CHECK(r != NULL, "levels: somebody is left", "level %u of %u", w->level, l->n);
    *id = w->resident;
    w->resident = r->next;
    w->r = NULL;
    return r;
}

static void put(struct level_entry *e, uint32_t tokens, struct room *room)
{
    e->tokens = tokens;
    room->tokens -= tokens;
    room->seqs--;
}

/* More units for its next tokens: none within a block. */
static uint64_t growth(const struct sched_view *v, req_id id, uint32_t computed, uint32_t tokens)
{
    uint32_t in_last = computed % v->limits->block_size;
    if (in_last > 0 && in_last + tokens <= v->limits->block_size)
        return 0;
    return view_units(v, id, computed + tokens) - view_units(v, id, computed);
}

static void plan_resident(struct levels *l, const struct sched_view *v, req_id id,
                          struct level_entry *e, struct room *room)
{
    const struct req_info *q = view_req(v, id);
    if (q->state != REQ_RUNNING || q->generated >= q->max_tokens) {
        l->steady = false;
        return; /* it is being loaded, or its last token is under way */
    }
    uint32_t tokens = MIN(q->prompt_tokens + q->generated - q->computed, room->tokens);
    if (tokens == 0)
        return;
    if (room->admits)
        room->units -= MIN(growth(v, id, q->computed, tokens), room->units);
    l->steady = l->steady && tokens == 1;
    put(e, tokens, room);
    if (e->ages)
        age_remove(l, v, id);
    e->slot = l->n_run;
    l->run[l->n_run++] = id;
}

static void plan_waiting(struct levels *l, const struct sched_view *v, req_id id, struct room *room,
                         uint64_t spare)
{
    const struct req_info *q = view_req(v, id);
    if (q->state == REQ_SWAPPING_OUT)
        return;
    uint32_t len = q->prompt_tokens + q->generated;
    uint64_t need = view_units(v, id, len);
    if (need + spare > room->units) {
        uint64_t before = v->free_units + v->evictable_units - room->units;
        l->blocked = id;
        l->blocked_units = before + need + spare;
        room->admits = false;
        return;
    }
    room->units -= need;
    l->steady = false;
    if (q->state == REQ_WAITING)
        put(entry(v, id), MIN(len - view_cached_len(v, id), room->tokens), room);
    else /* on the host: in no step before it is back, unless the cache has it all */
        entry(v, id)->tokens = len;
    l->admit = arena_reserve(l->arena, l->admit, &l->admit_cap, l->n_admit + 1u, sizeof(*l->admit));
    l->admit[l->n_admit++] = id;
}

/* The next of those waiting that no step has room for yet: if it is on the host it comes back
 * already, one at a time and while nobody goes the other way. */
static void load_ahead(struct levels *l, const struct sched_view *v, struct walk *w,
                       struct room *room, uint64_t spare)
{
    while (w->waiting == REQ_NONE && w->level < l->n)
        w->waiting = l->waiting[w->level++].first;
    if (w->waiting != REQ_NONE && view_req(v, w->waiting)->state == REQ_SWAPPED)
        plan_waiting(l, v, w->waiting, room, spare);
}

/* Those that were in the plan before and are not in this one. Most of the two are alike: they are
 * followed side by side, and only who is not there where it is expected is looked up. */
static void age_dropped(struct levels *l, const struct sched_view *v, uint32_t n_before)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < n_before; i++) {
        req_id id = l->before[i];
        if (at < l->n_run && l->run[at] == id) {
            at++;
        } else if (id != REQ_NONE) {
            const struct level_entry *e = entry(v, id);
            at = in_run(l, e, id) ? e->slot + 1 : at;
            age_append(l, v, id);
        }
    }
}

/* Takes the plan before out of the way; room for as many as may be in a step. */
static uint32_t plan_clear(struct levels *l, uint32_t most)
{
    uint32_t n_before = l->n_run;
    l->before = arena_reserve(l->arena, l->before, &l->before_cap, most, sizeof(*l->before));
    l->run = arena_reserve(l->arena, l->run, &l->run_cap, most, sizeof(*l->run));
    req_id *spent = l->before;
    l->before = l->run;
    l->run = spent;
    l->n_run = l->n_admit = l->n_offered = 0;
    l->blocked = REQ_NONE;
    l->stale = false;
    l->steady = true;
    return n_before;
}

static void plan(struct levels *l, const struct sched_view *v, bool waiting_too)
{
    struct room room = {
        .seqs = v->limits->max_num_seqs,
        .tokens = v->limits->max_num_batched_tokens,
        .units = v->free_units + v->evictable_units,
        .admits = waiting_too && v->n_waiting > 0,
    };
    uint64_t spare = view_watermark(v, l->spare);
    uint32_t n_before = plan_clear(l, room.seqs);
    struct walk w = {.resident = REQ_NONE, .waiting = REQ_NONE};
    struct level_entry *e;
    req_id id;
    while (room.seqs > 0 && room.tokens > 0 &&
           (e = walk_next(l, v, &w, room.admits, &id)) != NULL) {
        if (e->resident)
            plan_resident(l, v, id, e, &room);
        else
            plan_waiting(l, v, id, &room, spare);
    }
    if (room.admits && v->leaving_units == 0)
        load_ahead(l, v, &w, &room, spare);
    age_dropped(l, v, n_before);
    l->steady = l->steady && waiting_too && v->leaving_units == 0;
}

void levels_plan(struct levels *l, const struct sched_view *v)
{
    l->asked = false;
    if (!l->steady)
        plan(l, v, true);
}

uint32_t levels_select_run(void *self, const struct sched_view *v, req_id *out, uint32_t max)
{
    struct levels *l = self;
    (void)max; /* they are all resident */
    if (l->asked || l->stale)
        plan(l, v, !l->asked);
    l->asked = true;
    for (uint32_t i = 0; i < l->n_run; i++)
        out[i] = l->run[i];
    return l->n_run;
}

req_id levels_next_candidate(void *self, const struct sched_view *v, req_id last,
                             enum try_result res)
{
    struct levels *l = self;
    (void)last;
    bool failed = res != TRY_FIRST && res != TRY_ADMITTED && res != TRY_LOADING;
    if (l->stale)
        plan(l, v, true);
    return failed || l->n_offered == l->n_admit ? REQ_NONE : l->admit[l->n_offered++];
}

uint32_t levels_chunk(void *self, const struct sched_view *v, req_id id, uint32_t want,
                      uint32_t budget_left)
{
    (void)self;
    return want == 1 ? 1 : MIN(MIN(want, budget_left), entry(v, id)->tokens);
}

/* All it has so far, beyond what it hits. */
uint64_t levels_reserve(void *self, const struct sched_view *v, req_id id, uint64_t deflt)
{
    const struct req_info *q = view_req(v, id);
    uint64_t all = view_units(v, id, q->prompt_tokens + q->generated);
    (void)self;
    (void)deflt;
    return all - MIN(all, q->held_units);
}

uint64_t levels_committed(void *self, const struct sched_view *v, uint64_t deflt)
{
    (void)self;
    (void)v;
    (void)deflt;
    return 0;
}

void levels_on_admit(void *self, const struct sched_view *v, req_id id, uint32_t extend,
                     uint32_t cached, bool resumed)
{
    (void)extend;
    (void)cached;
    (void)resumed;
    become(self, v, id, true);
    age_remove(self, v, id); /* anew, from now on */
    age_append(self, v, id);
}

void levels_on_preempt(void *self, const struct sched_view *v, req_id id, enum preempt_mode mode)
{
    struct levels *l = self;
    (void)mode;
    become(l, v, id, false);
    l->stale = true;
    if (in_run(l, entry(v, id), id))
        l->run[entry(v, id)->slot] = REQ_NONE;
    age_append(l, v, id);
}

/* ---- who is sent away ---- */

/* Blocks ran out under the plan's own residents: the last in order goes. */
req_id levels_victim(void *self, const struct sched_view *v, uint64_t need_units, req_id requester,
                     enum preempt_mode *mode)
{
    const struct levels *l = self;
    (void)need_units;
    (void)requester;
    *mode = PREEMPT_SWAP;
    for (uint32_t level = l->n; level-- > 0;)
        for (req_id id = l->resident[level].last; id != REQ_NONE; id = entry(v, id)->prev)
            if (view_req(v, id)->state == REQ_RUNNING)
                return id;
    return REQ_NONE;
}

/* How long it will wait at least: until it is aged, or until those before it have had their turns,
 * max_num_seqs at a time. */
static ns_t wait_of(const struct levels *l, const struct sched_view *v, const struct level_entry *e,
                    ns_t ahead_ns)
{
    ns_t turns = ahead_ns / v->limits->max_num_seqs;
    ns_t aged = e->ages ? l->age_ns - (v->now - e->since) : NS_NEVER;
    return MIN(turns, aged);
}

static bool may_go(const struct sched_view *v, req_id id)
{
    const struct req_info *q = view_req(v, id);
    return q->state == REQ_RUNNING && q->generated < q->max_tokens;
}

/* The last of a level that may go, of those in the plan or of those that are not. */
static req_id last_of(const struct levels *l, const struct sched_view *v, uint32_t level,
                      bool in_plan)
{
    req_id id = l->resident[level].last;
    while (id != REQ_NONE && (in_run(l, entry(v, id), id) != in_plan || !may_go(v, id)))
        id = entry(v, id)->prev;
    return id;
}

/* Of levels from `from` on the resident that will wait longest. In a level that is the last: it has
 * all others before it, and joined, so stopped running, after them. */
static req_id longest_wait(const struct levels *l, const struct sched_view *v, uint32_t from,
                           bool in_plan)
{
    req_id longest = REQ_NONE;
    ns_t wait = 0, ahead = 0;
    for (uint32_t level = 0; level < l->n; level++) {
        ahead += l->work_ns[level];
        req_id id = level < from ? REQ_NONE : last_of(l, v, level, in_plan);
        if (id == REQ_NONE)
            continue;
        ns_t w = wait_of(l, v, entry(v, id), ahead - entry(v, id)->work_ns);
        if (longest == REQ_NONE || w >= wait) {
            longest = id;
            wait = w;
        }
    }
    return longest;
}

/* Do residents of levels from `from` on hold so much? */
static bool hold_units(const struct levels *l, const struct sched_view *v, uint32_t from,
                       uint64_t units)
{
    uint64_t sum = 0;
    for (uint32_t level = l->n; level-- > from;)
        for (req_id id = l->resident[level].last; id != REQ_NONE; id = entry(v, id)->prev) {
            sum += may_go(v, id) ? view_req(v, id)->held_units : 0;
            if (sum >= units)
                return true;
        }
    return false;
}

/* The resident to send away for what waits or will be wanted; REQ_NONE: nobody. */
static req_id choose_leaver(const struct levels *l, const struct sched_view *v)
{
    uint64_t coming = v->free_units + v->evictable_units + v->leaving_units;
    if (l->blocked != REQ_NONE && l->blocked_units > coming) {
        uint32_t below = entry(v, l->blocked)->level + 1;
        if (hold_units(l, v, below, l->blocked_units - coming)) { /* else it would be in vain */
            req_id id = longest_wait(l, v, below, false);
            return id != REQ_NONE ? id : longest_wait(l, v, below, true);
        }
    }
    /* A copy takes its time: begun before memory runs out. */
    bool paused = v->n_running > l->n_run;
    bool short_of = paused && coming < view_watermark(v, l->spare);
    return short_of ? longest_wait(l, v, 0, false) : REQ_NONE;
}

/* Who goes is copied; nobody is dropped for a newcomer. What is dropped is computed again, ages
 * meanwhile, and then has those dropped that are in its place: with prompts of thousands of tokens
 * requests would do little else than that, for ever. Without room on the host the newcomer waits
 * until residents are done. */
req_id levels_kv_move(void *self, const struct sched_view *v, enum preempt_mode *mode)
{
    (void)mode; /* to the host */
    if (v->limits->host_blocks == 0)
        return REQ_NONE;
    req_id id = choose_leaver(self, v);
    return id != REQ_NONE && view_host_fits(v, id) ? id : REQ_NONE;
}
