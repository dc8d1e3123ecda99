/* metric_names.h: what `summary.metric` may be, for `tandem list metrics`. Definitions: the
 * contract, section 4. */
#ifndef EXPERIMENTS_METRIC_NAMES_H
#define EXPERIMENTS_METRIC_NAMES_H

#include "sim/base.h"

struct metric_name {
    char name[32];
    const char *unit, *doc;
};

bool metric_name_at(size_t i, struct metric_name *out); /* false: past the end */

#endif
