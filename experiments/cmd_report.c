/* cmd_report.c: `tandem report DB`: the table, then data files and pictures, or CSV. */
#include "experiments/commands.h"

#include <sqlite3.h>
#include <stdio.h>

#include "experiments/db.h"
#include "experiments/options.h"
#include "experiments/report.h"

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
    {"out", 'o', "DIR", 0, "Where pictures, their data and CSV files go (out)", 0},
    {"experiment", 'e', "NAME", 0, "Only the runs of this experiment", 0},
    {"csv", 'c', NULL, 0, "Also write every table and view as DIR/<table>.csv", 0},
    {0},
};

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .args_doc = "DB",
    .doc = "Shows what a results database holds: a table here, pictures (PNG and SVG) in DIR.",
};

static bool report(sqlite3 *db, const struct input *in, struct err *e)
{
    if (!report_table(db, in->experiment, stdout, e) ||
        (in->csv && !report_csv(db, in->experiment, in->out, e)))
        return false;
    fputc('\n', stdout);
    return report_plots(db, in->experiment, in->out, stdout, e);
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
