/* check_figures.h: what `tandem check` compares: for every point of an experiment and every metric
 * one number a seed. A baseline and a candidate are both read into this form.
 *
 * What must hold: all points have the same seeds; a point is told by its config_hash, its label is
 * for people; a value is finite, or NaN where the run had nothing to measure it on. */
#ifndef EXPERIMENTS_CHECK_FIGURES_H
#define EXPERIMENTS_CHECK_FIGURES_H

#include "experiments/sha256.h"
#include "sim/arena.h"

struct sqlite3;

/* A metric and what counts as a loss of it. `tolerance` and `matters` are in the metric's unit, or
 * shares of the baseline's mean where `relative`. */
struct check_metric {
    char name[32];
    bool higher;      /* is better */
    bool relative;    /* see above */
    double tolerance; /* a loss up to it is accepted */
    double matters;   /* a pass must rule out a loss larger than this [NaN: it need not] */
};

struct check_point {
    const char *label;
    char config_hash[SHA256_HEX];
    bool measured; /* by a real engine or clock: the same run again gives other figures */
    double *value; /* [metric * n_seeds + seed] */
};

struct check_figures {
    uint64_t *seed; /* ascending */
    size_t n_seeds, seed_cap;
    struct check_metric *metric;
    size_t n_metrics, metric_cap;
    struct check_point *point;
    size_t n_points, point_cap;
    size_t left_out; /* points of the candidate that the baseline lacks */
    struct arena memory;
};

void check_figures_init(struct check_figures *f);
void check_figures_release(struct check_figures *f);

/* The value of a metric at a point for each seed. */
const double *check_figures_of(const struct check_figures *f, const struct check_point *p,
                               size_t metric);
const struct check_point *check_figures_find(const struct check_figures *f,
                                             const char *config_hash);

/* Adds a point whose values are all NaN. Seeds and metrics are set by now. */
struct check_point *check_figures_add(struct check_figures *f, const char *label,
                                      const char *config_hash);
void check_figures_add_metric(struct check_figures *f, const struct check_metric *m);
void check_figures_add_seed(struct check_figures *f, uint64_t seed); /* if it is new; unsorted */
void check_figures_sort_seeds(struct check_figures *f);
/* Whether there is such a seed, and where. */
bool check_figures_seed(const struct check_figures *f, uint64_t seed, size_t *i);

/* Reads the runs of a finished database into an empty *f, which is released in either case; `path`
 * is for messages. Repetitions of a seed are averaged. Only the metrics of `metrics`, and only the
 * points of `points`; NULL: the metrics that a gate needs, as far as there are any, and all points.
 * Refused: runs whose limits nobody set, points that differ in their seeds, a database being
 * written. */
bool check_figures_read(struct check_figures *f, struct sqlite3 *db, const char *path,
                        const struct check_figures *metrics, const struct check_figures *points,
                        struct err *e) NODISCARD;

#endif
