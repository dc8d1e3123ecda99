/* profile_defaults.h: what a profile, of measured operators or fitted, says about a configuration:
 * which model and GPU it is of, and which backend reads it (contract.md section 1, `run`). */
#ifndef EXPERIMENTS_PROFILE_DEFAULTS_H
#define EXPERIMENTS_PROFILE_DEFAULTS_H

#include "experiments/config.h"
#include "sim/model.h"

/* Sets `backend`, `model` and `gpu` where they are not set and there is a `profile`. What is set
 * to something that does not go with the profile is an error. Resolve the configuration after it.
 */
bool profile_defaults(struct config *c, struct err *e) NODISCARD;

/* Whether the profile was measured on this model and GPU. Nothing to check without a profile. */
bool profile_agrees(const struct config *c, const struct model_desc *m, const struct gpu_desc *g,
                    struct err *e) NODISCARD;

#endif
