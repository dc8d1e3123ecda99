/* baseline.h: the committed figures that `tandem check` holds a candidate against: JSON that people
 * review, one line a figure.
 *
 *   {"tandem_baseline": 1, "schema": 1,
 *    "metrics": {"slo_attainment": {"better": "higher", "tolerance": 0, "matters": 0.01},
 *                "ttft_ms_p99": {"better": "lower", "relative": true, "tolerance": 0}, ...},
 *    "points": [{"point": LABEL, "config_hash": HEX,
 *                "figures": {"slo_attainment": {"1": 0.98, "2": 0.97, ...}, ...}}, ...]}
 *
 * Members of a figure are seeds. `metrics` is what is compared: a line less, and the metric is not;
 * struct check_metric says what its members mean. Writing a baseline anew keeps them. */
#ifndef EXPERIMENTS_BASELINE_H
#define EXPERIMENTS_BASELINE_H

#include "experiments/check_figures.h"

/* Into an empty *f, which is released in either case. Refused with the place: what is no baseline,
 * one of another version, and figures that lack a seed or are no numbers. */
bool baseline_read(struct check_figures *f, const char *path, struct err *e) NODISCARD;

/* Replaces the file in one step. */
bool baseline_write(const struct check_figures *f, const char *path, struct err *e) NODISCARD;

#endif
