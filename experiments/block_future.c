#include "experiments/block_future.h"

static void name_block(struct block_future *f, uint64_t hash)
{
    size_t known = f->index.n;
    uint64_t *index = u64_map_put(&f->index, hash);
    if (f->index.n > known)
        *index = known;
    f->named = mem_reserve(f->named, &f->cap, f->n + 1, sizeof(*f->named));
    f->named[f->n++] = (uint32_t)*index;
}

/* Sorts positions by block: a counting sort, which keeps their order. */
static void sort_uses(struct block_future *f)
{
    size_t blocks = f->index.n;
    f->use = mem_alloc((f->n + 1) * sizeof(*f->use));
    f->first = mem_alloc((blocks + 2) * sizeof(*f->first));
    for (size_t i = 0; i < f->n; i++)
        f->first[f->named[i] + 2]++;
    for (size_t b = 2; b < blocks + 2; b++)
        f->first[b] += f->first[b - 1];
    for (size_t i = 0; i < f->n; i++)
        f->use[f->first[f->named[i] + 1]++] = i + 1;
}

bool block_future_read(struct block_future *f, struct trace_source *src, struct err *e)
{
    struct prompt_blocks blocks;
    prompt_blocks_init(&blocks, &src->traits);
    struct trace_rec rec;
    enum trace_status st;
    while ((st = src->ops->next(src->self, &rec, e)) == TRACE_REC) {
        if (rec.failed)
            continue;
        prompt_blocks_set(&blocks, &rec);
        for (uint32_t i = 0; i < blocks.content.n_runs; i++)
            for (uint32_t k = 0; k < blocks.content.run[i].n; k++)
                name_block(f, content_block_hash(&blocks.content.run[i], k));
    }
    prompt_blocks_release(&blocks);
    sort_uses(f);
    return st != TRACE_ERR;
}

void block_future_release(struct block_future *f)
{
    u64_map_release(&f->index);
    mem_free(f->named);
    mem_free(f->use);
    mem_free(f->first);
    *f = (struct block_future){0};
}

uint64_t block_future_next(const struct block_future *f, uint64_t block_hash, uint64_t now)
{
    const uint64_t *index = u64_map_get(&f->index, block_hash);
    if (index == NULL)
        return UINT64_MAX;
    uint64_t low = f->first[*index], end = f->first[*index + 1], high = end;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (f->use[middle] > now)
            high = middle;
        else
            low = middle + 1;
    }
    return low < end ? f->use[low] : UINT64_MAX;
}
