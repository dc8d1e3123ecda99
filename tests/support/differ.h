/* differ.h: the cases of the differential test: what tests/reference and the engine both run. */
#ifndef TESTS_SUPPORT_DIFFER_H
#define TESTS_SUPPORT_DIFFER_H

#include "tests/support/lab.h"

/* A random workload under random limits, engine and predictor; schedulers take turns, so that as
 * many seeds in a row as there are schedulers meet each. The caller frees what it returns with
 * mem_free, after the lab. */
struct segment *differ_case(struct lab *l, uint64_t seed);

#endif
