/* cmd_merge.c: `tandem merge`: the runs of several databases into one. */
#include "experiments/commands.h"

#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>

#include "experiments/db.h"
#include "experiments/merge.h"
#include "experiments/options.h"

enum { BUSY_MS = 5000 };

struct input {
    const char **path; /* OUT, then IN... */
    size_t n, cap;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct input *in = state->input;
    if (key != ARGP_KEY_ARG)
        return ARGP_ERR_UNKNOWN;
    in->path = mem_reserve(in->path, &in->cap, in->n + 1, sizeof *in->path);
    in->path[in->n++] = arg;
    return 0;
}

static const struct argp argp = {
    .parser = parse,
    .args_doc = "OUT.db IN.db...",
    .doc = "Copies the runs of databases into OUT.db, which is made if it is not there.\v"
           "Merging a file again changes nothing. Of two different runs with the same "
           "configuration, seed and rep the one that started later stands. Each IN.db is one "
           "transaction.",
};

static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* What cannot be read is refused before OUT is made or changed. */
static bool check_inputs(const struct input *in, struct err *e)
{
    if (in->n < 2)
        return err_set(e, "merge: give OUT.db and at least one IN.db (`tandem merge --help`)");
    for (size_t i = 1; i < in->n; i++) {
        if (same_file(in->path[0], in->path[i]))
            return err_set(e, "merge: %s is both OUT and IN; leave it out of the latter",
                           in->path[i]);
        sqlite3 *db = db_open_read(in->path[i], e);
        if (!db)
            return false;
        sqlite3_close(db);
    }
    return true;
}

static bool merge(const struct input *in, struct err *e)
{
    struct merge_counts n = {0};
    sqlite3 *out = check_inputs(in, e) ? db_open_write(in->path[0], BUSY_MS, e) : NULL;
    bool ok = out != NULL;
    for (size_t i = 1; ok && i < in->n; i++)
        ok = merge_file(out, in->path[i], MERGE_LATER, &n, e);
    ok = db_close_write(out, e) && ok;
    if (ok)
        printf("%s: %" PRIu64 " runs added, %" PRIu64 " replaced by later ones, %" PRIu64
               " left as they were\n",
               in->path[0], n.added, n.replaced, n.kept);
    return ok;
}

int cmd_merge(int argc, char **argv, struct err *e)
{
    struct input in = {.n = 0};
    bool ok = options_parse(&argp, "tandem merge", argc, argv, &in, e) && merge(&in, e);
    mem_free(in.path);
    return ok ? 0 : 2;
}
