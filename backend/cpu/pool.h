/* pool.h: threads that share the items of a loop. Who takes which item is chance, so an item must
 * write what no other item touches: then results do not depend on the number of threads. */
#ifndef BACKEND_CPU_POOL_H
#define BACKEND_CPU_POOL_H

#include "sim/base.h"

struct pool;

/* `item` is 0..n_items-1; `thread` is 0..n_threads-1, for scratch memory of its own. */
typedef void pool_fn(void *arg, uint32_t item, uint32_t thread);

struct pool *pool_open(uint32_t n_threads, struct err *e) NODISCARD; /* 0: one a core */
uint32_t pool_threads(const struct pool *p);
/* Runs fn for every item and returns when all are done. The caller's thread works, too. */
void pool_run(struct pool *p, uint32_t n_items, pool_fn *fn, void *arg);
void pool_close(struct pool *p); /* NULL is fine */

#endif
