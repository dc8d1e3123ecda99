#include "experiments/lists.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "sim/nearest.h"

/* ---- members of the objects of a list ---- */

struct object {
    char where[32]; /* "slo[1]" */
    json_t *json;
};

static struct object object_at(const json_t *list, const char *key, size_t i)
{
    struct object o = {.json = json_array_get(list, i)};
    snprintf(o.where, sizeof o.where, "%s[%zu]", key, i);
    return o;
}

static bool only_known(const struct object *o, const char *const *known, size_t n, struct err *e)
{
    const char *member;
    json_t *v;
    json_object_foreach(o->json, member, v)
    {
        bool found = false;
        for (size_t i = 0; i < n; i++)
            found = found || strcmp(known[i], member) == 0;
        if (!found)
            return err_set(e, "%s.%s: unknown member; the nearest is %s", o->where, member,
                           nearest_word(member, known, n));
    }
    return true;
}

/* A positive number of at most `max` into *out, which is left alone where the member is absent. */
static bool get_number(const struct object *o, const char *member, double max, double *out,
                       struct err *e)
{
    const json_t *v = json_object_get(o->json, member);
    if (!v)
        return true;
    double x = json_number_value(v);
    if (!json_is_number(v) || !(x > 0) || x > max)
        return err_set(e, "%s.%s: must be a number above 0, at most %.16g", o->where, member, max);
    *out = x;
    return true;
}

static bool get_count(const struct object *o, const char *member, double max, uint64_t *out,
                      struct err *e)
{
    double x = (double)*out;
    if (!get_number(o, member, max, &x, e))
        return false;
    if (x != floor(x))
        return err_set(e, "%s.%s: must be a whole number", o->where, member);
    *out = (uint64_t)x;
    return true;
}

static bool get_string(const struct object *o, const char *member, struct arena *a,
                       const char **out, struct err *e)
{
    const json_t *v = json_object_get(o->json, member);
    if (v && !(json_is_string(v) && json_string_length(v) > 0))
        return err_set(e, "%s.%s: must be a string that is not empty", o->where, member);
    if (v)
        *out = arena_strdup(a, json_string_value(v));
    return true;
}

/* ---- slo ---- */

static bool get_limit(const struct object *o, const char *member, ns_t *out, struct err *e)
{
    double ms = (double)NAN;
    *out = SLO_NO_LIMIT;
    if (!get_number(o, member, 9e12, &ms, e))
        return false;
    if (!isnan(ms))
        *out = (ns_t)llround(ms * (double)NS_PER_MS);
    return true;
}

static bool get_tenants(const struct object *o, struct arena *a, const char *const **out,
                        struct err *e)
{
    const json_t *list = json_object_get(o->json, "tenants");
    if (list && !json_is_array(list))
        return err_set(e, "%s.tenants: must be an array of names, [\"*\"] for all", o->where);
    size_t n = json_array_size(list);
    const char **names = arena_alloc(a, (n + 1) * sizeof *names); /* zeroed: NULL ends it */
    for (size_t i = 0; i < n; i++) {
        const char *name = json_string_value(json_array_get(list, i));
        if (!name)
            return err_set(e, "%s.tenants[%zu]: must be a string", o->where, i);
        names[i] = arena_strdup(a, name);
    }
    *out = names;
    return true;
}

static bool get_class(const struct object *o, struct arena *a, struct slo_class *c, struct err *e)
{
    static const char *const members[] = {"class", "tenants", "ttft_ms", "tpot_ms", "e2el_ms"};
    if (!only_known(o, members, ARRAY_LEN(members), e) || !get_string(o, "class", a, &c->name, e))
        return false;
    if (!c->name)
        return err_set(e, "%s: has no \"class\"; give it a name", o->where);
    return get_tenants(o, a, &c->tenants, e) && get_limit(o, "ttft_ms", &c->ttft_ns, e) &&
           get_limit(o, "tpot_ms", &c->tpot_ns, e) && get_limit(o, "e2el_ms", &c->e2el_ns, e);
}

static bool get_classes(const json_t *list, struct arena *a, struct slo_class *classes,
                        struct err *e)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct object o = object_at(list, "slo", i);
        if (!get_class(&o, a, &classes[i], e))
            return false;
        for (size_t j = 0; j < i; j++)
            if (strcmp(classes[j].name, classes[i].name) == 0)
                return err_set(e, "%s.class: \"%s\" is there twice", o.where, classes[i].name);
    }
    return true;
}

bool list_slo(const struct config *c, struct arena *a, struct slo_class **out, size_t *n,
              struct err *e)
{
    json_t *list = config_list(c, "slo");
    *n = json_array_size(list);
    *out = arena_alloc(a, MAX(*n, 1) * sizeof **out);
    bool ok = get_classes(list, a, *out, e);
    json_decref(list);
    return ok && (*n > 0 || err_set(e, "slo: an empty list; leave it out for the default class"));
}

/* ---- replicas ---- */

static bool get_kind(const struct object *o, struct arena *a, struct replica_spec *spec,
                     struct err *e)
{
    static const char *const members[] = {"count", "gpu", "model", "num_gpu_blocks"};
    uint64_t count = spec->count;
    bool ok = only_known(o, members, ARRAY_LEN(members), e) &&
              get_count(o, "count", 65536, &count, e) && get_string(o, "gpu", a, &spec->gpu, e) &&
              get_string(o, "model", a, &spec->model, e) &&
              get_count(o, "num_gpu_blocks", 1e12, &spec->num_gpu_blocks, e);
    spec->count = (uint32_t)count;
    return ok;
}

bool list_replicas(const struct config *c, struct arena *a, struct replica_spec **out, size_t *n,
                   struct err *e)
{
    json_t *list = config_list(c, "replicas");
    const struct replica_spec all = {list ? 1 : (uint32_t)config_num(c, "replicas"),
                                     config_str(c, "model"), config_str(c, "gpu"),
                                     (uint64_t)config_num(c, "num_gpu_blocks")};
    *n = list ? json_array_size(list) : 1;
    *out = arena_alloc(a, MAX(*n, 1) * sizeof **out);
    bool ok = *n > 0 || err_set(e, "replicas: an empty list; give a number or an object");
    for (size_t i = 0; ok && i < *n; i++) {
        (*out)[i] = all;
        struct object o = object_at(list, "replicas", i);
        ok = !list || get_kind(&o, a, &(*out)[i], e);
    }
    json_decref(list);
    return ok;
}
