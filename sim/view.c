/* view.c: the window through which policies see a replica (view.h). */
#include "sim/view.h"

#include "sim/core.h"

const struct sched_view *replica_view(struct replica *r)
{
    struct sched_view *v = &r->view;
    v->now = r->sim->now;
    v->limits = &r->limits;
    v->tenants = r->sim->cfg->tenants;
    v->replica = r->id;
    v->n_running = r->running.n;
    v->n_waiting = r->waiting.n;
    v->free_units = r->kv.free;
    v->evictable_units = r->kv.cached;
    v->r = r;
    return v;
}

const struct req_info *view_req(const struct sched_view *v, req_id id)
{
    return &sim_req(v->r->sim, id)->info;
}

void *view_req_state(const struct sched_view *v, req_id id)
{
    return slots_at(&v->r->sim->req_state, id);
}

void *view_tenant_state(const struct sched_view *v, uint32_t tenant)
{
    return slots_at(&v->r->tenant_state, tenant);
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

uint32_t view_cached_len(const struct sched_view *v, req_id id)
{
    return blocks_cached_len(v->r, sim_req(v->r->sim, id));
}

struct prediction view_predict(const struct sched_view *v, req_id id)
{
    const struct sim *s = v->r->sim;
    const struct predictor_ops *p = s->cfg->predictor;
    if (p == NULL)
        return (struct prediction){0};
    const struct request *q = sim_req(s, id);
    uint32_t truth = p->needs & PREDICTOR_ORACLE ? q->output_tokens : 0;
    return p->predict(s->predictor, &q->info, slots_at(&s->tenant_predictor, q->info.tenant),
                      truth);
}

uint32_t view_true_output(const struct sched_view *v, req_id id)
{
    CHECK(v->r->ops->needs & SCHED_ORACLE, INV_OFFER, "%s reads a true length undeclared",
          v->r->ops->name);
    return sim_req(v->r->sim, id)->output_tokens;
}
