#include "experiments/progress.h"

#include <stdio.h>
#include <unistd.h>

#define ERASE_LINE "\r\033[K"

void progress_begin(struct progress *p)
{
    *p = (struct progress){.terminal = isatty(STDERR_FILENO) == 1};
    p->every_s = p->terminal ? 0.2 : 60;
    clock_gettime(CLOCK_MONOTONIC, &p->began);
}

double progress_seconds(const struct progress *p)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - p->began.tv_sec) + (double)(now.tv_nsec - p->began.tv_nsec) * 1e-9;
}

void progress_show(void *self, ns_t now, uint64_t done)
{
    struct progress *p = self;
    double s = progress_seconds(p);
    if (s - p->shown_s < p->every_s)
        return;
    p->shown_s = s;
    fprintf(stderr, "%s%llu requests done, %.0f per second; %.0f s simulated in %.0f s%s",
            p->terminal ? ERASE_LINE : "", (unsigned long long)done, (double)done / s,
            (double)now / (double)NS_PER_S, s, p->terminal ? "" : "\n");
}

void progress_end(struct progress *p)
{
    if (p->terminal && p->shown_s > 0)
        fputs(ERASE_LINE, stderr);
}
