/* lattice.h: measured values between and beyond the points where they were measured.
 *
 * A curve is a list of rows (x, y), a lattice one of rows (key, ..., key, value) in up to five
 * axes. Between rows both are linear (log space was 9 to 14 % off for other simulators), at a row
 * they are the row. Beyond the last row a value goes on with the slope from the row at half that
 * key to the last one (neighbouring rows may lie so close that their noise is all they tell), but
 * never falls; before the first row it is that of the first row. `outside` says when that happened.
 *
 * Lattices are ragged: grids of different steps laid over each other, corners never measured. Axis
 * after axis a query is bracketed among the keys that this very slice has, and of those only where
 * the slice behind the key was measured from the query's last key down; the rest would answer with
 * the value at their own first row, which may be far off. Where no slice was, all of them count.
 *
 * Rows are given in any order and only read. A value costs a binary search an axis: tens of ns. */
#ifndef BACKEND_LATTICE_H
#define BACKEND_LATTICE_H

#include "sim/arena.h"

#define LATTICE_AXES_MAX 5u

struct curve {
    const double *x, *y; /* x ascending */
    uint32_t n;          /* 0: no such curve */
    double slope;        /* beyond the last row, >= 0 */
};

struct lattice_row {
    double key[LATTICE_AXES_MAX]; /* from axis 0 on */
    double value;
    uint64_t line; /* in its file, for messages */
};

struct lattice_node;

struct lattice {
    const struct lattice_node *root; /* NULL: empty */
    uint32_t axes;
    bool flat; /* ends hold: beyond the last row its value, and every slice answers below its first;
                  for factors near 1. False when built */
};

/* Sorts the rows. Two rows with equal keys: false, and *twice is the line of the second. */
bool curve_build(struct curve *c, struct arena *a, struct lattice_row *row, size_t n,
                 uint64_t *twice) NODISCARD;
bool lattice_build(struct lattice *l, struct arena *a, uint32_t axes, struct lattice_row *row,
                   size_t n, uint64_t *twice) NODISCARD;

/* *outside becomes true when x lies outside the rows; else it is left alone. */
double curve_at(const struct curve *c, double x, bool *outside);
double lattice_at(const struct lattice *l, const double *key, bool *outside);

/* sum += times * c. The sum's rows are those of both; an empty one becomes times * c. */
void curve_add(struct curve *sum, struct arena *a, const struct curve *c, double times);

#endif
