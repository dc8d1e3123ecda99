/* profiler.h: measures whole steps of a real engine over a grid of batches, through the very calls
 * that the core makes (backend_ops), so that what a step takes here is what it takes in a run.
 *
 * The KV pool is filled by real prefills first, in stages: many sequences of a length that fills
 * the memory, then fewer and longer ones that go on from those. A point of the grid decodes or
 * prefills at a place inside what is resident: it computes the same tokens again and leaves the
 * pool as it was. What must hold: no batch is beyond the limits, no sequence is named twice in one,
 * none reads what was never computed. */
#ifndef EXPERIMENTS_PROFILER_H
#define EXPERIMENTS_PROFILER_H

#include <stdio.h>

#include "sim/backend.h"
#include "sim/content.h"
#include "sim/rng.h"

/* A batch that was measured: medians of `repeats` after one more that is not counted. */
struct profile_point {
    const char *part; /* of the grid: "fill", "decode", ... */
    uint32_t run;     /* its number, another in each stage */
    const struct batch_shape *shape;
    ns_t wall_ns, spread_ns; /* spread: between the shortest and the longest */
    double device_ns;
    uint32_t repeats;
    bool held_out;
};

struct profile_swap {
    bool out;
    uint32_t blocks;
    ns_t ns; /* from asking to being done; a median */
};

#define PROFILE_SWAPS_MAX 16u

struct profile_swaps {
    struct profile_swap at[PROFILE_SWAPS_MAX];
    size_t n;
};

struct profiler {
    const struct backend_ops *ops;
    void *self; /* the backend's; NULL: batches are only counted */
    struct limits limits;
    uint32_t random_batches; /* of each kind that is drawn by chance, in a stage */
    /* Told of each point. [NULL] */
    bool (*on_point)(void *, const struct profile_point *, struct err *);
    void *on_point_self;

    uint64_t points; /* so far */

    /* ---- its own ---- */
    struct rng rng;
    struct content *content;     /* of each slot */
    uint32_t *length;            /* of each slot: tokens that are resident; 0: not attached */
    uint32_t n_seqs;             /* this stage's sequences: slots 0 .. n_seqs - 1 */
    uint32_t tokens;             /* resident of each */
    uint32_t beyond;             /* what the stage before had: this one is about more */
    uint32_t stage, part_number; /* for `run` */
    const char *part;
    struct batch_seq *seq; /* the batch that is being formed */
    uint32_t n;
    struct batch_shape shape;
    uint64_t step, swaps_begun;
};

/* limits, ops, self and seed decide what is measured. Everything is released by profiler_release.
 */
void profiler_init(struct profiler *p, const struct backend_ops *ops, void *self,
                   const struct limits *l, uint64_t seed);
void profiler_release(struct profiler *p);

/* Swaps of several sizes, out and in, while the pool is empty; nothing without a swap tier. */
bool profiler_swaps(struct profiler *p, struct profile_swaps *out, struct err *e) NODISCARD;
/* Fills the pool and measures the grid, stage by stage. */
bool profiler_steps(struct profiler *p, struct err *e) NODISCARD;

/* ---- for the grid (profile_grid.c) ---- */

void profiler_part(struct profiler *p, const char *name); /* what follows belongs to it */
/* Adds to the batch: one token read behind `context - 1` others; a chunk behind `history`. */
void profiler_decode(struct profiler *p, uint32_t slot, uint32_t context);
void profiler_prompt(struct profiler *p, uint32_t slot, uint32_t history, uint32_t chunk);
/* Measures the batch, and begins the next one. */
bool profiler_measure(struct profiler *p, struct err *e) NODISCARD;

/* The points of a stage, whose pool is filled. */
bool profile_grid(struct profiler *p, struct err *e) NODISCARD;

#endif
