/* validate_report.h: what `tandem validate` prints. */
#ifndef EXPERIMENTS_VALIDATE_REPORT_H
#define EXPERIMENTS_VALIDATE_REPORT_H

#include <stdio.h>

#include "experiments/run_job.h"
#include "experiments/validate_compare.h"

struct validation {
    const char *path; /* of what was measured */
    const struct measured *measured;
    const struct run_job *job;
    uint64_t unmeasured; /* simulated requests without a row */
    struct comparison all, without_first;
    struct figure *summary; /* of a database; n_summary of them */
    size_t n_summary;
    const struct bound *bound;
    size_t n_bounds;
};

bool validation_passed(const struct validation *v); /* no bound was missed */
void validation_print(const struct validation *v, FILE *out);
/* json_decref it; NULL: some name is not UTF-8. */
json_t *validation_json(const struct validation *v) NODISCARD;

#endif
