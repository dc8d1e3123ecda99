/* shared_trace.h: opens one of the public traces beside the repository, for tests that hold our
 * figures against published ones. */
#ifndef TESTS_SUPPORT_SHARED_TRACE_H
#define TESTS_SUPPORT_SHARED_TRACE_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "traces/registry.h"

struct shared_trace {
    struct names tenants, classes;
    struct params params;
    struct trace_env env;
    struct trace_source source;
};

/* false, and says so loudly, where TANDEM_SHARED is not set. `path` is below shared/traces. */
static inline bool shared_trace_open(struct shared_trace *t, const char *path)
{
    const char *shared = getenv("TANDEM_SHARED");
    if (shared == NULL || *shared == '\0') {
        printf("SKIP: TANDEM_SHARED is not set: %s was not checked\n", path);
        return false;
    }
    char full[4096];
    struct err e = {0};
    snprintf(full, sizeof(full), "%s/traces/%s", shared, path);
    names_init(&t->tenants);
    names_init(&t->classes);
    params_init(&t->params);
    t->env = (struct trace_env){
        .tenants = &t->tenants, .classes = &t->classes, .seed = 1, .params = &t->params};
    bool ok = trace_open(full, NULL, &t->env, &t->source, &e);
    ck_assert_msg(ok, "%s", e.text);
    return true;
}

static inline void shared_trace_close(struct shared_trace *t)
{
    t->source.ops->close(t->source.self);
    names_release(&t->tenants);
    names_release(&t->classes);
    params_release(&t->params);
}

#endif
