/* csv_write.h: writes records as our own trace format (csv.h). All records are looked at first
 * (csv_plan_add), so that the file has just the columns that say something, and ids of the trace's
 * own blocks; then all are written.
 *
 * What our format cannot say: that an output goes on in a shared stream where the prompt has
 * segments of its own (counted in csv_plan.unsaid). */
#ifndef TRACES_CSV_WRITE_H
#define TRACES_CSV_WRITE_H

#include "sim/trace.h"
#include "traces/csv.h"
#include "traces/row_file.h"

struct csv_plan {
    const struct trace_env *env;
    bool used[CSV_COLUMNS];
    uint32_t block_tokens; /* of prefix_hashes */
    bool as_blocks;        /* so far, segments are just such blocks */
    uint64_t unsaid;       /* records */
};

void csv_plan_init(struct csv_plan *p, const struct trace_env *env, const struct trace_traits *t);
void csv_plan_add(struct csv_plan *p, const struct trace_rec *rec);

struct csv_writer {
    const struct csv_plan *plan;
    struct row_file file; /* the caller closes or abandons it */
    uint64_t n_rows;
};

/* After false there is nothing to close. */
bool csv_write_open(struct csv_writer *w, const char *path, const struct csv_plan *plan,
                    struct err *e) NODISCARD;
/* `after`: the row (counted from 0) that this one follows; ignored for timed records. */
bool csv_write_row(struct csv_writer *w, const struct trace_rec *rec, uint64_t after,
                   struct err *e) NODISCARD;

#endif
