/* params.c: the parameter table. A few dozen keys, read once when a plug-in opens: the search is
 * linear. Keys are unique; setting one again replaces it. */
#include "sim/params.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void params_init(struct params *p)
{
    *p = (struct params){0};
}

void params_release(struct params *p)
{
    for (size_t i = 0; i < p->n; i++) {
        mem_free(p->v[i].key);
        mem_free(p->v[i].str);
    }
    mem_free(p->v);
    params_init(p);
}

/* The entry of `key`, made if absent, with any old string gone. */
static struct param *entry(struct params *p, const char *key)
{
    for (size_t i = 0; i < p->n; i++) {
        if (strcmp(p->v[i].key, key) == 0) {
            mem_free(p->v[i].str);
            p->v[i].str = NULL;
            return &p->v[i];
        }
    }
    p->v = mem_reserve(p->v, &p->cap, p->n + 1, sizeof(*p->v));
    p->v[p->n] = (struct param){.key = mem_strdup(key)};
    return &p->v[p->n++];
}

void params_set_num(struct params *p, const char *key, enum param_type type, double value)
{
    CHECK(type == PARAM_INT || type == PARAM_REAL || type == PARAM_BOOL,
          "params: a number has a number's type", "key %s, type %d", key, (int)type);
    struct param *v = entry(p, key);
    v->type = type;
    v->num = value;
}

void params_set_str(struct params *p, const char *key, const char *value)
{
    char *copy = mem_strdup(value); /* first: `value` may be the string that is replaced */
    struct param *v = entry(p, key);
    v->type = PARAM_STR;
    v->num = 0;
    v->str = copy;
}

const struct param *params_find(const struct params *p, const char *key)
{
    for (size_t i = 0; i < p->n; i++) {
        if (strcmp(p->v[i].key, key) == 0)
            return &p->v[i];
    }
    return NULL;
}

/* `key` without the leading "part.", NULL if it does not start so. */
static const char *after_part(const char *key, const char *part)
{
    size_t len = strlen(part);
    return strncmp(key, part, len) == 0 && key[len] == '.' ? key + len + 1 : NULL;
}

static const struct param *find_owned(const struct params *p, const char *owner, const char *name)
{
    for (size_t i = 0; i < p->n; i++) {
        const char *rest = after_part(p->v[i].key, owner);
        if (rest != NULL && strcmp(rest, name) == 0)
            return &p->v[i];
    }
    return NULL;
}

static const struct param_desc *describe(const struct param_desc *desc, const char *owner,
                                         const char *name)
{
    const struct param_desc *d = desc;
    while (d->name != NULL && strcmp(d->name, name) != 0)
        d++;
    CHECK(d->name != NULL, "params: a plug-in reads what it declares", "%s.%s is not declared",
          owner, name);
    return d;
}

double params_num(const struct params *p, const struct param_desc *desc, const char *owner,
                  const char *name)
{
    const struct param_desc *d = describe(desc, owner, name);
    const struct param *v = find_owned(p, owner, name);
    if (v != NULL) {
        CHECK(v->type == PARAM_INT || v->type == PARAM_REAL, "params: a number is stored as one",
              "%s has type %d", v->key, (int)v->type);
        return v->num;
    }
    if (d->dflt[0] == '\0')
        return (double)NAN;
    char *end;
    double value = strtod(d->dflt, &end);
    CHECK(*end == '\0', "params: a number's default is a number", "%s.%s has \"%s\"", owner, name,
          d->dflt);
    return value;
}

bool params_bool(const struct params *p, const struct param_desc *desc, const char *owner,
                 const char *name)
{
    const struct param_desc *d = describe(desc, owner, name);
    const struct param *v = find_owned(p, owner, name);
    if (v != NULL) {
        CHECK(v->type == PARAM_BOOL, "params: a switch is stored as one", "%s has type %d", v->key,
              (int)v->type);
        return v->num > 0;
    }
    return strcmp(d->dflt, "true") == 0;
}

const char *params_str(const struct params *p, const struct param_desc *desc, const char *owner,
                       const char *name)
{
    const struct param_desc *d = describe(desc, owner, name);
    const struct param *v = find_owned(p, owner, name);
    if (v != NULL) {
        CHECK(v->type == PARAM_STR, "params: a string is stored as one", "%s has type %d", v->key,
              (int)v->type);
        return v->str;
    }
    return d->dflt;
}

double params_map_num(const struct params *p, const char *owner, const char *name,
                      const char *member, double dflt)
{
    for (size_t i = 0; i < p->n; i++) {
        const char *rest = after_part(p->v[i].key, owner);
        rest = rest != NULL ? after_part(rest, name) : NULL;
        if (rest != NULL && strcmp(rest, member) == 0)
            return p->v[i].num;
    }
    return dflt;
}
