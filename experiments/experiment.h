/* experiment.h: an experiment file (contract.md section 5): a base configuration and axes, whose
 * product is a list of configurations, each of which runs with every seed and repetition.
 *
 * An axis is a configuration key with its values, or, under a name of one's own, an array of
 * objects that set several keys at once: {"policy": [{"label": "SJF", "scheduler": "sjf"}, ...]}.
 * Axes win over `base`.
 *
 * What must hold: after experiment_load nothing in the file is unchecked. Each configuration has
 * been composed once, so that whatever is refused at the start of a run is refused before the first
 * one; no two are the same. Seeds are those of the file for every configuration alike: policies are
 * compared on common random numbers. */
#ifndef EXPERIMENTS_EXPERIMENT_H
#define EXPERIMENTS_EXPERIMENT_H

#include "experiments/config.h"

struct experiment_config {
    json_t *flat; /* as in struct config: what is set, all but seed and rep */
    char *label;  /* tells it from the others: "scheduler=vtc, trace.rate_scale=2" */
    char config_hash[SHA256_HEX], inputs_sha256[SHA256_HEX];
};

struct experiment {
    char *name, *claim; /* claim: "" if there is none */
    struct experiment_config *config;
    size_t n_configs;
    uint64_t *seed;
    size_t n_seeds;
    uint32_t n_reps;
};

/* A run of it. Points count from 0: configurations in the order of their axes, the last axis
 * fastest, within them seeds, within them repetitions. */
struct experiment_point {
    const struct experiment_config *config;
    uint64_t seed;
    uint32_t rep;
};

/* Release it in either case. */
bool experiment_load(struct experiment *x, const char *path, struct err *e) NODISCARD;
void experiment_release(struct experiment *x);

uint64_t experiment_points(const struct experiment *x);
struct experiment_point experiment_point(const struct experiment *x, uint64_t i);

/* The configuration of a point, resolved, into an empty one. */
void experiment_point_config(const struct experiment_point *p, struct config *c);

#endif
