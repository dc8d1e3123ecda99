/* overlay.c: what a trace does not say and a study needs: tenants, shared prefixes, classes. All
 * made up, from named random streams, only where the record has none; trace_synthetic says so for
 * the run's row.
 *
 * Records of one session get one tenant and one class: those are drawn from the session's name, not
 * from the stream. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "sim/hash.h"
#include "traces/dist.h"
#include "traces/record.h"
#include "traces/registry.h"
#include "traces/wrap.h"

#define DEFAULT_TENANT "default"

/* One overlay's source of chance. */
struct chance {
    struct rng rng;
    uint64_t salt;
};

struct overlay {
    struct trace_source in;
    struct names *tenants; /* the run's */

    uint32_t n_tenants;
    double *share; /* owned: share[i] = probability of tenants 0..i */
    struct chance by_tenant;

    uint32_t n_groups, prefix_tokens;
    struct rng by_group;
    struct segment segment[2]; /* of the record given last */

    uint32_t *class_id; /* owned */
    size_t n_classes, class_cap;
    struct chance by_class;
};

static void chance_init(struct chance *c, uint64_t seed, const char *name)
{
    rng_init(&c->rng, seed, name);
    c->salt = rng_u64(&c->rng);
}

/* Uniform in [0, 1): of the record's session, or the stream's next. */
static double chance_unit(struct chance *c, const struct trace_rec *rec)
{
    if (rec->session)
        return (double)(hash_mix(c->salt, hash_str(rec->session)) >> 11) * 0x1p-53;
    return rng_unit(&c->rng);
}

/* ---- tenants ---- */

/* Zipf: tenant i in proportion to 1 / (i + 1)^skew. */
static void tenants_init(struct overlay *o, const struct trace_env *env, double skew)
{
    o->share = mem_alloc(o->n_tenants * sizeof(*o->share));
    zipf_fill(o->share, o->n_tenants, skew);
    chance_init(&o->by_tenant, env->seed, "trace.tenants");
}

static uint32_t draw_tenant(struct overlay *o, const struct trace_rec *rec)
{
    size_t i = zipf_pick(o->share, o->n_tenants, chance_unit(&o->by_tenant, rec));
    char name[24];

    snprintf(name, sizeof(name), "t%zu", i);
    return names_id(o->tenants, name);
}

/* ---- shared prefixes ---- */

/* Every record draws, so that a group does not depend on which others had segments. */
static void set_prefix(struct overlay *o, struct trace_rec *rec)
{
    uint64_t group = rng_below(&o->by_group, o->n_groups);

    if (rec->n_segments == 0 && !rec->failed)
        record_prefix(rec, o->segment, group, o->prefix_tokens, content_private_stream(rec->seq));
}

/* ---- classes ---- */

static bool classes_init(struct overlay *o, const struct trace_env *env, const char *list,
                         struct err *e)
{
    char name[64];

    for (const char *p = list;; p++) {
        size_t len = strcspn(p, ",");

        if (len == 0 || len >= sizeof(name))
            return err_set(e,
                           "trace.classes: \"%s\" has a name of %zu bytes; write 1 to %zu bytes, "
                           "separated by commas",
                           list, len, sizeof(name) - 1);
        memcpy(name, p, len);
        name[len] = '\0';
        o->class_id =
            mem_reserve(o->class_id, &o->class_cap, o->n_classes + 1, sizeof(*o->class_id));
        o->class_id[o->n_classes++] = names_id(env->classes, name);
        p += len;
        if (*p == '\0')
            break;
    }
    chance_init(&o->by_class, env->seed, "trace.classes");
    return true;
}

static uint32_t draw_class(struct overlay *o, const struct trace_rec *rec)
{
    size_t i = (size_t)(chance_unit(&o->by_class, rec) * (double)o->n_classes);

    return o->class_id[MIN(i, o->n_classes - 1)];
}

/* ---- the wrapper ---- */

static enum trace_status next(void *self, struct trace_rec *rec, struct err *e)
{
    struct overlay *o = self;
    enum trace_status st = o->in.ops->next(o->in.self, rec, e);

    if (st != TRACE_REC)
        return st;
    if (rec->tenant == NAMES_NONE)
        rec->tenant = o->n_tenants ? draw_tenant(o, rec) : names_id(o->tenants, DEFAULT_TENANT);
    if (o->n_groups > 0)
        set_prefix(o, rec);
    if (rec->slo_class == NAMES_NONE && o->n_classes > 0)
        rec->slo_class = draw_class(o, rec);
    return TRACE_REC;
}

static void close_overlay(void *self)
{
    struct overlay *o = self;

    o->in.ops->close(o->in.self);
    mem_free(o->share);
    mem_free(o->class_id);
    mem_free(o);
}

static const struct trace_ops ops = {.name = "overlay", .next = next, .close = close_overlay};

/* The overlays' parameters. */
struct asked {
    uint32_t tenants, groups, prefix_tokens;
    double skew;
    const char *classes; /* "": none */
};

static struct asked read_params(const struct params *p)
{
    return (struct asked){
        .tenants = (uint32_t)params_num(p, trace_params, "trace", "tenants"),
        .skew = params_num(p, trace_params, "trace", "tenant_skew"),
        .groups = (uint32_t)params_num(p, trace_params, "trace", "prefix_groups"),
        .prefix_tokens = (uint32_t)params_num(p, trace_params, "trace", "prefix_tokens"),
        .classes = params_str(p, trace_params, "trace", "classes"),
    };
}

bool overlay_wrap(struct trace_source *s, const struct trace_env *env, struct err *e)
{
    struct asked a = read_params(env->params);
    struct overlay *o;

    if (a.groups > 0 && a.prefix_tokens == 0)
        return err_set(e, "trace.prefix_groups: the groups share nothing; set trace.prefix_tokens "
                          "to the length of their prefixes");
    o = mem_alloc(sizeof(*o));
    o->tenants = env->tenants;
    o->n_tenants = a.tenants;
    o->n_groups = a.groups;
    o->prefix_tokens = a.prefix_tokens;
    if (a.tenants > 0)
        tenants_init(o, env, a.skew);
    rng_init(&o->by_group, env->seed, "trace.prefix_groups");
    if (a.classes[0] != '\0' && !classes_init(o, env, a.classes, e)) {
        mem_free(o->share);
        mem_free(o->class_id);
        mem_free(o);
        return false;
    }
    o->in = *s;
    s->ops = &ops;
    s->self = o;
    s->traits.has_hashes = s->traits.has_hashes || a.groups > 0;
    return true;
}

void trace_synthetic(const struct trace_env *env, const struct trace_source *s, char *out,
                     size_t size)
{
    struct asked a = read_params(env->params);
    char tenants[64] = "", groups[64] = "", classes[160] = "";
    const char *ticks = "";

    if (a.tenants > 0)
        snprintf(tenants, sizeof(tenants), "tenants:zipf(%g)x%" PRIu32 " ", a.skew, a.tenants);
    if (a.groups > 0)
        snprintf(groups, sizeof(groups), "prefix_groups:%" PRIu32 "x%" PRIu32 " ", a.groups,
                 a.prefix_tokens);
    if (a.classes[0] != '\0')
        snprintf(classes, sizeof(classes), "classes:%s ", a.classes);
    if (params_bool(env->params, trace_params, "trace", "spread_ticks"))
        ticks = "spread_ticks ";
    snprintf(out, size, "%s%s%s%s", tenants, groups, classes, ticks);
    if (out[0] != '\0')
        snprintf(out + strlen(out), size - strlen(out), "seed %" PRIu64, env->seed);
    if (s->traits.made_up[0] != '\0')
        snprintf(out + strlen(out), size - strlen(out), "%s%s", out[0] != '\0' ? "; " : "",
                 s->traits.made_up);
}
