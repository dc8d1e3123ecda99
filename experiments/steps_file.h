/* steps_file.h: measured steps from a file: a CSV of anybody's (columns below) or a database with
 * stored steps. */
#ifndef EXPERIMENTS_STEPS_FILE_H
#define EXPERIMENTS_STEPS_FILE_H

#include "backend/measured.h"

struct steps_file {
    struct measured_step *step;
    size_t n, cap;
    bool says_held_out;      /* it has the column held_out */
    char model[64], gpu[64]; /* of a database's run; "" for CSV */
    char note[256];          /* what it says of itself: a CSV's first comment line */
};

/* The columns of a CSV, for --help. */
#define STEPS_CSV_COLUMNS                                                                          \
    "duration_ns, n_decode, n_prefill, prefill_tokens, decode_context (required); run, held_out "  \
    "(1: judged only), host_ns (part of the duration that the engine model adds), decode_tokens "  \
    "(one a sequence), prefill_history (0), prefill_pairs (as of equal prompts), "                 \
    "prefill_context_max (of the longest prompt; not known)"

bool steps_read_csv(struct steps_file *f, const char *path, struct err *e) NODISCARD;

/* run_id 0: the only run that has steps. */
bool steps_read_db(struct steps_file *f, const char *path, int64_t run_id, struct err *e) NODISCARD;

bool steps_is_db(const char *path);
struct measured_step *steps_add(struct steps_file *f); /* zeroed, at the end */
void steps_release(struct steps_file *f);

#endif
