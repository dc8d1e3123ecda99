/* cmd_report.c: `tandem report DB`: the table, then pictures, the page, timelines, and CSV. */
#include "experiments/commands.h"

#include <sqlite3.h>
#include <stdio.h>

#include "experiments/db.h"
#include "experiments/options.h"
#include "experiments/report.h"
#include "experiments/report_file.h"

struct input {
    const char *db, *out, *experiment;
    bool csv;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct input *in = state->input;

    if (key == 'o')
        in->out = arg;
    else if (key == 'e')
        in->experiment = arg;
    else if (key == 'c')
        in->csv = true;
    else if (key == ARGP_KEY_ARG && !in->db)
        in->db = arg;
    else
        return ARGP_ERR_UNKNOWN;
    return 0;
}

static const struct argp_option options[] = {
    {"out", 'o', "DIR", 0, "Where all files go (out)", 0},
    {"experiment", 'e', "NAME", 0, "Only the runs of this experiment", 0},
    {"csv", 'c', NULL, 0, "Also write every table and view as DIR/<table>.csv", 0},
    {0},
};

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .args_doc = "DB",
    .doc =
        "Shows what a results database holds: a table here; in DIR report.html, one page with "
        "tables, pictures and provenance that needs no network; the pictures as PNG and SVG; and "
        "trace-RUN.json, a run over time for ui.perfetto.dev or chrome://tracing, with every "
        "step of runs stored with --steps. A database that is being written to is read as it "
        "was at the start.",
};

static bool write_files(sqlite3 *db, const struct input *in, struct err *e)
{
    struct report_pictures pictures;

    if ((in->csv && !report_csv(db, in->experiment, in->out, e)) ||
        !report_plots(db, in->experiment, in->out, &pictures, stdout, e) ||
        !report_html(db, in->experiment, in->out, &pictures, e))
        return false;
    printf("Page     %s/report.html\n", in->out);
    return report_traces(db, in->experiment, in->out, stdout, e);
}

/* In one transaction, so that all of it is of the same moment; before anything is said it is known
 * that there is something to say, and where to write. */
static bool report(sqlite3 *db, const struct input *in, struct err *e)
{
    if (!db_exec(db, "BEGIN", e) || !report_make_dir(in->out, e) ||
        !report_table(db, in->experiment, stdout, e))
        return false;
    fputc('\n', stdout);
    return write_files(db, in, e);
}

int cmd_report(int argc, char **argv, struct err *e)
{
    struct input in = {.out = "out"};
    sqlite3 *db;
    bool ok;

    if (!options_parse(&argp, "tandem report", argc, argv, &in, e))
        return 2;
    if (!in.db) {
        err_set(e, "tandem report: no database; name the file that `tandem run --db FILE` wrote");
        return 2;
    }
    db = db_open_read(in.db, e);
    if (!db)
        return 2;
    ok = report(db, &in, e);
    sqlite3_close(db);
    return ok ? 0 : 2;
}
