/* workers.c: see workers.h. One SOCK_SEQPACKET socket a worker: an item goes there as one message,
 * the answer comes back as one, and its end tells that the worker is gone. */
#include "experiments/workers.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct answer {
    uint64_t item;
    bool ok;
    char why[sizeof((struct err *)0)->text];
};

struct worker {
    pid_t pid; /* 0: not running */
    int fd;
    bool busy;
    uint64_t item; /* while busy */
};

struct pool {
    const struct workers_job *job;
    struct worker *worker;
    struct pollfd *pollfd;
    unsigned n;
};

/* ---- in a worker ---- */

/* Until the other end is closed. */
static void serve(const struct workers_job *job, int fd)
{
    uint64_t item;
    while (recv(fd, &item, sizeof item, 0) == (ssize_t)sizeof item) {
        struct err e = {0};
        struct answer a = {.item = item};
        a.ok = job->work(job->self, item, &e);
        memcpy(a.why, e.text, sizeof a.why);
        if (send(fd, &a, sizeof a, MSG_NOSIGNAL) != (ssize_t)sizeof a)
            return;
    }
}

/* Only its own socket stays open: else another worker would not see the end of its own. */
static void begin_worker(struct pool *p, pid_t parent, int fd)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (unsigned i = 0; i < p->n; i++)
        if (p->worker[i].pid != 0)
            close(p->worker[i].fd);
    if (getppid() == parent) /* else it died before prctl */
        serve(p->job, fd);
}

/* ---- here ---- */

static bool start(struct pool *p, struct worker *w, struct err *e)
{
    int fd[2];
    pid_t parent = getpid();
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd) != 0)
        return err_set(e, "workers: no socket: %s; use a smaller -j", strerror(errno));
    fflush(NULL); /* else what is buffered would be written twice */
    pid_t pid = fork();
    if (pid < 0) {
        err_set(e, "workers: no process: %s; use a smaller -j", strerror(errno));
        close(fd[0]);
        close(fd[1]);
        return false;
    }
    if (pid == 0) {
        close(fd[0]);
        begin_worker(p, parent, fd[1]);
        _exit(0);
    }
    close(fd[1]);
    *w = (struct worker){.pid = pid, .fd = fd[0]};
    return true;
}

/* Collects a worker that has ended or is about to; says how in words. */
static void reap(struct worker *w, char *why, size_t size)
{
    int status = 0;
    close(w->fd);
    while (waitpid(w->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (WIFSIGNALED(status))
        snprintf(why, size, "its process was killed by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(why, size, "its process ended with exit code %d", WEXITSTATUS(status));
    *w = (struct worker){0};
}

/* Gives an idle worker an item if there is one. */
static bool assign(struct pool *p, struct worker *w, struct err *e)
{
    uint64_t item;
    if (w->busy || !p->job->next(p->job->self, &item))
        return true;
    if (w->pid == 0 && !start(p, w, e))
        return false;
    w->busy = true;
    w->item = item;
    /* If it is gone already, reading says so. */
    (void)send(w->fd, &item, sizeof item, MSG_NOSIGNAL);
    return true;
}

/* A message, or the end of a worker. */
static bool receive(struct pool *p, struct worker *w, struct err *e)
{
    struct answer a = {.item = w->item};
    enum work_result result = WORK_DIED;
    bool busy = w->busy;
    if (recv(w->fd, &a, sizeof a, 0) == (ssize_t)sizeof a) {
        CHECK(busy && a.item == w->item, "workers: an answer is about the item that was given",
              "%llu, not %llu", (unsigned long long)a.item, (unsigned long long)w->item);
        result = a.ok ? WORK_DONE : WORK_FAILED;
        w->busy = false;
        if (!assign(p, w, e))
            return false;
    } else {
        reap(w, a.why, sizeof a.why);
    }
    return !busy || p->job->done(p->job->self, a.item, result, a.why, e);
}

static bool any_busy(const struct pool *p)
{
    for (unsigned i = 0; i < p->n; i++)
        if (p->worker[i].busy)
            return true;
    return false;
}

static bool wait_for_some(struct pool *p, struct err *e)
{
    enum { TICK_MS = 200 };
    for (unsigned i = 0; i < p->n; i++)
        p->pollfd[i] =
            (struct pollfd){.fd = p->worker[i].pid ? p->worker[i].fd : -1, .events = POLLIN};
    int ready = poll(p->pollfd, p->n, TICK_MS);
    p->job->tick(p->job->self);
    for (unsigned i = 0; ready > 0 && i < p->n; i++)
        if (p->pollfd[i].revents && !receive(p, &p->worker[i], e))
            return false;
    return true;
}

static bool serve_all(struct pool *p, struct err *e)
{
    for (;;) {
        for (unsigned i = 0; i < p->n; i++)
            if (!assign(p, &p->worker[i], e))
                return false;
        if (!any_busy(p))
            return true;
        if (!wait_for_some(p, e))
            return false;
    }
}

bool workers_run(const struct workers_job *job, unsigned n, struct err *e)
{
    char why[128];
    struct pool p = {.job = job,
                     .worker = mem_alloc(n * sizeof *p.worker),
                     .pollfd = mem_alloc(n * sizeof *p.pollfd),
                     .n = n};
    bool ok = serve_all(&p, e);
    for (unsigned i = 0; i < n; i++)
        if (p.worker[i].pid != 0) {
            kill(p.worker[i].pid, SIGKILL); /* idle, or what it does is not wanted any more */
            reap(&p.worker[i], why, sizeof why);
        }
    mem_free(p.worker);
    mem_free(p.pollfd);
    return ok;
}

unsigned workers_cpus(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return (unsigned)CPU_COUNT(&set);
    return 1; /* more CPUs than the set holds: -j says how many */
}
