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

/* Whether it is time to show how far things are. */
static bool is_due(struct progress *p, double s)
{
    if (s - p->shown_s < p->every_s)
        return false;
    p->shown_s = s;
    return true;
}

void progress_show(void *self, ns_t now, uint64_t done)
{
    struct progress *p = self;
    double s = progress_seconds(p);
    if (is_due(p, s))
        fprintf(stderr, "%s%llu requests done, %.0f per second; %.0f s simulated in %.0f s%s",
                p->terminal ? ERASE_LINE : "", (unsigned long long)done, (double)done / s,
                (double)now / (double)NS_PER_S, s, p->terminal ? "" : "\n");
}

void progress_show_work(struct progress *p, const char *what, uint64_t done, uint64_t kept,
                        uint64_t total)
{
    double s = progress_seconds(p);
    if (!is_due(p, s))
        return;
    double rate = (double)(done - kept) / s;
    fprintf(stderr, "%s%llu of %llu %s, %.3g per second", p->terminal ? ERASE_LINE : "",
            (unsigned long long)done, (unsigned long long)total, what, rate);
    if (rate > 0)
        fprintf(stderr, "; %.0f s left", (double)(total - done) / rate);
    fputs(p->terminal ? "" : "\n", stderr);
}

void progress_end(struct progress *p)
{
    if (p->terminal && p->shown_s > 0)
        fputs(ERASE_LINE, stderr);
}
