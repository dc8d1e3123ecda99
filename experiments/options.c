#include "experiments/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/nearest.h"

struct wrapped {
    const struct argp *argp;
    const char *command, *where; /* "tandem run", "run" */
    void *input;
    struct err *e;
};

/* Whether another entry follows, in a list that ends with one of zeros. */
static bool is_option(const struct argp_option *o)
{
    return o && (o->name || o->key || o->doc);
}

static const struct argp_option *find(const struct argp *argp, const char *name, size_t n)
{
    for (const struct argp_option *o = argp->options; is_option(o); o++)
        if (o->name && strlen(o->name) == n && strncmp(o->name, name, n) == 0)
            return o;
    for (const struct argp_child *c = argp->children; c && c->argp; c++) {
        const struct argp_option *o = find(c->argp, name, n);
        if (o)
            return o;
    }
    return NULL;
}

struct option_names {
    const char *name[64];
    size_t n;
};

static void list_names(const struct argp *argp, struct option_names *names)
{
    for (const struct argp_option *o = argp->options; is_option(o); o++)
        if (o->name && names->n < ARRAY_LEN(names->name))
            names->name[names->n++] = o->name;
    for (const struct argp_child *c = argp->children; c && c->argp; c++)
        list_names(c->argp, names);
}

static const char *nearest_option(const struct argp *argp, const char *name)
{
    struct option_names names = {.n = 0};
    list_names(argp, &names);
    return nearest_word(name, names.name, names.n);
}

/* Says what getopt did not like about `arg`, the last one it looked at. */
static void explain(const struct wrapped *w, const char *arg)
{
    const char *name = arg + strspn(arg, "-");
    size_t n = strcspn(name, "=");
    const struct argp_option *o = find(w->argp, name, n);
    if (o && o->arg && name[n] != '=')
        err_set(w->e, "%s: %s needs a value (%s)", w->where, arg, o->arg);
    else if (o && !o->arg)
        err_set(w->e, "%s: --%s takes no value", w->where, o->name);
    else
        err_set(w->e, "%s: unknown option %s; the nearest is --%s (`%s --help`)", w->where, arg,
                nearest_option(w->argp, name), w->command);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct wrapped *w = state->input;
    if (key == ARGP_KEY_ERROR) {
        explain(w, state->argv[state->next - 1]);
        return 0;
    }
    state->input = w->input;
    error_t result = w->argp->parser(key, arg, state);
    state->input = w;
    if (key == ARGP_KEY_ARG && result == ARGP_ERR_UNKNOWN) {
        err_set(w->e, "%s: unexpected argument %s; settings are options (`%s --help`)", w->where,
                arg, w->command);
        return EINVAL;
    }
    return result;
}

/* Does not return: argp prints and exits, unless it was told not to print errors. */
static void show_help(const struct argp *argp, char *name, char *option)
{
    char *argv[] = {name, option, NULL};
    argp_parse(argp, 2, argv, 0, NULL, NULL);
}

bool options_parse(const struct argp *argp, const char *command, int argc, char **argv, void *input,
                   struct err *e)
{
    char *name = mem_strdup(command), *own = argv[0];
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "--usage") == 0 ||
            strcmp(argv[i], "-?") == 0)
            show_help(argp, name, argv[i]);
    struct wrapped w = {argp, command, strchr(command, ' ') + 1, input, e};
    struct argp outer = *argp;
    outer.parser = parse;
    argv[0] = name;
    error_t result = argp_parse(&outer, argc, argv, ARGP_NO_ERRS | ARGP_IN_ORDER, NULL, &w);
    argv[0] = own;
    mem_free(name);
    if (result != 0)
        err_set(e, "%s: %s", w.where, strerror(result));
    return !e->set;
}

bool options_number(const char *command, const char *name, const char *arg, double min, double max,
                    double *out, struct err *e)
{
    char *end;
    *out = strtod(arg, &end);
    return (end != arg && *end == '\0' && *out >= min && *out <= max) ||
           err_set(e, "%s: --%s %s: give a number from %g to %g", command, name, arg, min, max);
}
