/* hold.c: see hold.h. */
#include "sim/hold.h"

uint32_t hold_always(void *self, const struct sched_view *v)
{
    (void)self;
    (void)v;
    return HOLD_FOREVER;
}

uint32_t hold_while_none_wait(void *self, const struct sched_view *v)
{
    (void)self;
    return v->n_waiting == 0 ? HOLD_FOREVER : 1;
}

uint32_t hold_until_admission(void *self, const struct sched_view *v)
{
    (void)self;
    return v->n_waiting == 0 || v->n_running >= v->limits->max_num_seqs ? HOLD_FOREVER : 1;
}
