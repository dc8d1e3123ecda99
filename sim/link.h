/* link.h: a link (PCIe, NVLink, a disk) with a bandwidth and a latency a transfer, shared fairly
 * among the transfers that are on it (processor sharing). A transfer spends `latency_ns` first,
 * then moves its bytes at bandwidth / (number of transfers moving bytes).
 *
 * Time is pushed in by the caller; nothing here reads a clock. Only + - * / on doubles decide a
 * time, rounded up to the next ns once. */
#ifndef SIM_LINK_H
#define SIM_LINK_H

#include "sim/base.h"

struct link_transfer {
    uint64_t tag;                 /* the caller's: which request */
    uint64_t number;              /* the link's own count: ties and order */
    ns_t submitted_at, starts_at; /* starts_at = submitted_at + latency */
    double bytes_left;
};

struct link {
    double bytes_per_ns;
    ns_t latency_ns;
    ns_t now; /* state below is as of this time */
    uint64_t n_submitted;
    struct link_transfer *t; /* on the link, in order of submission */
    size_t n, cap;
    uint64_t generation; /* grows with every change: an event for an older one is stale */
};

void link_init(struct link *l, double bytes_per_s, ns_t latency_ns);
void link_release(struct link *l);
uint64_t link_submit(struct link *l, ns_t now, uint64_t bytes, uint64_t tag); /* its number */
ns_t link_next_at(const struct link *l); /* when the next one completes; NS_NEVER if none */
/* Settles the link to `now` and hands out one completed transfer, lowest number first; false when
 * none is left. */
bool link_take_done(struct link *l, ns_t now, struct link_transfer *out);
void link_cancel(struct link *l, ns_t now, uint64_t number); /* absent: nothing happens */

#endif
