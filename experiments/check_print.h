/* check_print.h: the outcome of a comparison for people and for machines. */
#ifndef EXPERIMENTS_CHECK_PRINT_H
#define EXPERIMENTS_CHECK_PRINT_H

#include <jansson.h>
#include <stdio.h>

#include "experiments/check_compare.h"

/* What the outcome is about, and how it is taken. */
struct check_print {
    const struct check *check;
    const char *baseline, *candidate; /* files */
    bool strict;                      /* inconclusive fails */
};

bool check_failed(const struct check_print *p);

void check_print_text(const struct check_print *p, FILE *out);
void check_print_markdown(const struct check_print *p, FILE *out); /* of GitHub's kind */
/* A suite a point, a case a metric; inconclusive ones are skipped, or fail where that is strict. */
void check_print_junit(const struct check_print *p, FILE *out);
json_t *check_json(const struct check_print *p) NODISCARD;

#endif
