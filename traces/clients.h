/* clients.h: tenants that are made up as clients of a closed loop: each keeps some requests in
 * flight, and so many of its requests in a row begin alike, as questions about one document do.
 *
 * Request i is sent by the loop i modulo the number of loops, when that one's last request has
 * finished. The loops are dealt to the tenants by their shares, and shuffled. */
#ifndef TRACES_CLIENTS_H
#define TRACES_CLIENTS_H

#include "sim/rng.h"
#include "sim/trace.h"

struct clients_config {
    size_t n_loops;         /* >= 1: requests in flight, of all tenants */
    uint32_t alike;         /* requests in a row of a tenant with the same prefix, >= 1 */
    uint64_t n_prefixes;    /* of a tenant, which come again in turn; 0: always new ones */
    uint32_t prefix_tokens; /* at most the prompt's less one */
};

struct clients {
    struct clients_config c;
    uint32_t *tenant; /* owned: of each loop */
    uint64_t *sent;   /* owned: requests of each tenant so far */
    struct segment segment[2];
};

/* `share`: cumulative, as zipf_fill makes it. */
void clients_init(struct clients *k, const struct clients_config *c, const double *share,
                  size_t n_tenants, uint64_t seed);
void clients_release(struct clients *k);

/* Which tenant (0, 1, ...) sends request `seq`. */
uint32_t clients_tenant(const struct clients *k, uint64_t seq);

/* Says of request `seq`, whose prompt length is set, what it follows and what it begins with. To be
 * called for 0, 1, 2, ... */
void clients_place(struct clients *k, uint64_t seq, struct trace_rec *rec);

#endif
