/* csv_write.c: see csv_write.h.
 *
 * What must hold: read again, a file gives the records it was written from. Times are exact. An id
 * is the number that csv.c turns into the record's own stream; where segments are no blocks, an id
 * is a hash of its block's content in blocks of 16 tokens. */
#include "traces/csv_write.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sim/hash.h"

/* ---- what is to be written ---- */

void csv_plan_init(struct csv_plan *p, const struct trace_env *env, const struct trace_traits *t)
{
    *p = (struct csv_plan){.env = env, .block_tokens = t->block_tokens};
    for (size_t i = 0; i < CSV_REQUIRED; i++)
        p->used[i] = true;
    p->as_blocks = t->block_tokens > 0;
    if (!p->as_blocks)
        p->block_tokens = CSV_PREFIX_BLOCK;
}

/* What sessions.c makes of a session's name, it will make again. */
static bool has_own_segments(const struct trace_rec *rec)
{
    return rec->n_segments > 0 && !(rec->session && rec->continues && rec->n_segments == 1);
}

static bool are_blocks(const struct trace_rec *rec, uint32_t block_tokens)
{
    uint32_t full = rec->prompt_tokens / block_tokens, rest = rec->prompt_tokens % block_tokens;

    if (rec->n_segments != full + (rest > 0))
        return false;
    for (uint32_t i = 0; i < rec->n_segments; i++)
        if (rec->segment[i].offset != 0 ||
            rec->segment[i].tokens != (i < full ? block_tokens : rest))
            return false;
    return true;
}

void csv_plan_add(struct csv_plan *p, const struct trace_rec *rec)
{
    bool follows = rec->after != TRACE_NO_PARENT;

    p->used[CSV_MAX_TOKENS] |= rec->max_tokens != 0;
    p->used[CSV_TENANT] |= strcmp(names_text(p->env->tenants, rec->tenant), "default") != 0;
    p->used[CSV_SESSION] |= rec->session != NULL;
    p->used[CSV_TURN] |= rec->turn != TRACE_NO_TURN;
    p->used[CSV_AFTER] |= follows;
    p->used[CSV_DELAY] |= follows && rec->delay_ns != 0;
    p->used[CSV_SLO_CLASS] |= rec->slo_class != NAMES_NONE;
    p->used[CSV_PRIORITY] |= rec->priority != 0;
    p->used[CSV_PREDICTED] |= rec->predicted_tokens != 0;
    if (!has_own_segments(rec))
        return;
    p->used[CSV_HASHES] = true;
    p->unsaid += rec->continues;
    if (p->as_blocks && !are_blocks(rec, p->block_tokens)) {
        p->as_blocks = false;
        p->block_tokens = CSV_PREFIX_BLOCK;
    }
}

/* ---- a row as text ---- */

static void add(struct csv_writer *w, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void add(struct csv_writer *w, const char *fmt, ...)
{
    va_list ap, again;
    int n;

    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, ap);
    CHECK(n >= 0, "csv: a cell can be printed", "%s", fmt);
    w->row = mem_reserve(w->row, &w->cap, w->len + (size_t)n + 1, 1);
    vsnprintf(w->row + w->len, (size_t)n + 1, fmt, again);
    w->len += (size_t)n;
    va_end(again);
    va_end(ap);
}

/* Seconds, as many decimals as they have. */
static void add_time(struct csv_writer *w, ns_t t)
{
    add(w, "%" PRId64 ".%09" PRId64, t / NS_PER_S, t % NS_PER_S);
    while (w->row[w->len - 1] == '0')
        w->len--;
    w->len -= w->row[w->len - 1] == '.';
}

/* Quoted where it has to be. */
static void add_text(struct csv_writer *w, const char *s)
{
    if (s[strcspn(s, ",\"")] == '\0') {
        add(w, "%s", s);
        return;
    }
    add(w, "\"");
    for (; *s; s++)
        add(w, "%s%c", *s == '"' ? "\"" : "", *s);
    add(w, "\"");
}

static void add_blocks(struct csv_writer *w, const struct trace_rec *rec)
{
    uint64_t salt = hash_str(CSV_HASH_SALT), own = content_private_stream(rec->seq);
    const char *space = "";

    for (uint32_t i = 0; i < rec->n_segments; i++) {
        /* a part of a block that had no id: csv.c gives it a stream of its own again */
        if (i + 1 == rec->n_segments && rec->segment[i].stream == own)
            break;
        add(w, "%s%" PRIu64, space, hash_unmix(salt, rec->segment[i].stream));
        space = " ";
    }
}

static void add_content(struct csv_writer *w, const struct trace_rec *rec)
{
    struct content c;
    const char *space = "";

    content_build(&c, rec->seq, rec->prompt_tokens, CSV_PREFIX_BLOCK, rec->segment, rec->n_segments,
                  false);
    for (uint32_t r = 0; r < c.n_runs; r++)
        for (uint32_t i = 0; i < c.run[r].n; i++) {
            add(w, "%s%" PRIu64, space, content_block_hash(&c.run[r], i));
            space = " ";
        }
    content_release(&c);
}

static void add_number(struct csv_writer *w, uint64_t value, bool is_said)
{
    if (is_said)
        add(w, "%" PRIu64, value);
}

static void add_cell(struct csv_writer *w, enum csv_column column, const struct trace_rec *rec,
                     uint64_t after)
{
    const struct trace_env *env = w->plan->env;
    bool follows = rec->after != TRACE_NO_PARENT;

    switch (column) {
    case CSV_ARRIVAL:
        if (!follows)
            add_time(w, rec->arrival_at);
        break;
    case CSV_PROMPT:
        add_number(w, rec->prompt_tokens, true);
        break;
    case CSV_OUTPUT:
        add_number(w, rec->output_tokens, true);
        break;
    case CSV_MAX_TOKENS:
        add_number(w, rec->max_tokens, rec->max_tokens != 0);
        break;
    case CSV_TENANT:
        add_text(w, names_text(env->tenants, rec->tenant));
        break;
    case CSV_SESSION:
        add_text(w, rec->session ? rec->session : "");
        break;
    case CSV_TURN:
        add_number(w, rec->turn, rec->turn != TRACE_NO_TURN);
        break;
    case CSV_AFTER:
        add_number(w, after, follows);
        break;
    case CSV_DELAY:
        if (follows)
            add_time(w, rec->delay_ns);
        break;
    case CSV_SLO_CLASS:
        add_text(w, names_text(env->classes, rec->slo_class));
        break;
    case CSV_PRIORITY:
        if (rec->priority != 0)
            add(w, "%" PRId32, rec->priority);
        break;
    case CSV_HASHES:
        if (has_own_segments(rec))
            (w->plan->as_blocks ? add_blocks : add_content)(w, rec);
        break;
    case CSV_PREDICTED:
        add_number(w, rec->predicted_tokens, rec->predicted_tokens != 0);
        break;
    case CSV_COLUMNS:
        break;
    }
}

/* ---- the file ---- */

static bool failed(const struct csv_writer *w, const char *what, struct err *e)
{
    return err_set(e, "%s: cannot be written: %s; nothing is kept", w->path, what);
}

static bool flush_row(struct csv_writer *w, struct err *e)
{
    size_t len = w->len;
    int code;

    w->len = 0;
    errno = 0;
    if (gzwrite(w->file, w->row, (unsigned)len) == (int)len)
        return true;
    return failed(w, errno != 0 ? strerror(errno) : gzerror(w->file, &code), e);
}

static bool write_header(struct csv_writer *w, struct err *e)
{
    const struct csv_plan *p = w->plan;
    const char *comma = "";

    if (p->used[CSV_HASHES])
        add(w, "# prefix_block=%" PRIu32 "\n", p->block_tokens);
    for (size_t i = 0; i < CSV_COLUMNS; i++)
        if (p->used[i]) {
            add(w, "%s%s", comma, csv_columns[i]);
            comma = ",";
        }
    add(w, "\n");
    return flush_row(w, e);
}

/* A device or pipe is written to as it is; a file is written beside and then put in its place. */
static char *part_path(const char *path)
{
    struct stat st;
    size_t size = strlen(path) + sizeof(".part");
    char *part = mem_alloc(size);
    bool is_file = stat(path, &st) != 0 || S_ISREG(st.st_mode);

    snprintf(part, size, "%s%s", path, is_file ? ".part" : "");
    return part;
}

static void release(struct csv_writer *w)
{
    mem_free(w->path);
    mem_free(w->part);
    mem_free(w->row);
    *w = (struct csv_writer){0};
}

bool csv_write_open(struct csv_writer *w, const char *path, const struct csv_plan *plan,
                    struct err *e)
{
    size_t len = strlen(path);
    bool compress = len > 3 && strcmp(path + len - 3, ".gz") == 0;
    int fd;

    *w = (struct csv_writer){.plan = plan, .path = mem_strdup(path), .part = part_path(path)};
    fd = open(w->part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        failed(w, strerror(errno), e);
        release(w);
        return false;
    }
    w->file = gzdopen(fd, compress ? "wb" : "wbT");
    CHECK(w->file, "gzdopen", "fd %d", fd);
    if (write_header(w, e))
        return true;
    csv_write_abandon(w);
    return false;
}

bool csv_write_row(struct csv_writer *w, const struct trace_rec *rec, uint64_t after, struct err *e)
{
    const char *comma = "";

    for (size_t i = 0; i < CSV_COLUMNS; i++)
        if (w->plan->used[i]) {
            add(w, "%s", comma);
            add_cell(w, (enum csv_column)i, rec, after);
            comma = ",";
        }
    add(w, "\n");
    w->n_rows++;
    return flush_row(w, e);
}

static void drop_part(const struct csv_writer *w)
{
    if (strcmp(w->part, w->path) != 0)
        unlink(w->part);
}

bool csv_write_close(struct csv_writer *w, struct err *e)
{
    bool ok;

    errno = 0;
    ok = gzclose(w->file) == Z_OK || failed(w, strerror(errno != 0 ? errno : EIO), e);
    if (ok && strcmp(w->part, w->path) != 0)
        ok = rename(w->part, w->path) == 0 || failed(w, strerror(errno), e);
    if (!ok)
        drop_part(w);
    release(w);
    return ok;
}

void csv_write_abandon(struct csv_writer *w)
{
    gzclose(w->file);
    drop_part(w);
    release(w);
}
