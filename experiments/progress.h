/* progress.h: how far a long run is: one line that keeps changing on a terminal, one line a minute
 * elsewhere, on stderr. */
#ifndef EXPERIMENTS_PROGRESS_H
#define EXPERIMENTS_PROGRESS_H

#include <time.h>

#include "sim/base.h"

struct progress {
    struct timespec began;
    double shown_s; /* since began, when it was last shown */
    double every_s;
    bool terminal;
};

void progress_begin(struct progress *p);
double progress_seconds(const struct progress *p); /* since begin, wall time */
/* As sim_config.progress has it: simulated time and requests done. */
void progress_show(void *p, ns_t now, uint64_t done);
/* Of `total` pieces of work; those of them that `kept` counts were done before. */
void progress_show_work(struct progress *p, const char *what, uint64_t done, uint64_t kept,
                        uint64_t total);
void progress_end(struct progress *p); /* takes the line off the terminal */

#endif
