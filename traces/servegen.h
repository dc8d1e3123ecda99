/* servegen.h: where the other half of a ServeGen workload lies. */
#ifndef TRACES_SERVEGEN_H
#define TRACES_SERVEGEN_H

#include "sim/base.h"

/* The file of lengths beside a file of rates: X__rates.csv[.gz] has X__lengths_quantiles.csv[.gz].
 * NULL if the name is no such name; else the caller's. */
char *servegen_lengths_path(const char *rates_path) NODISCARD;

#endif
