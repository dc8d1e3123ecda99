/* cmd_check.c: `tandem check`: the gate. A candidate, a database or an experiment that is run now,
 * against a committed baseline. */
#include "experiments/commands.h"

#include <errno.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "experiments/baseline.h"
#include "experiments/check_print.h"
#include "experiments/db.h"
#include "experiments/options.h"
#include "experiments/sweep.h"
#include "experiments/workers.h"

struct input {
    const char *candidate, *baseline, *junit, *markdown;
    bool update, strict, json;
};

enum { OPT_BASELINE = 256, OPT_UPDATE, OPT_STRICT, OPT_JUNIT, OPT_MARKDOWN, OPT_JSON };

static const struct argp_option options[] = {
    {"baseline", OPT_BASELINE, "FILE", 0, "The figures to hold the candidate against (JSON)", 1},
    {"update", OPT_UPDATE, NULL, 0, "Write the candidate's figures to the baseline instead", 1},
    {"strict", OPT_STRICT, NULL, 0, "Fail also where the verdict is inconclusive", 1},
    {"junit", OPT_JUNIT, "FILE", 0, "Also write a JUnit report", 1},
    {"markdown", OPT_MARKDOWN, "FILE", 0, "Also write a table in Markdown", 1},
    {"json", OPT_JSON, NULL, 0, "JSON instead of a table", 1},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct input *in = state->input;
    switch (key) {
    case OPT_BASELINE:
        in->baseline = arg;
        return 0;
    case OPT_UPDATE:
        in->update = true;
        return 0;
    case OPT_STRICT:
        in->strict = true;
        return 0;
    case OPT_JUNIT:
        in->junit = arg;
        return 0;
    case OPT_MARKDOWN:
        in->markdown = arg;
        return 0;
    case OPT_JSON:
        in->json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (in->candidate)
            return ARGP_ERR_UNKNOWN;
        in->candidate = arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .args_doc = "DB|EXPERIMENT.json --baseline FILE",
    .doc = "Compares SLO attainment, goodput, latencies and fairness with a baseline.\v"
           "A candidate with the baseline's seeds is compared seed by seed: what a simulation "
           "gives differently is the program's doing. One with other seeds is compared as a "
           "sample: the table says how small a loss that finds. Exit code 1: a regression.",
};

/* ---- the candidate ---- */

static bool is_database(const char *path, bool *yes, struct err *e)
{
    static const char magic[] = "SQLite format 3";
    char head[sizeof magic] = {0};
    FILE *f = fopen(path, "rb");
    if (!f)
        return err_set(e, "%s: cannot be read: %s", path, strerror(errno));
    size_t n = fread(head, 1, sizeof head, f);
    bool ok = !ferror(f) || err_set(e, "%s: cannot be read: %s", path, strerror(errno));
    fclose(f);
    *yes = n == 0 || memcmp(head, magic, sizeof magic) == 0; /* an empty file is an empty one */
    return ok;
}

/* What of a candidate is read (check_figures_read). */
struct wanted {
    const struct check_figures *metrics, *points; /* [all] */
};

/* `name` is what messages call it. */
static bool read_database(struct check_figures *f, const char *db, const char *name,
                          const struct wanted *w, struct err *e)
{
    sqlite3 *handle = db_open_read(db, e);
    bool ok = handle && check_figures_read(f, handle, name, w->metrics, w->points, e);
    sqlite3_close(handle);
    return ok;
}

static void print_report(void *self, const char *line)
{
    (void)self;
    fprintf(stderr, "tandem: check: %s\n", line);
}

static bool run_experiment(const char *path, const char *db, struct err *e)
{
    const struct sweep_options o = {
        .db = db, .jobs = workers_cpus(), .shards = 1, .report = print_report};
    struct experiment x = {0};
    struct sweep_outcome out;
    bool ok = experiment_load(&x, path, e) && sweep_run(&x, &o, &out, e);
    if (ok && out.failed > 0)
        ok = err_set(e,
                     "%s: %" PRIu64 " of %" PRIu64 " points failed; mend what the lines above say",
                     path, out.failed, out.run + out.failed);
    experiment_release(&x);
    return ok;
}

/* Into a database of its own, which is removed. */
static bool read_experiment(struct check_figures *f, const char *path, const struct wanted *w,
                            struct err *e)
{
    const char *tmp = getenv("TMPDIR");
    char dir[3072], db[sizeof dir + 16];
    int n = snprintf(dir, sizeof dir, "%s/tandem-check-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (n < 0 || (size_t)n >= sizeof dir || !mkdtemp(dir))
        return err_set(e, "%s: no folder for its runs: %s; set TMPDIR to one with space", dir,
                       strerror(errno));
    snprintf(db, sizeof db, "%s/runs.db", dir);
    bool ok = run_experiment(path, db, e) && read_database(f, db, path, w, e);
    (void)unlink(db);
    (void)rmdir(dir);
    return ok;
}

static bool read_candidate(struct check_figures *f, const struct input *in, const struct wanted *w,
                           struct err *e)
{
    bool database = false;
    if (!is_database(in->candidate, &database, e))
        return false;
    return database ? read_database(f, in->candidate, in->candidate, w, e)
                    : read_experiment(f, in->candidate, w, e);
}

/* ---- the outcome ---- */

static bool write_file(const struct check_print *p, const char *path,
                       void (*print)(const struct check_print *, FILE *), struct err *e)
{
    FILE *out = fopen(path, "w");
    if (!out)
        return err_set(e, "%s: cannot be written: %s", path, strerror(errno));
    print(p, out);
    bool ok = !ferror(out);
    ok = fclose(out) == 0 && ok;
    return ok || err_set(e, "%s: cannot be written: %s", path, strerror(errno));
}

static bool print(const struct check_print *p, const struct input *in, struct err *e)
{
    if ((in->junit && !write_file(p, in->junit, check_print_junit, e)) ||
        (in->markdown && !write_file(p, in->markdown, check_print_markdown, e)))
        return false;
    if (!in->json) {
        check_print_text(p, stdout);
        return true;
    }
    json_t *json = check_json(p);
    json_dumpf(json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
    putchar('\n');
    json_decref(json);
    return true;
}

/* The exit code. */
static int check(const struct input *in, struct err *e)
{
    struct check_figures base, cand;
    struct check c = {.n = 0};
    const struct wanted wanted = {&base, &base};
    const struct check_print p = {&c, in->baseline, in->candidate, in->strict};
    check_figures_init(&base);
    check_figures_init(&cand);
    bool ok = baseline_read(&base, in->baseline, e) && read_candidate(&cand, in, &wanted, e) &&
              check_compare(&c, &base, &cand, in->baseline, in->candidate, e) && print(&p, in, e);
    int code = !ok ? 2 : check_failed(&p);
    check_release(&c);
    check_figures_release(&cand);
    check_figures_release(&base);
    return code;
}

/* What a baseline that is there compares, and how, stays. */
static bool update(const struct input *in, struct err *e)
{
    struct check_figures old, now;
    check_figures_init(&old);
    check_figures_init(&now);
    bool had = access(in->baseline, F_OK) == 0;
    const struct wanted wanted = {had ? &old : NULL, NULL};
    bool ok = (!had || baseline_read(&old, in->baseline, e)) &&
              read_candidate(&now, in, &wanted, e) && baseline_write(&now, in->baseline, e);
    if (ok)
        printf("%s: %zu points, %zu metrics, %zu seeds\n", in->baseline, now.n_points,
               now.n_metrics, now.n_seeds);
    check_figures_release(&now);
    check_figures_release(&old);
    return ok;
}

int cmd_check(int argc, char **argv, struct err *e)
{
    struct input in = {.update = false};
    if (!options_parse(&argp, "tandem check", argc, argv, &in, e))
        return 2;
    if (!in.candidate || !in.baseline) {
        err_set(e, "check: give a DB or an EXPERIMENT.json, and --baseline FILE (`tandem check "
                   "--help`)");
        return 2;
    }
    if (in.update)
        return update(&in, e) ? 0 : 2;
    return check(&in, e);
}
