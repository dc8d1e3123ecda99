/* memory.c: whose blocks are whose, found out by walking. */
#include "tests/reference/reference.h"

uint32_t blocks_of(const struct replica *r, uint32_t tokens)
{
    return div_ceil_u32(tokens, r->limits.block_size);
}

/* ---- who refers to what ---- */

void for_all_in_memory(const struct replica *r, void (*f)(const struct replica *, req_id))
{
    for (uint32_t i = 0; i < r->running.n; i++)
        f(r, r->running.v[i]);
    for (uint32_t i = 0; i < r->waiting.n; i++) /* one that is being admitted */
        f(r, r->waiting.v[i]);
    if (r->leaving != REQ_NONE)
        f(r, r->leaving);
}

static void mark_path(const struct replica *r, req_id id)
{
    for (uint32_t b = req_at(r, id)->end; b != 0 && !r->cached[b].held; b = r->cached[b].parent)
        r->cached[b].held = true;
}

static void mark_held(const struct replica *r)
{
    for (uint64_t b = 0; b <= r->limits.num_gpu_blocks; b++)
        r->cached[b].held = false;
    for_all_in_memory(r, mark_path);
}

static uint64_t own_blocks(const struct replica *r)
{
    uint64_t n = r->leaving != REQ_NONE ? req_at(r, r->leaving)->own : 0;
    for (uint32_t i = 0; i < r->running.n; i++)
        n += req_at(r, r->running.v[i])->own;
    for (uint32_t i = 0; i < r->waiting.n; i++)
        n += req_at(r, r->waiting.v[i])->own;
    return n;
}

void count_units(const struct replica *r, uint64_t *free_units, uint64_t *cached_units)
{
    uint64_t used = own_blocks(r), loose = 0;
    mark_held(r);
    for (uint64_t b = 1; b <= r->limits.num_gpu_blocks; b++) {
        used += r->cached[b].used;
        loose += r->cached[b].used && !r->cached[b].held;
    }
    CHECK(used <= r->limits.num_gpu_blocks, "reference", "%llu blocks in use",
          (unsigned long long)used);
    *free_units = (r->limits.num_gpu_blocks - used) * r->limits.units_per_block;
    *cached_units = loose * r->limits.units_per_block;
}

/* ---- cached blocks: a tree of single ones ---- */

static uint32_t child_with(const struct replica *r, uint32_t parent, struct key k)
{
    uint32_t b = r->cached[parent].first_child;
    while (b != 0 && (r->cached[b].key.stream != k.stream || r->cached[b].key.index != k.index))
        b = r->cached[b].next_sibling;
    return b;
}

static uint32_t add_child(struct replica *r, uint32_t parent, struct key k)
{
    uint32_t b = 1;
    while (r->cached[b].used)
        b++;
    r->cached[b] = (struct cached){
        .used = true, .key = k, .parent = parent, .next_sibling = r->cached[parent].first_child};
    r->cached[parent].first_child = b;
    return b;
}

static void remove_block(struct replica *r, uint32_t gone)
{
    uint32_t *link = &r->cached[r->cached[gone].parent].first_child;
    while (*link != gone)
        link = &r->cached[*link].next_sibling;
    *link = r->cached[gone].next_sibling;
    r->cached[gone].used = false;
}

/* A hit covers full blocks and leaves a token to compute. */
uint32_t find_hit(const struct replica *r, const struct ref_request *q, uint32_t *n)
{
    uint32_t most = (req_len(q) - 1) / r->limits.block_size, end = 0, next;
    for (*n = 0; *n < most && (next = child_with(r, end, q->key[*n])) != 0; ++*n)
        end = next;
    return end;
}

void take_hit(struct replica *r, struct ref_request *q)
{
    q->end = find_hit(r, q, &q->n_path);
}

/* Every use stamps the whole path. */
void use_path(struct replica *r, const struct ref_request *q)
{
    r->use++;
    for (uint32_t b = q->end; b != 0; b = r->cached[b].parent)
        r->cached[b].last_use = r->use;
}

/* Where the same content is cached already, the request refers to that, too, and keeps its own. */
void publish(struct replica *r, struct ref_request *q)
{
    for (; (q->n_path + 1) * r->limits.block_size <= q->info.computed; q->n_path++) {
        uint32_t b = child_with(r, q->end, q->key[q->n_path]);
        if (b == 0) {
            b = add_child(r, q->end, q->key[q->n_path]);
            q->own--;
        }
        q->end = b;
    }
    use_path(r, q);
}

/* ---- taking and giving back ---- */

/* Of the blocks that nobody refers to and that have none behind them, the one unused for longest.
 * There are no ties: one use stamps one path, which has one end. */
static void evict_one(struct replica *r)
{
    uint32_t oldest = 0;
    mark_held(r);
    for (uint32_t b = 1; b <= r->limits.num_gpu_blocks; b++) {
        const struct cached *c = &r->cached[b];
        if (c->used && !c->held && c->first_child == 0 &&
            (oldest == 0 || c->last_use < r->cached[oldest].last_use))
            oldest = b;
    }
    CHECK(oldest != 0, "reference", "nothing to evict");
    struct key k = r->cached[oldest].key;
    r->last_evicted = content_block_hash(&(struct key_run){k.stream, k.index, 1}, 0);
    r->n_evicted++;
    remove_block(r, oldest);
}

void tell_evicted(struct replica *r)
{
    if (r->n_evicted > 0)
        tell(r, DEC_EVICT, r->last_evicted, r->now, r->n_evicted);
    r->n_evicted = 0;
}

uint64_t growth(const struct replica *r, const struct ref_request *q, uint32_t tokens)
{
    uint32_t has = blocks_of(r, q->info.computed), needs = blocks_of(r, tokens);
    return needs > has ? (needs - has) * r->limits.units_per_block : 0;
}

bool take_blocks(struct replica *r, struct ref_request *q, uint32_t n)
{
    uint64_t need = growth(r, q, q->info.computed + n), free_units, cached_units;
    count_units(r, &free_units, &cached_units);
    if (need > free_units + cached_units)
        return false;
    for (; free_units < need; free_units += r->limits.units_per_block)
        evict_one(r);
    q->own += (uint32_t)(need / r->limits.units_per_block);
    q->room = q->info.computed + n;
    return true;
}

uint64_t promised_units(const struct replica *r)
{
    uint64_t blocks = 0;
    for (uint32_t i = 0; i < r->running.n; i++) {
        const struct ref_request *q = req_at(r, r->running.v[i]);
        uint32_t has = blocks_of(r, q->room), may = blocks_of(r, q->promised_to);
        blocks += may > has ? may - has : 0;
    }
    return blocks * r->limits.units_per_block;
}

/* It leaves memory: what it referred to stays cached, unless nobody else could ever find it. */
void give_back(struct replica *r, struct ref_request *q)
{
    use_path(r, q);
    q->end = q->n_path = q->own = q->room = q->promised_to = 0;
    q->info.computed = 0;
    if (q->live || q->content.shareable)
        return;
    uint32_t n, end = find_hit(r, q, &n);
    for (uint32_t parent; end != 0; end = parent) {
        parent = r->cached[end].parent;
        remove_block(r, end);
    }
}
