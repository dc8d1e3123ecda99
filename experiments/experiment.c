/* experiment.c: see experiment.h. */
#include "experiments/experiment.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "experiments/compose.h"
#include "experiments/json_where.h"
#include "experiments/profile_defaults.h"
#include "sim/nearest.h"

enum { MAX_AXES = 32, MAX_CONFIGS = 100000, MAX_REPS = 1000000 };

struct axis {
    json_t **settings; /* of each value: an object of configuration keys */
    char **label;      /* of each value; "" where there is but one */
    size_t n;
    json_t *keys; /* object: what its values set, flat */
};

/* A file being read. */
struct reading {
    const char *path;
    char *text;
    json_t *root;
    struct config base;
    struct axis axis[MAX_AXES];
    size_t n_axes;
    struct err *e;
};

/* ---- messages ---- */

/* "FILE:LINE:COLUMN: ...", where `at` stands in the text. */
static bool bad(const struct reading *r, const char *at, const char *fmt, ...) PRINTF_LIKE(3, 4);
static bool bad(const struct reading *r, const char *at, const char *fmt, ...)
{
    char what[sizeof r->e->text];
    int line, column;
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    json_where_position(r->text, at ? at : r->text, &line, &column);
    return err_set(r->e, "%s:%d:%d: %s", r->path, line, column, what);
}

/* The key of a member at the top of the file. */
static const char *at_member(const struct reading *r, const char *name)
{
    return json_where_member(r->text, name);
}

static const char *at_value(const struct reading *r, const char *name)
{
    const char *key = at_member(r, name);
    return key ? json_where_value(key) : NULL;
}

/* ---- the file ---- */

static char *read_file(const char *path, struct err *e)
{
    FILE *f = fopen(path, "rb");
    char *text = NULL;
    size_t n = 0, cap = 0, got = 0;
    if (!f) {
        err_set(e, "%s: cannot be read: %s", path, strerror(errno));
        return NULL;
    }
    do {
        text = mem_reserve(text, &cap, n + 4096, 1);
        got = fread(text + n, 1, cap - n - 1, f);
        n += got;
    } while (got > 0);
    text[n] = '\0';
    bool failed = ferror(f);
    fclose(f);
    if (!failed)
        return text;
    err_set(e, "%s: cannot be read: %s", path, strerror(errno));
    mem_free(text);
    return NULL;
}

static bool parse(struct reading *r)
{
    json_error_t error;
    r->text = read_file(r->path, r->e);
    if (!r->text)
        return false;
    r->root = json_loads(r->text, JSON_REJECT_DUPLICATES, &error);
    if (!r->root)
        return err_set(r->e, "%s:%d:%d: %s", r->path, error.line, error.column, error.text);
    return json_is_object(r->root) || bad(r, NULL, "an experiment is a JSON object");
}

static bool check_members(const struct reading *r)
{
    static const char *const known[] = {"name",  "claim", "base", "axes",
                                        "seeds", "reps",  "slo",  "plots"};
    const char *member;
    json_t *value;
    json_object_foreach(r->root, member, value)
    {
        const char *nearest = nearest_word(member, known, ARRAY_LEN(known));
        if (strcmp(nearest, member) != 0)
            return bad(r, at_member(r, member),
                       "%s: an experiment has no such member; the nearest is %s (configuration "
                       "keys belong into base or axes)",
                       member, nearest);
    }
    return true;
}

/* A string member of the file into *out, "" if it is absent. */
static bool read_string(const struct reading *r, const char *member, char **out)
{
    const json_t *v = json_object_get(r->root, member);
    if (v && !json_is_string(v))
        return bad(r, at_value(r, member), "%s: give a string", member);
    *out = mem_strdup(v ? json_string_value(v) : "");
    return true;
}

/* ---- configuration keys ---- */

/* Sets what `object` says, which stands at `at` in the text. */
static bool merge(const struct reading *r, struct config *c, json_t *object, const char *at)
{
    struct err why = {0};
    char key[CONFIG_NAME_MAX];
    if (config_merge(c, object, "", key, &why))
        return true;
    const char *at_key = at ? json_where_member(at, key) : NULL;
    return bad(r, at_key ? at_key : at, "%s", why.text);
}

/* Seeds and repetitions are the experiment's own, so that every configuration gets the same. */
static bool check_no_seed(const struct reading *r, const struct config *c, const char *at)
{
    static const char *const own[][2] = {{"seed", "seeds"}, {"rep", "reps"}};
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        if (config_is_set(c, own[i][0]))
            return bad(r, at, "%s: it is the same for every configuration; use the member %s",
                       own[i][0], own[i][1]);
    return true;
}

static bool read_base(struct reading *r)
{
    json_t *base = json_object_get(r->root, "base"), *slo = json_object_get(r->root, "slo");
    if (base && !json_is_object(base))
        return bad(r, at_value(r, "base"), "base: give an object of configuration keys");
    if (base && !merge(r, &r->base, base, at_value(r, "base")))
        return false;
    if (!slo)
        return check_no_seed(r, &r->base, at_member(r, "base"));
    if (config_is_set(&r->base, "slo"))
        return bad(r, at_member(r, "slo"), "slo: given in base, too");
    json_t *object = json_pack("{s:O}", "slo", slo);
    bool ok = merge(r, &r->base, object, at_member(r, "slo"));
    json_decref(object);
    return ok && check_no_seed(r, &r->base, at_member(r, "base"));
}

/* ---- axes ---- */

/* "key=value" as people write it. */
static char *label_of(const char *key, const json_t *v)
{
    char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15));
    const char *plain = json_is_string(v) ? json_string_value(v) : text;
    size_t size = strlen(key) + strlen(plain) + 2;
    char *label = mem_alloc(size);
    snprintf(label, size, "%s=%s", key, plain);
    free(text);
    return label;
}

static char *join(char *list, const char *word)
{
    size_t size = strlen(list) + strlen(word) + 3;
    char *joined = mem_alloc(size);
    snprintf(joined, size, "%s%s%s", list, *list && *word ? ", " : "", word);
    mem_free(list);
    return joined;
}

static char *label_of_object(json_t *v)
{
    const char *key, *own = json_string_value(json_object_get(v, "label"));
    json_t *x;
    char *label = mem_strdup(own ? own : "");
    if (own)
        return label;
    json_object_foreach(v, key, x)
    {
        char *part = label_of(key, x);
        label = join(label, part);
        mem_free(part);
    }
    return label;
}

/* One value of an axis: what it sets, and its label; checked. */
static bool add_value(const struct reading *r, struct axis *a, const char *name, bool is_key,
                      json_t *v, const char *at)
{
    const json_t *label = is_key ? NULL : json_object_get(v, "label");
    if (label && !json_is_string(label))
        return bad(r, at, "axes: %s: a label is a string", name);
    json_t *settings = is_key ? json_pack("{s:O}", name, v) : json_copy(v);
    if (!is_key)
        json_object_del(settings, "label");
    a->settings[a->n] = settings;
    a->label[a->n++] = is_key ? label_of(name, v) : label_of_object(v);
    for (size_t i = 0; i + 1 < a->n; i++)
        if (strcmp(a->label[i], a->label[a->n - 1]) == 0)
            return bad(r, at, "axes: %s: %s is there twice", name, a->label[i]);

    struct config c;
    config_init(&c);
    bool ok = merge(r, &c, settings, at) && check_no_seed(r, &c, at);
    json_object_update(a->keys, c.flat);
    config_release(&c);
    return ok;
}

/* An axis is a key, or a name of one's own whose values are objects. */
static bool check_axis(const struct reading *r, const char *name, json_t *values, bool *is_key)
{
    struct config_key key;
    struct err why = {0};
    const char *at = json_where_member(at_value(r, "axes"), name);
    size_t i;
    json_t *v;
    *is_key = config_key_find(name, &key);
    if (!json_is_array(values) || json_array_size(values) == 0)
        return bad(r, at, "axes: %s: give an array of values, at least one", name);
    if (*is_key)
        return true;
    json_array_foreach(values, i, v) if (!json_is_object(v))
    {
        struct config c;
        char bad_key[CONFIG_NAME_MAX];
        json_t *object = json_pack("{s:O}", name, v);
        config_init(&c);
        if (config_merge(&c, object, "axes: ", bad_key, &why))
            *is_key = true; /* a member of a map, as in vtc.weights.alice */
        else
            bad(r, at, "%s; an axis of one's own has objects as values", why.text);
        config_release(&c);
        json_decref(object);
        return *is_key;
    }
    return true;
}

/* Of two axes that set one key the later would win unseen. */
static bool check_disjoint(const struct reading *r, const struct axis *a, const char *name,
                           const char *at)
{
    const char *key;
    json_t *v;
    for (const struct axis *other = r->axis; other < a; other++)
        json_object_foreach(a->keys, key, v)
        {
            if (json_object_get(other->keys, key))
                return bad(r, at, "axes: %s: another axis sets %s, too", name, key);
        }
    return true;
}

static bool read_axis(struct reading *r, const char *name, json_t *values)
{
    bool is_key;
    const char *at = json_where_member(at_value(r, "axes"), name);
    if (r->n_axes == MAX_AXES)
        return bad(r, at, "axes: more than %d", MAX_AXES);
    if (!check_axis(r, name, values, &is_key))
        return false;
    struct axis *a = &r->axis[r->n_axes++];
    size_t n = json_array_size(values), i;
    *a = (struct axis){.settings = mem_alloc(n * sizeof *a->settings),
                       .label = mem_alloc(n * sizeof *a->label),
                       .keys = json_object()};
    json_t *v;
    const char *at_values = at ? json_where_value(at) : NULL;
    json_array_foreach(values, i, v) if (!add_value(r, a, name, is_key, v,
                                                    at_values ? json_where_element(at_values, i)
                                                              : NULL)) return false;
    if (a->n == 1) /* it tells nothing apart */
        *a->label[0] = '\0';
    return check_disjoint(r, a, name, at);
}

static bool read_axes(struct reading *r)
{
    json_t *axes = json_object_get(r->root, "axes"), *values;
    const char *name;
    if (axes && !json_is_object(axes))
        return bad(r, at_value(r, "axes"), "axes: give an object: key to array of values");
    json_object_foreach(axes, name, values)
    {
        if (!read_axis(r, name, values))
            return false;
    }
    return true;
}

/* ---- seeds and repetitions ---- */

static bool read_seeds(struct experiment *x, const struct reading *r)
{
    const json_t *seeds = json_object_get(r->root, "seeds");
    const char *at = at_value(r, "seeds");
    struct config_key key;
    CHECK(config_key_find("seed", &key), "experiment: seed is a key", "seed%s", "");
    size_t n = seeds ? json_array_size(seeds) : 1;
    if (n == 0)
        return bad(r, at, "seeds: give an array of whole numbers, at least one");
    x->seed = mem_alloc(n * sizeof *x->seed);
    x->seed[0] = 1;
    x->n_seeds = n;
    for (size_t i = 0; seeds && i < n; i++) {
        const json_t *v = json_array_get(seeds, i);
        json_int_t seed = json_integer_value(v);
        if (!json_is_integer(v) || seed < 0 || (double)seed > key.desc->max)
            return bad(r, json_where_element(at, i), "seeds: give whole numbers from 0 to %.0f",
                       key.desc->max);
        x->seed[i] = (uint64_t)seed;
        for (size_t j = 0; j < i; j++)
            if (x->seed[j] == x->seed[i])
                return bad(r, json_where_element(at, i), "seeds: %lld is there twice",
                           (long long)seed);
    }
    return true;
}

static bool read_rest(struct experiment *x, const struct reading *r)
{
    const json_t *reps = json_object_get(r->root, "reps");
    const json_t *plots = json_object_get(r->root, "plots");
    json_int_t n = reps ? json_integer_value(reps) : 1;
    if (n < 1 || n > MAX_REPS)
        return bad(r, at_value(r, "reps"), "reps: give a whole number from 1 to %d", MAX_REPS);
    x->n_reps = (uint32_t)n;
    if (plots && !json_is_array(plots))
        return bad(r, at_value(r, "plots"), "plots: give an array");
    if (!read_string(r, "name", &x->name) || !read_string(r, "claim", &x->claim))
        return false;
    if (*x->name == '\0')
        return bad(r, at_member(r, "name"), "name: an experiment needs one");
    return read_seeds(x, r);
}

/* ---- the product ---- */

/* The i-th configuration, the last axis the fastest, and its label. */
static char *assemble(struct config *c, const struct reading *r, size_t i)
{
    size_t choice[MAX_AXES];
    for (size_t k = r->n_axes; k-- > 0; i /= r->axis[k].n)
        choice[k] = i % r->axis[k].n;
    json_object_update(c->flat, r->base.flat);
    char *label = mem_strdup("");
    for (size_t k = 0; k < r->n_axes; k++) {
        struct err none = {0};
        char key[CONFIG_NAME_MAX];
        bool ok = config_merge(c, r->axis[k].settings[choice[k]], "", key, &none);
        CHECK(ok, "experiment: a checked value can be set", "%s", none.text);
        label = join(label, r->axis[k].label[choice[k]]);
    }
    return label;
}

/* Whatever a run would refuse at its start is refused here. */
static bool try_out(struct experiment_config *out, struct config *c, struct err *e)
{
    struct composed x;
    if (!profile_defaults(c, e))
        return false;
    config_resolve(c);
    bool ok = compose(&x, c, e) && config_hash(c, out->config_hash, e);
    memcpy(out->inputs_sha256, x.inputs_sha256, sizeof out->inputs_sha256);
    compose_release(&x);
    return ok;
}

/* Adds the i-th configuration. seen: hash -> label of those before. */
static bool add_config(struct experiment *x, const struct reading *r, size_t i, json_t *seen)
{
    struct experiment_config *out = &x->config[x->n_configs++];
    struct err why = {0};
    struct config c;
    config_init(&c);
    out->label = assemble(&c, r, i);
    bool ok = try_out(out, &c, &why);
    out->flat = json_incref(c.flat);
    config_release(&c);
    if (!ok)
        return err_set(r->e, "%s: %s%s%s", r->path, out->label, *out->label ? ": " : "", why.text);
    const char *same = json_string_value(json_object_get(seen, out->config_hash));
    if (same)
        return bad(r, at_member(r, "axes"),
                   "axes: \"%s\" and \"%s\" are the same configuration; leave one out", same,
                   out->label);
    json_object_set_new(seen, out->config_hash, json_string(out->label));
    return true;
}

static bool multiply(struct experiment *x, const struct reading *r)
{
    size_t n = 1;
    for (size_t k = 0; k < r->n_axes; k++) {
        if (r->axis[k].n > MAX_CONFIGS / n)
            return bad(r, at_member(r, "axes"), "axes: more than %d configurations", MAX_CONFIGS);
        n *= r->axis[k].n;
    }
    json_t *seen = json_object();
    bool ok = true;
    x->config = mem_alloc(n * sizeof *x->config);
    for (size_t i = 0; ok && i < n; i++)
        ok = add_config(x, r, i, seen);
    json_decref(seen);
    return ok;
}

static void release_reading(struct reading *r)
{
    for (struct axis *a = r->axis; a < r->axis + r->n_axes; a++) {
        for (size_t i = 0; i < a->n; i++) {
            json_decref(a->settings[i]);
            mem_free(a->label[i]);
        }
        mem_free(a->settings);
        mem_free(a->label);
        json_decref(a->keys);
    }
    config_release(&r->base);
    json_decref(r->root);
    mem_free(r->text);
}

bool experiment_load(struct experiment *x, const char *path, struct err *e)
{
    struct reading r = {.path = path, .e = e};
    *x = (struct experiment){0};
    config_init(&r.base);
    bool ok = parse(&r) && check_members(&r) && read_base(&r) && read_axes(&r) &&
              read_rest(x, &r) && multiply(x, &r);
    release_reading(&r);
    return ok;
}

void experiment_release(struct experiment *x)
{
    for (size_t i = 0; i < x->n_configs; i++) {
        json_decref(x->config[i].flat);
        mem_free(x->config[i].label);
    }
    mem_free(x->config);
    mem_free(x->seed);
    mem_free(x->name);
    mem_free(x->claim);
    *x = (struct experiment){0};
}

/* ---- points ---- */

uint64_t experiment_points(const struct experiment *x)
{
    return (uint64_t)x->n_configs * x->n_seeds * x->n_reps;
}

struct experiment_point experiment_point(const struct experiment *x, uint64_t i)
{
    CHECK(i < experiment_points(x), "experiment: a point that is there", "%llu of %llu",
          (unsigned long long)i, (unsigned long long)experiment_points(x));
    uint64_t of_seed = i / x->n_reps;
    return (struct experiment_point){.config = &x->config[of_seed / x->n_seeds],
                                     .seed = x->seed[of_seed % x->n_seeds],
                                     .rep = (uint32_t)(i % x->n_reps)};
}

void experiment_point_config(const struct experiment_point *p, struct config *c)
{
    json_object_update(c->flat, p->config->flat);
    json_object_set_new(c->flat, "seed", json_integer((json_int_t)p->seed));
    json_object_set_new(c->flat, "rep", json_integer(p->rep));
    config_resolve(c);
}
