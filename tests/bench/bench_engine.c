/* bench_engine.c: what a simulated run costs, by size, by load and by replicas: requests, steps and
 * running slots a second, and memory. Each run is a process of its own, so that its CPU time and
 * its peak of memory are its own; nothing is stored. Prints three tables; fails where the cost a
 * request is not flat, or memory grows faster than the replicas.
 *
 * Usage: bench_engine [MOST]   (100000: the largest run, requests)
 *
 * A slot is a request in a step: a token that was put out. CPU time, not wall time: another program
 * on the machine costs it little. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "experiments/run_job.h"

#define FLAT 0.2 /* what the cost a request, or memory a replica, may grow by with their number */
#define TIMES 3  /* a run is repeated, the least time counts */
#define LONG_S 2 /* unless it took so long */
#define SETTINGS_MAX 4

struct point {
    double requests, steps, leapt, slots, throughput_rps;
    double cpu_s, start_s, rss_mb; /* start_s: before the first event */
};

struct setting {
    const char *key, *value;
};

static double cpu_seconds(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static double metric(const struct run_job *j, const char *name)
{
    return json_number_value(json_object_get(j->tee.summary, name));
}

static bool simulate(const struct setting *set, struct point *p, struct err *e)
{
    struct run_options o = {.quiet = true, .no_requests = true};
    struct run_job j;
    bool ok = true;

    run_job_init(&j);
    for (size_t i = 0; i < SETTINGS_MAX && set[i].key && ok; i++)
        ok = config_set(&j.config, set[i].key, set[i].value, e);
    config_resolve(&j.config);
    ok = ok && run_job_compose(&j, NULL, e);
    double from = cpu_seconds();
    ok = ok && run_job_run(&j, NULL, &o, e);
    if (ok)
        *p = (struct point){.requests = (double)j.result.requests,
                            .steps = (double)j.result.steps,
                            .leapt = (double)j.result.leapt,
                            .slots = metric(&j, "output_throughput_tps") * metric(&j, "duration_s"),
                            .throughput_rps = metric(&j, "request_throughput_rps"),
                            .cpu_s = cpu_seconds() - from,
                            .start_s = from};
    run_job_release(&j);
    return ok;
}

static void child(const struct setting *set, int to)
{
    struct err e = {0};
    struct point p;

    if (!simulate(set, &p, &e)) {
        fprintf(stderr, "bench_engine: %s\n", e.text);
        _exit(2);
    }
    _exit(write(to, &p, sizeof(p)) == sizeof(p) ? 0 : 2);
}

static struct point once(const struct setting *set)
{
    struct point p = {0};
    struct rusage use;
    int fd[2], status;

    if (pipe(fd) != 0) {
        perror("bench_engine: pipe");
        exit(2);
    }
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        child(set, fd[1]);
    close(fd[1]);
    bool ok = pid > 0 && read(fd[0], &p, sizeof(p)) == sizeof(p);
    close(fd[0]);
    if (!ok || wait4(pid, &status, 0, &use) != pid || status != 0)
        exit(2);
    p.rss_mb = (double)use.ru_maxrss / 1024;
    return p;
}

static struct point measure(const struct setting *set)
{
    struct point best = once(set);

    for (int i = 1; i < TIMES && best.cpu_s < LONG_S; i++) {
        struct point p = once(set);
        if (p.cpu_s < best.cpu_s)
            best = p;
    }
    return best;
}

/* Of the default lengths, arriving at `rate` a second. */
static struct point measure_load(double rate, uint64_t n)
{
    char spec[96];
    const struct setting set[SETTINGS_MAX] = {{"trace", spec}, {"enable_prefix_caching", "false"}};

    snprintf(spec, sizeof(spec), "generate:poisson,n=%llu,rate=%.6g", (unsigned long long)n, rate);
    return measure(set);
}

static void print_point(const struct point *p)
{
    printf(" %9.3f %9.2f %10.0f %10.0f %11.0f %6.1f %8.1f\n", p->cpu_s,
           1e6 * p->cpu_s / p->requests, p->requests / p->cpu_s, p->steps / p->cpu_s,
           p->slots / p->cpu_s, 100 * p->leapt / p->steps, p->rss_mb);
}

static void print_header(const char *first)
{
    printf("%12s %9s %9s %10s %10s %11s %6s %8s\n", first, "CPU s", "us/req", "requests/s",
           "steps/s", "slots/s", "leapt%", "MB");
}

static bool by_size(double rate, uint64_t most)
{
    double least = HUGE_VAL, largest = 0;

    puts("\nBy size, at half of capacity");
    print_header("requests");
    for (uint64_t n = 10000; n <= most; n *= 10) {
        struct point p = measure_load(rate, n);
        double cost = p.cpu_s / p.requests;

        printf("%12llu", (unsigned long long)n);
        print_point(&p);
        least = MIN(least, cost);
        largest = MAX(largest, cost);
    }
    bool flat = largest <= least * (1 + FLAT);
    printf("cost a request: %.0f %% between the least and the most%s\n",
           100 * (largest / least - 1), flat ? "" : ": NOT FLAT");
    return flat;
}

static void by_load(double capacity_rps)
{
    static const double loads[] = {0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.2, 1.5};

    printf("\nBy load, of a capacity of %.1f requests/s\n", capacity_rps);
    print_header("load");
    for (size_t i = 0; i < ARRAY_LEN(loads); i++) {
        struct point p = measure_load(loads[i] * capacity_rps, 10000);

        printf("%12.2f", loads[i]);
        print_point(&p);
        printf("%12s %9.1f ns a step, %.2f ns a slot, %.1f slots a step\n", "",
               1e9 * p.cpu_s / p.steps, 1e9 * p.cpu_s / p.slots, p.slots / p.steps);
    }
}

/* Half of capacity on every replica, as many requests each. */
static bool by_replicas(double rate, uint64_t most)
{
    double before = 0, mb = 0, least_kb = HUGE_VAL;
    bool linear = true;

    puts("\nBy replicas, power_of_two, 10 requests each");
    print_header("replicas");
    for (uint64_t n = 100; n <= MIN(most / 10, 10000); n *= 10) {
        char spec[96], count[24];
        const struct setting set[SETTINGS_MAX] = {
            {"trace", spec}, {"replicas", count}, {"router", "power_of_two"}};

        snprintf(spec, sizeof(spec), "generate:poisson,n=%llu,rate=%.6g",
                 (unsigned long long)(10 * n), rate * (double)n);
        snprintf(count, sizeof(count), "%llu", (unsigned long long)n);
        struct point p = measure(set);

        printf("%12llu", (unsigned long long)n);
        print_point(&p);
        double kb = 1024 * (p.rss_mb - mb) / ((double)n - before);

        printf("%12s %9.1f kB a replica more\n", "", kb);
        linear = linear && kb <= least_kb * (1 + FLAT);
        least_kb = MIN(least_kb, kb);
        before = (double)n;
        mb = p.rss_mb;
    }
    printf("memory grows %s\n",
           linear ? "no faster than the replicas" : "FASTER THAN THE REPLICAS");
    return linear;
}

int main(int argc, char **argv)
{
    char *end = NULL;
    uint64_t most = argc > 1 ? strtoull(argv[1], &end, 10) : 100000;
    static const struct setting saturated[SETTINGS_MAX] = {
        {"trace", "generate:poisson,n=10000,rate=100000"}, {"enable_prefix_caching", "false"}};

    if (argc > 2 || most < 10000 || (end && *end != '\0')) {
        fprintf(stderr, "usage: bench_engine [MOST]   (requests, 10000 or more)\n");
        return 2;
    }
    double capacity = once(saturated).throughput_rps;
    bool flat = by_size(capacity / 2, most);
    by_load(capacity);
    return flat && by_replicas(capacity / 2, most) ? 0 : 1;
}
