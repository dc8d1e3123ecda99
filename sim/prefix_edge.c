#include "sim/prefix_edge.h"

#include <string.h>

void edge_cursor_skip(struct edge_cursor *c, uint32_t blocks)
{
    while (blocks > 0) {
        uint32_t step = MIN(blocks, c->run->n - c->skip);
        blocks -= step;
        c->skip += step;
        if (c->skip == c->run->n) {
            c->run++;
            c->left--;
            c->skip = 0;
        }
    }
}

uint32_t edge_match(const struct edge *e, struct edge_cursor c, uint32_t limit)
{
    struct edge_cursor mine = edge_start(e);
    uint32_t same = 0;
    while (same < limit && mine.left > 0 && c.left > 0) {
        if (mine.run->stream != c.run->stream ||
            mine.run->start + mine.skip != c.run->start + c.skip)
            break;
        uint32_t step = MIN(MIN(mine.run->n - mine.skip, c.run->n - c.skip), limit - same);
        same += step;
        edge_cursor_skip(&mine, step);
        edge_cursor_skip(&c, step);
    }
    return same;
}

uint32_t edge_append(struct edge *e, struct edge_cursor c, uint32_t limit)
{
    uint32_t added = 0;
    while (added < limit && c.left > 0) {
        struct key_run r = {.stream = c.run->stream,
                            .start = c.run->start + c.skip,
                            .n = MIN(c.run->n - c.skip, limit - added)};
        struct key_run *last = e->n_runs > 0 ? &e->run[e->n_runs - 1] : NULL;
        if (last != NULL && last->stream == r.stream && last->start + last->n == r.start) {
            last->n += r.n;
        } else {
            e->run = mem_reserve(e->run, &e->cap, e->n_runs + 1, sizeof(*e->run));
            e->run[e->n_runs++] = r;
        }
        added += r.n;
        edge_cursor_skip(&c, r.n);
    }
    e->n_blocks += added;
    return added;
}

void edge_drop_front(struct edge *e, uint32_t blocks)
{
    struct edge_cursor c = edge_start(e);
    edge_cursor_skip(&c, blocks);
    memmove(e->run, c.run, c.left * sizeof(*e->run));
    e->n_runs = c.left;
    e->run[0].start += c.skip;
    e->run[0].n -= c.skip;
    e->n_blocks -= blocks;
}

void edge_drop_back(struct edge *e, uint32_t blocks)
{
    e->n_blocks -= blocks;
    while (blocks > 0) {
        struct key_run *last = &e->run[e->n_runs - 1];
        uint32_t step = MIN(blocks, last->n);
        last->n -= step;
        blocks -= step;
        if (last->n == 0)
            e->n_runs--;
    }
}

uint64_t edge_hash(const struct edge *e, uint32_t from_end)
{
    const struct key_run *r = &e->run[e->n_runs - 1];
    for (; from_end > r->n; r--)
        from_end -= r->n;
    return content_block_hash(r, r->n - from_end);
}
