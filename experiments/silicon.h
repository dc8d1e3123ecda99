/* silicon.h: closed-loop points: a table, such as aiconfigurator's silicon_sample, that has one
 * TTFT and one TPOT for each (GPU, model, engine, lengths, concurrency); and how such a point was
 * measured, as far as that is documented. */
#ifndef EXPERIMENTS_SILICON_H
#define EXPERIMENTS_SILICON_H

#include "experiments/config.h"
#include "experiments/measured_requests.h"

struct silicon_point {
    const char *group; /* "SYSTEM MODEL ENGINE VERSION DTYPE" */
    const char *system, *model_path, *engine, *version, *dtype, *source;
    const char *model; /* the preset's id */
    uint32_t isl, osl, concurrency, tp;
    double ttft_ms, tpot_ms; /* measured; NaN: not said */
    uint64_t line;
    const char *skipped; /* why it cannot be simulated; NULL: it can */
};

struct silicon {
    struct silicon_point *point; /* by group, then as in the file */
    size_t n, cap;
    struct arena strings;
};

/* Whether the file's header has the columns of such a table. */
bool silicon_is(const char *path, bool *is, struct err *e) NODISCARD;

/* Rows whose columns have those values. After false, release it too. */
bool silicon_read(struct silicon *s, const char *path, const struct measured_where *where, size_t n,
                  struct err *e) NODISCARD;
void silicon_release(struct silicon *s);

/* Sets what the point says and what is documented of its harness; nothing else, and nothing that
 * was fitted to such points. */
bool silicon_configure(const struct silicon_point *p, struct config *c, struct err *e) NODISCARD;

/* How many requests of the point are sent. */
uint32_t silicon_requests(const struct silicon_point *p);

/* The harnesses that are known, one a line, for people. i past the end: NULL. */
const char *silicon_harness_doc(size_t i);

#endif
