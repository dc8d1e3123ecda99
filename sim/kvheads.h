/* kvheads.h: a figure for each layer and KV head, from a file of lines "LAYER HEAD VALUE" ('#'
 * begins a comment): what `tandem quality heads` writes, what duo and the budget table read. */
#ifndef SIM_KVHEADS_H
#define SIM_KVHEADS_H

#include "sim/params.h"

/* The file that kv.heads names; NULL: none. */
const char *kv_heads_path(const struct params *p);
/* value[layers * heads], each given exactly once, finite and not below 0. */
bool kv_heads_read(const char *path, uint32_t layers, uint32_t heads, double *value,
                   struct err *e) NODISCARD;

#endif
