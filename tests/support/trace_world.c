/* trace_world.c: see trace_world.h. */
#include "tests/support/trace_world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

void trace_world_init(struct trace_world *w)
{
    *w = (struct trace_world){0};
    names_init(&w->tenants);
    names_init(&w->classes);
    params_init(&w->params);
    w->env = (struct trace_env){
        .tenants = &w->tenants, .classes = &w->classes, .seed = 1, .params = &w->params};
    snprintf(w->dir, sizeof(w->dir), "/tmp/tandem-trace-XXXXXX");
    CHECK(mkdtemp(w->dir), "test: a temporary folder", "%s", w->dir);
    snprintf(w->path, sizeof(w->path), "%s/t", w->dir);
}

void trace_world_release(struct trace_world *w)
{
    unlink(w->path);
    CHECK(rmdir(w->dir) == 0, "test: the folder is empty", "%s", w->dir);
    names_release(&w->tenants);
    names_release(&w->classes);
    params_release(&w->params);
}

void trace_world_file(struct trace_world *w, const char *bytes, size_t n)
{
    FILE *f = fopen(w->path, "wb");

    CHECK(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0, "test: a file is written", "%s",
          w->path);
}

void trace_world_gzip(struct trace_world *w, const char *bytes, size_t n)
{
    gzFile f = gzopen(w->path, "wb9");

    CHECK(f && (n == 0 || gzwrite(f, bytes, (unsigned)n) == (int)n) && gzclose(f) == Z_OK,
          "test: a file is written", "%s", w->path);
}

static void set_one(struct trace_world *w, char *key, const char *value)
{
    const struct param_desc *d = trace_params;
    char full[64];

    while (d->name && strcmp(d->name, key) != 0)
        d++;
    CHECK(d->name, "test: a known key", "%s", key);
    snprintf(full, sizeof(full), "trace.%s", key);
    if (d->type == PARAM_STR)
        params_set_str(&w->params, full, value);
    else if (d->type == PARAM_BOOL)
        params_set_num(&w->params, full, d->type, strcmp(value, "true") == 0);
    else
        params_set_num(&w->params, full, d->type, strtod(value, NULL));
}

void trace_world_set(struct trace_world *w, const char *settings)
{
    char *copy = mem_strdup(settings), *save = NULL;

    for (char *s = strtok_r(copy, ";", &save); s; s = strtok_r(NULL, ";", &save)) {
        char *value = strchr(s, '=');

        CHECK(value, "test: KEY=VALUE", "%s", s);
        *value = '\0';
        set_one(w, s, value + 1);
    }
    mem_free(copy);
}

/* ---- records as text ---- */

struct sheet {
    char *out;
    size_t size, used;
    uint64_t stream[4096]; /* in order of appearance */
    unsigned n_streams;
};

static void add(struct sheet *s, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void add(struct sheet *s, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    s->used += (size_t)vsnprintf(s->out + s->used, s->size - s->used, fmt, ap);
    va_end(ap);
    CHECK(s->used < s->size, "test: the text fits", "%zu bytes", s->size);
}

static unsigned stream_number(struct sheet *s, uint64_t stream)
{
    unsigned i = 0;

    while (i < s->n_streams && s->stream[i] != stream)
        i++;
    if (i == s->n_streams) {
        CHECK(i < ARRAY_LEN(s->stream), "test: the streams fit", "%u", i);
        s->stream[s->n_streams++] = stream;
    }
    return i;
}

/* Seconds to the last ns that is not 0. */
static void add_s(struct sheet *s, const char *before, ns_t t)
{
    add(s, "%s%" PRId64 ".%09" PRId64, before, t / NS_PER_S, t % NS_PER_S);
    while (s->out[s->used - 1] == '0')
        s->used--;
    if (s->out[s->used - 1] == '.')
        s->used--;
    s->out[s->used] = '\0';
}

static void show(struct sheet *s, const struct trace_world *w, const struct trace_rec *r)
{
    add(s, "%" PRIu64, r->seq);
    if (r->after != TRACE_NO_PARENT)
        add(s, " after %" PRIu64, r->after);
    add_s(s, r->after == TRACE_NO_PARENT ? " @" : "+",
          r->after == TRACE_NO_PARENT ? r->arrival_at : r->delay_ns);
    add(s, " p%u o%u", r->prompt_tokens, r->output_tokens);
    if (r->max_tokens)
        add(s, " max=%u", r->max_tokens);
    if (r->predicted_tokens)
        add(s, " predicted=%u", r->predicted_tokens);
    if (strcmp(names_text(&w->tenants, r->tenant), "default") != 0)
        add(s, " tenant=%s", names_text(&w->tenants, r->tenant));
    if (r->slo_class != NAMES_NONE)
        add(s, " class=%s", names_text(&w->classes, r->slo_class));
    if (r->session)
        add(s, " session=%s", r->session);
    if (r->turn != TRACE_NO_TURN)
        add(s, " turn=%u", r->turn);
    if (r->priority)
        add(s, " priority=%d", r->priority);
    if (r->elapsed_ns)
        add_s(s, " elapsed=", r->elapsed_ns);
    if (r->failed)
        add(s, " failed");
    for (uint32_t i = 0; i < r->n_segments; i++)
        add(s, "%s%u:%u+%u", i ? " " : " [", stream_number(s, r->segment[i].stream),
            r->segment[i].offset, r->segment[i].tokens);
    add(s, "%s%s\n", r->n_segments ? "]" : "", r->continues ? " continues" : "");
}

enum trace_status trace_world_read(struct trace_world *w, const char *path, const char *format,
                                   char *out, size_t size, uint64_t *n)
{
    struct sheet *s = mem_alloc(sizeof(*s));
    struct trace_check check = {0};
    struct trace_source src;
    struct trace_rec rec;
    enum trace_status st = TRACE_ERR;

    s->out = out;
    s->size = size;
    if (trace_open(path, format, &w->env, &src, &w->err)) {
        while ((st = src.ops->next(src.self, &rec, &w->err)) == TRACE_REC) {
            trace_check(&check, &src, &w->env, &rec);
            if (out)
                show(s, w, &rec);
        }
        src.ops->close(src.self);
    }
    *n = check.n;
    mem_free(s);
    CHECK(w->err.set == (st == TRACE_ERR), "trace: an error has a message", "%s", w->err.text);
    return st;
}
