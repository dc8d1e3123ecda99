/* profile_steps.h: steps put together from a profile of measured operators, as backend `table` does
 * it, for the fit; and how well the fit's terms follow each operator. */
#ifndef EXPERIMENTS_PROFILE_STEPS_H
#define EXPERIMENTS_PROFILE_STEPS_H

#include "backend/profile.h"
#include "experiments/steps_file.h"

#include "backend/fit.h"

#define PROFILE_OPERATORS_MAX (N_OPS + 3u)

struct profile_steps {
    struct profile_operator {
        const char *name;
        struct fit_error error; /* of held-out rows */
    } operator[PROFILE_OPERATORS_MAX];
    size_t n_operators;
};

struct profile_query {
    const char *path;
    const char *model, *gpu; /* NULL: what the profile names */
    uint32_t tp;
    double hold_out;
    uint64_t seed;
};

/* `steps->model` and `gpu` become the descriptions' ids. Release `steps` after false, too. */
bool profile_steps_read(struct profile_steps *p, struct steps_file *steps,
                        const struct profile_query *q, struct err *e) NODISCARD;

#endif
