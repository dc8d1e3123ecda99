/* names.h: strings as small dense ids in order of first appearance (tenants, SLO classes). */
#ifndef SIM_NAMES_H
#define SIM_NAMES_H

#include "sim/base.h"

struct names {
    char **text;
    size_t n, cap;
    uint32_t *table; /* open addressing; id + 1, 0 = empty */
    size_t table_len;
};

#define NAMES_NONE UINT32_MAX

void names_init(struct names *n);
void names_release(struct names *n);
uint32_t names_id(struct names *n, const char *text);         /* adds it if new */
uint32_t names_find(const struct names *n, const char *text); /* NAMES_NONE if absent */
const char *names_text(const struct names *n, uint32_t id);   /* "" for NAMES_NONE */

#endif
