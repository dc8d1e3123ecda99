/* report_timeline.c: what one run did over time: queue, batches, KV cache, preemptions. From the
 * stored steps where there are some (--steps), else from the samples that every run has. */
#include "experiments/report_plot.h"

#include <sqlite3.h>
#include <string.h>

#include "experiments/db.h"
#include "experiments/report_file.h"

enum { MAX_RUNS = 4 };

#define SAMPLES                                                                                    \
    "SELECT at_ns / 1e9, value FROM timeline WHERE run_id = ?1 AND series = ?2 ORDER BY at_ns"
/* In 300 parts of the run's time; those without a step have no point. */
#define STEPS(value)                                                                               \
    "SELECT min(at_ns) / 1e9, " value " FROM steps, (SELECT max(at_ns) / 300 + 1 AS part FROM"     \
    " steps WHERE run_id = ?1) WHERE run_id = ?1 AND ?2 <> '' GROUP BY at_ns / part ORDER BY 1"

/* A file holds the blocks of its name. */
static const struct {
    const char *file, *name, *sql, *series;
} blocks[] = {
    {"queue", "waiting", SAMPLES, "waiting"},
    {"queue", "running", SAMPLES, "running"},
    {"kv", "held by requests", SAMPLES, "kv_utilisation"},
    {"batch", "tokens in a batch (samples)", SAMPLES, "batch_tokens"},
    {"steps", "prompt tokens (mean, logarithmic)", STEPS("avg(prefill_tokens)"), "steps"},
    {"steps", "output tokens", STEPS("avg(decode_tokens)"), "steps"},
    {"preempted", "preempted so far", STEPS("sum(sum(preempted)) OVER (ORDER BY min(at_ns))"),
     "steps"},
};

/* Blocks from `first` on that are of one file; returns the first of the next. */
static bool put_file(struct plots *p, size_t run, size_t *first, struct err *e)
{
    const char *what = blocks[*first].file;
    struct report_file file;
    char name[64];
    size_t n = 0;
    bool ok = true;

    snprintf(name, sizeof(name), "timeline_%zu_%s.dat", run + 1, what);
    if (!report_file_open(&file, p->data, name, e))
        return false;
    for (; *first < ARRAY_LEN(blocks) && strcmp(blocks[*first].file, what) == 0; ++*first) {
        sqlite3_stmt *stmt = ok ? db_prepare(p->db, blocks[*first].sql, e) : NULL;

        ok = stmt && plot_bind(stmt, p->runs.run[run].id, blocks[*first].series, e) &&
             plot_put_block(file.f, stmt, blocks[*first].name, &n, e);
        sqlite3_finalize(stmt);
    }
    fprintf(p->settings, "n_timeline_%zu_%s = %zu\n", run + 1, what, n);
    return report_file_close(&file, ok, e);
}

/* All series of the picture, over more than a moment? */
static bool has_samples(struct plots *p, int64_t run_id, bool *has, struct err *e)
{
    sqlite3_stmt *stmt =
        db_prepare(p->db,
                   "SELECT 1 FROM timeline WHERE run_id = ?1 AND at_ns > 0 AND series IN (?2,"
                   " 'running', 'kv_utilisation', 'batch_tokens') GROUP BY run_id"
                   " HAVING count(DISTINCT series) = 4",
                   e);
    bool ok = stmt && plot_bind(stmt, run_id, "waiting", e) && db_step(stmt, has, e);

    sqlite3_finalize(stmt);
    return ok;
}

bool plot_timelines(struct plots *p, struct err *e)
{
    for (size_t i = 0; i < MIN(p->runs.n, (size_t)MAX_RUNS); i++) {
        bool has = false;

        if (!has_samples(p, p->runs.run[i].id, &has, e))
            return false;
        if (!has)
            continue;
        for (size_t k = 0; k < ARRAY_LEN(blocks);)
            if (!put_file(p, i, &k, e))
                return false;
        fprintf(p->settings, "timeline_title_%zu = ", i + 1);
        plot_put_quoted(p->settings, p->runs.run[i].name, '\'');
        fputc('\n', p->settings);
        plot_add(p, "timeline", i + 1);
    }
    return true;
}
