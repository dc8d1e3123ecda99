/* merge.h: copies the runs of one database into another one. What must hold: one transaction a
 * file; a run comes with all its rows or not at all; merging a file twice changes nothing. */
#ifndef EXPERIMENTS_MERGE_H
#define EXPERIMENTS_MERGE_H

#include "sim/base.h"

struct sqlite3;

/* What becomes of a run whose key (config_hash, seed, rep) is there already. */
enum merge_rule {
    MERGE_LATER, /* the one that started later stands, in whatever order files come; equal ones
                    (program, inputs and digest) stay as they are */
    MERGE_NEW,   /* what is merged stands, as with `run` */
};

struct merge_counts {
    uint64_t added, replaced, kept; /* runs; kept: those that were there and stay */
};

/* Adds what it did to *n. Refuses a file that is no database of this schema, and one whose tables
 * are not the same as those of `out`, which db_open_write opened. */
bool merge_file(struct sqlite3 *out, const char *in, enum merge_rule rule, struct merge_counts *n,
                struct err *e) NODISCARD;

#endif
