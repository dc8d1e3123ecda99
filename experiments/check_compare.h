/* check_compare.h: a candidate against a baseline, and what to make of it.
 *
 * A figure (a metric at a point) is
 *   regression    its interval holds no loss as small as the tolerance. Where the same seeds were
 *                 simulated again, differences are exact, so that two more are: any loss of the
 *                 mean SLO attainment beyond the tolerance, and one of another metric that comes
 *                 with no seed where it got better;
 *   improvement   its interval holds no loss at all; of exact differences: the mean attainment
 *                 rose, or no seed got worse and some better;
 *   inconclusive  neither, and a loss that matters (struct check_metric) is not ruled out with
 *                 95 %; or exact and worse on average; or without a value on seeds where it had
 * one; pass          else. The whole is a regression if a figure is, else inconclusive, else an
 * improvement if one is. */
#ifndef EXPERIMENTS_CHECK_COMPARE_H
#define EXPERIMENTS_CHECK_COMPARE_H

#include "experiments/check_figures.h"
#include "experiments/check_stats.h"

enum check_verdict { CHECK_PASS, CHECK_IMPROVEMENT, CHECK_INCONCLUSIVE, CHECK_REGRESSION };

struct check_row {
    const struct check_point *point; /* of the baseline */
    const struct check_metric *metric;
    struct stats_figure figure;
    size_t missing; /* values the candidate has fewer than the baseline */
    enum check_verdict verdict;
};

struct check {
    const struct check_figures *base, *cand;
    struct stats_design design;
    bool exact;            /* the same seeds, simulated: what differs is the program's doing */
    struct check_row *row; /* figures that anybody has a value of: by point, then by metric */
    size_t n;
    size_t count[CHECK_REGRESSION + 1]; /* rows of each verdict */
    enum check_verdict verdict;
};

/* Both must live as long as *c. false: the baseline does not apply, or seeds are neither all the
 * same nor all different, or too few. Release it in either case. */
bool check_compare(struct check *c, const struct check_figures *base,
                   const struct check_figures *cand, const char *baseline, const char *candidate,
                   struct err *e) NODISCARD;
void check_release(struct check *c);

const char *check_verdict_name(enum check_verdict v);

#endif
