/* view.c: the window of sim/view.h, onto the reference. */
#include "sim/view.h"

#include "tests/reference/reference.h"

static void count_held(const struct replica *r, req_id id)
{
    struct ref_request *q = req_at(r, id);
    q->info.held_units = (uint64_t)(q->own + q->n_path) * r->limits.units_per_block;
}

const struct sched_view *look(struct replica *r)
{
    for_all_in_memory(r, count_held);
    struct sched_view *v = &r->view;
    *v = (struct sched_view){.now = r->now,
                             .limits = &r->limits,
                             .tenants = &r->lab->tenants,
                             .n_running = r->running.n,
                             .n_waiting = r->waiting.n,
                             .r = r,
                             .requests = &r->requests,
                             .req_state = &r->req_state,
                             .tenant_state = &r->tenant_state};
    count_units(r, &v->free_units, &v->evictable_units);
    return v;
}

uint32_t view_tenants(const struct sched_view *v)
{
    return v->r->tenant_state.high;
}

static req_id at_or_none(const struct list *l, uint32_t i)
{
    return i < l->n ? l->v[i] : REQ_NONE; /* before the first is past the end, too */
}

req_id view_waiting_first(const struct sched_view *v)
{
    return at_or_none(&v->r->waiting, 0);
}

req_id view_waiting_next(const struct sched_view *v, req_id id)
{
    return at_or_none(&v->r->waiting, list_find(&v->r->waiting, id) + 1);
}

req_id view_running_first(const struct sched_view *v)
{
    return at_or_none(&v->r->running, 0);
}

req_id view_running_next(const struct sched_view *v, req_id id)
{
    return at_or_none(&v->r->running, list_find(&v->r->running, id) + 1);
}

req_id view_running_last(const struct sched_view *v)
{
    return at_or_none(&v->r->running, v->r->running.n - 1);
}

req_id view_running_prev(const struct sched_view *v, req_id id)
{
    return at_or_none(&v->r->running, list_find(&v->r->running, id) - 1);
}

uint64_t view_units(const struct sched_view *v, req_id id, uint32_t tokens)
{
    (void)id; /* the full cache: the same of everybody */
    return blocks_of(v->r, tokens) * v->r->limits.units_per_block;
}

uint64_t view_watermark(const struct sched_view *v, double share)
{
    uint64_t blocks = (uint64_t)(share * (double)v->limits->num_gpu_blocks);
    return v->r->running.n == 0 ? 0 : blocks * v->limits->units_per_block;
}

bool view_host_fits(const struct sched_view *v, req_id id)
{
    (void)v;
    (void)id;
    return false; /* there is no host */
}

uint32_t view_cached_len(const struct sched_view *v, req_id id)
{
    uint32_t n;
    find_hit(v->r, req_at(v->r, id), &n);
    return n * v->limits->block_size;
}

/* Of single blocks, not of compressed runs of them: whoever sorts requests by where their hits end
 * comes to the same order. */
struct view_hit view_hit(const struct sched_view *v, req_id id)
{
    uint32_t n, end = find_hit(v->r, req_at(v->r, id), &n);
    return (struct view_hit){end, n * v->limits->block_size};
}

uint32_t view_hit_parent(const struct sched_view *v, uint32_t node)
{
    return v->r->cached[node].parent;
}

uint64_t view_prefix_key(const struct sched_view *v, req_id id, uint32_t tokens)
{
    return v->limits->enable_prefix_caching
               ? content_prefix_key(&req_at(v->r, id)->content, blocks_of(v->r, tokens))
               : 0;
}

struct prediction view_predict(const struct sched_view *v, req_id id)
{
    const struct predictor_ops *p = v->r->lab->predictor;
    const struct ref_request *q = req_at(v->r, id);
    if (p == NULL)
        return (struct prediction){0};
    return p->predict(v->r->predictor, &q->info, slots_at(&v->r->tenant_predictor, q->info.tenant),
                      p->needs & PREDICTOR_ORACLE ? q->output : 0);
}

uint32_t view_true_output(const struct sched_view *v, req_id id)
{
    return req_at(v->r, id)->output;
}
