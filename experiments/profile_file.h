/* profile_file.h: a folder of `tandem profile`: profile.json says what was measured on what,
 * steps.csv holds the steps (a CSV for `calibrate`), FITTED_IN_FOLDER the cost model that was
 * fitted to them. */
#ifndef EXPERIMENTS_PROFILE_FILE_H
#define EXPERIMENTS_PROFILE_FILE_H

#include "experiments/profiler.h"

#define PROFILE_JSON "profile.json"
#define PROFILE_STEPS "steps.csv"
#define PROFILE_PATH_MAX 4096

struct profile_about {
    char model[64], gpu[64]; /* ids of the descriptions that a run names */
    char backend[16], dtype[16], engine[32];
    char device[256]; /* what the steps ran on, in the backend's words */
    char note[256];   /* of who measured; "" */
};

/* Whether the folder is one of ours. */
bool profile_is_ours(const char *dir);
/* dir/name into `path`; `name` NULL: dir itself. */
bool profile_path(char path[PROFILE_PATH_MAX], const char *dir, const char *name,
                  struct err *e) NODISCARD;

bool profile_about_read(struct profile_about *a, const char *dir, struct err *e) NODISCARD;
/* With the limits of the steps, the program's revision and the host. */
bool profile_about_write(const struct profile_about *a, const struct limits *l,
                         const struct profile_swaps *s, const char *dir, struct err *e) NODISCARD;

/* Writes steps.csv: the head, then a row a point, each on the disk when the call returns. */
FILE *profile_steps_open(const struct profile_about *a, const char *dir, struct err *e) NODISCARD;
bool profile_steps_put(FILE *f, const struct profile_point *p, struct err *e) NODISCARD;

#endif
