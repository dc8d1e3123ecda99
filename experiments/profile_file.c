#include "experiments/profile_file.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>

#include "experiments/version.h"

#define FORMAT "tandem-profile"
#define VERSION 1

bool profile_path(char path[PROFILE_PATH_MAX], const char *dir, const char *name, struct err *e)
{
    int n = snprintf(path, PROFILE_PATH_MAX, "%s%s%s", dir, name ? "/" : "", name ? name : "");
    return (n > 0 && n < PROFILE_PATH_MAX) || err_set(e, "%s: the name is too long", dir);
}

bool profile_is_ours(const char *dir)
{
    char path[PROFILE_PATH_MAX];
    struct err ignored = {.set = false};
    struct stat st;
    return profile_path(path, dir, PROFILE_JSON, &ignored) && stat(path, &st) == 0;
}

/* ---- profile.json ---- */

static bool read_text(const json_t *in, const char *key, bool needed, char *out, size_t size,
                      const char *path, struct err *e)
{
    const char *text = json_string_value(json_object_get(in, key));
    int n = snprintf(out, size, "%s", text ? text : "");
    return ((n > 0 || !needed) && (size_t)n < size) ||
           err_set(e, "%s: \"%s\" is missing or too long; measure again with `tandem profile`",
                   path, key);
}

bool profile_about_read(struct profile_about *a, const char *dir, struct err *e)
{
    char path[PROFILE_PATH_MAX];
    json_error_t why;
    *a = (struct profile_about){.note = ""};
    if (!profile_path(path, dir, PROFILE_JSON, e))
        return false;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
    if (!root)
        return err_set(e, "%s:%d: %s; give a folder made by `tandem profile`", path,
                       MAX(why.line, 0), why.text);
    const char *format = json_string_value(json_object_get(root, "format"));
    bool ok = (format && strcmp(format, FORMAT) == 0 &&
               json_integer_value(json_object_get(root, "version")) == VERSION) ||
              err_set(e, "%s: not a profile of version %d; measure again with `tandem profile`",
                      path, VERSION);
    ok = ok && read_text(root, "model", true, a->model, sizeof a->model, path, e) &&
         read_text(root, "gpu", true, a->gpu, sizeof a->gpu, path, e) &&
         read_text(root, "backend", true, a->backend, sizeof a->backend, path, e) &&
         read_text(root, "dtype", true, a->dtype, sizeof a->dtype, path, e) &&
         read_text(root, "engine", true, a->engine, sizeof a->engine, path, e) &&
         read_text(root, "device", true, a->device, sizeof a->device, path, e) &&
         read_text(root, "note", false, a->note, sizeof a->note, path, e);
    json_decref(root);
    return ok;
}

static json_t *limits_json(const struct limits *l)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "max_num_seqs",
                     (json_int_t)l->max_num_seqs, "max_num_batched_tokens",
                     (json_int_t)l->max_num_batched_tokens, "max_model_len",
                     (json_int_t)l->max_model_len, "block_size", (json_int_t)l->block_size,
                     "num_gpu_blocks", (json_int_t)l->num_gpu_blocks, "block_bytes",
                     (json_int_t)l->block_bytes, "host_blocks", (json_int_t)l->host_blocks);
}

static json_t *swaps_json(const struct profile_swaps *all_swaps)
{
    json_t *all = json_array();
    for (size_t i = 0; i < all_swaps->n; i++) {
        const struct profile_swap *s = &all_swaps->at[i];
        json_array_append_new(all,
                              json_pack("{s:s, s:I, s:I}", "direction", s->out ? "out" : "in",
                                        "blocks", (json_int_t)s->blocks, "ns", (json_int_t)s->ns));
    }
    return all;
}

static json_t *about_json(const struct profile_about *a, const struct limits *l,
                          const struct profile_swaps *s)
{
    char started[32];
    struct utsname host;
    struct timespec now;
    struct tm utc;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(started, sizeof started, "%Y-%m-%dT%H:%M:%SZ", &utc);
    uname(&host);
    return json_pack("{s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:s, s:s, s:s, s:o, "
                     "s:o}",
                     "format", FORMAT, "version", VERSION, "model", a->model, "gpu", a->gpu,
                     "backend", a->backend, "dtype", a->dtype, "engine", a->engine, "device",
                     a->device, "note", a->note, "git_revision", version_git, "dirty",
                     version_dirty, "compiler", version_compiler, "host", host.nodename,
                     "started_at", started, "limits", limits_json(l), "swaps", swaps_json(s));
}

bool profile_about_write(const struct profile_about *a, const struct limits *l,
                         const struct profile_swaps *s, const char *dir, struct err *e)
{
    char path[PROFILE_PATH_MAX];
    if (!profile_path(path, dir, PROFILE_JSON, e))
        return false;
    json_t *root = about_json(a, l, s);
    if (!root)
        return err_set(e, "%s: a name in it is not valid UTF-8; give another --note", path);
    FILE *f = fopen(path, "w");
    bool ok = f && json_dumpf(root, f, JSON_INDENT(2)) == 0 && fputc('\n', f) != EOF;
    ok = f && fclose(f) == 0 && ok;
    json_decref(root);
    return ok || err_set(e, "%s: cannot be written: %s", path, strerror(errno));
}

/* ---- steps.csv ---- */

FILE *profile_steps_open(const struct profile_about *a, const char *dir, struct err *e)
{
    char path[PROFILE_PATH_MAX];
    if (!profile_path(path, dir, PROFILE_STEPS, e))
        return NULL;
    FILE *f = fopen(path, "w");
    if (f)
        fprintf(f,
                "# %s, %s\nduration_ns,n_decode,n_prefill,decode_tokens,prefill_tokens,"
                "decode_context,prefill_history,prefill_pairs,prefill_context_max,run,held_out,"
                "part,repeats,spread_ns,"
                "device_ns\n",
                a->model, a->device);
    else
        err_set(e, "%s: cannot be written: %s", path, strerror(errno));
    return f;
}

bool profile_steps_put(FILE *f, const struct profile_point *p, struct err *e)
{
    const struct batch_shape *s = p->shape;
    fprintf(
        f, "%" PRId64 ",%u,%u,%u,%u,%" PRIu64 ",%" PRIu64 ",%.0f,%u,%u,%d,%s,%u,%" PRId64 ",%.0f\n",
        p->wall_ns, s->n_decode, s->n_prefill, s->decode_tokens, s->prefill_tokens,
        s->decode_context_sum, s->prefill_history_sum, s->prefill_pairs, s->prefill_context_max,
        p->run, p->held_out, p->part, p->repeats, p->spread_ns, p->device_ns);
    return (fflush(f) == 0 && !ferror(f)) ||
           err_set(e, PROFILE_STEPS ": cannot be written: %s", strerror(errno));
}
