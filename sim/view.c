/* view.c: the window through which policies see a replica (view.h). */
#include "sim/view.h"

#include "sim/core.h"

_Static_assert(offsetof(struct request, info) == 0, "view_req takes a request for its info");

void replica_view_init(struct replica *r)
{
    r->view = (struct sched_view){
        .limits = &r->limits,
        .tenants = r->sim->cfg->tenants,
        .replica = r->id,
        .r = r,
        .requests = &r->sim->requests,
        .req_state = &r->sim->req_state,
        .tenant_state = &r->tenant_state,
    };
}

const struct sched_view *replica_view(struct replica *r)
{
    struct sched_view *v = &r->view;
    v->now = r->sim->now;
    v->n_running = r->running.n;
    v->n_waiting = r->waiting.n;
    v->free_units = r->kv.free;
    v->evictable_units = r->kv.cached;
    v->leaving_units = r->leaving_units;
    return v;
}

uint32_t view_tenants(const struct sched_view *v)
{
    return v->r->tenant_state.high;
}

req_id view_waiting_first(const struct sched_view *v)
{
    return v->r->waiting.first;
}

req_id view_waiting_next(const struct sched_view *v, req_id id)
{
    return sim_req(v->r->sim, id)->next;
}

req_id view_running_first(const struct sched_view *v)
{
    return v->r->running.first;
}

req_id view_running_next(const struct sched_view *v, req_id id)
{
    return sim_req(v->r->sim, id)->next;
}

req_id view_running_last(const struct sched_view *v)
{
    return v->r->running.last;
}

req_id view_running_prev(const struct sched_view *v, req_id id)
{
    return sim_req(v->r->sim, id)->prev;
}

uint64_t view_units(const struct sched_view *v, req_id id, uint32_t tokens)
{
    return blocks_resident_units(v->r, sim_req(v->r->sim, id), tokens);
}

uint64_t view_watermark(const struct sched_view *v, double share)
{
    uint64_t blocks = (uint64_t)(share * (double)v->limits->num_gpu_blocks);
    return v->n_running == 0 ? 0 : blocks * v->limits->units_per_block;
}

bool view_host_fits(const struct sched_view *v, req_id id)
{
    return blocks_host_fits(v->r, sim_req(v->r->sim, id));
}

uint32_t view_cached_len(const struct sched_view *v, req_id id)
{
    return blocks_cached_len(v->r, sim_req(v->r->sim, id));
}

struct view_hit view_hit(const struct sched_view *v, req_id id)
{
    struct ptree_hit hit = blocks_find(v->r, sim_req(v->r->sim, id));
    return (struct view_hit){hit.node, hit.n_blocks * v->limits->block_size};
}

uint32_t view_hit_parent(const struct sched_view *v, uint32_t node)
{
    return node == PTREE_ROOT ? PTREE_ROOT : ptree_parent(v->r->tree, node);
}

uint64_t view_prefix_key(const struct sched_view *v, req_id id, uint32_t tokens)
{
    uint32_t blocks = div_ceil_u32(tokens, v->r->limits.block_size);
    return v->r->tree == NULL ? 0 : content_prefix_key(&sim_req(v->r->sim, id)->content, blocks);
}

struct prediction view_predict(const struct sched_view *v, req_id id)
{
    return sim_predict(v->r->sim, sim_req(v->r->sim, id));
}

uint32_t view_true_output(const struct sched_view *v, req_id id)
{
    CHECK(v->r->ops->needs & SCHED_ORACLE, INV_OFFER, "%s reads a true length undeclared",
          v->r->ops->name);
    return sim_req(v->r->sim, id)->output_tokens;
}
