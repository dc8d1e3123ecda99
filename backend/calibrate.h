/* calibrate.h: from measured steps to a fitted cost model. */
#ifndef BACKEND_CALIBRATE_H
#define BACKEND_CALIBRATE_H

#include "backend/fitted_model.h"

/* Marks a share of the steps as held out: whole runs where there are ten or more, else single
 * steps; which ones, the stream "calibrate" of `seed` says. Returns how, in words. */
const char *calibrate_hold_out(struct measured_step *step, size_t n, double share, uint64_t seed);

/* Fits `out->term`, `range` and `fitted_steps` to the steps that are not held out and judges the
 * others. Every regime counts: its residuals are measured by its own spread, so that a rare one is
 * not cast out as outliers; of each run and regime a fixed number of steps is fitted at most. The
 * caller fills in names and sources. */
bool calibrate_fit(struct fitted_model *out, const struct measured_step *step, size_t n,
                   struct err *e) NODISCARD;

#endif
