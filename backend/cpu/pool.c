#include "backend/cpu/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define MAX_THREADS 256u
#define SPINS 1000 /* some ten microseconds: as long as what lies between two loops of a layer */
#define OPEN 0x80000000u

/* A loop's function, argument and items are written while no worker is in a loop, and read by those
 * that joined it, which they can while it is OPEN. So nobody waits for a worker that sleeps or was
 * preempted before it came: the others do its share. `lock` is only for sleeping and waking. */
struct pool {
    uint32_t n_threads;
    pthread_t *thread; /* [n_threads - 1]; the caller is thread 0 */
    uint32_t started;
    pool_fn *fn;
    void *arg;
    uint32_t n_items;
    atomic_uint next;   /* item to take */
    atomic_uint inside; /* workers in the loop, and OPEN */
    atomic_uint loop;   /* counts loops */
    atomic_bool stop;
    pthread_mutex_t lock;
    pthread_cond_t begun, ended;
};

struct worker {
    struct pool *pool;
    uint32_t thread;
};

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void take_items(struct pool *p, uint32_t thread)
{
    uint32_t item;

    while ((item = atomic_fetch_add(&p->next, 1)) < p->n_items)
        p->fn(p->arg, item, thread);
}

/* Waits until `loop` is no longer `seen`. */
static unsigned await_loop(struct pool *p, unsigned seen)
{
    for (int i = 0; i < SPINS && atomic_load(&p->loop) == seen; i++)
        relax();
    if (atomic_load(&p->loop) == seen) {
        pthread_mutex_lock(&p->lock);
        while (atomic_load(&p->loop) == seen)
            pthread_cond_wait(&p->begun, &p->lock);
        pthread_mutex_unlock(&p->lock);
    }
    return atomic_load(&p->loop);
}

static bool join_loop(struct pool *p)
{
    unsigned inside = atomic_load(&p->inside);

    while (inside & OPEN)
        if (atomic_compare_exchange_weak(&p->inside, &inside, inside + 1))
            return true;
    return false;
}

static void leave_loop(struct pool *p)
{
    if (atomic_fetch_sub(&p->inside, 1) == 1) { /* closed, and this was the last one */
        pthread_mutex_lock(&p->lock);
        pthread_cond_signal(&p->ended);
        pthread_mutex_unlock(&p->lock);
    }
}

static void *work(void *arg)
{
    struct worker w = *(struct worker *)arg;
    struct pool *p = w.pool;
    unsigned seen = 0;

    mem_free(arg);
    for (;;) {
        seen = await_loop(p, seen);
        if (atomic_load(&p->stop))
            return NULL;
        if (join_loop(p)) {
            take_items(p, w.thread);
            leave_loop(p);
        }
    }
}

static void begin_loop(struct pool *p)
{
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->loop, 1);
    pthread_cond_broadcast(&p->begun);
    pthread_mutex_unlock(&p->lock);
}

/* No worker joins any more; waits for those inside. */
static void end_loop(struct pool *p)
{
    atomic_fetch_and(&p->inside, ~OPEN);
    for (int i = 0; i < SPINS && atomic_load(&p->inside) > 0; i++)
        relax();
    if (atomic_load(&p->inside) == 0)
        return;
    pthread_mutex_lock(&p->lock);
    while (atomic_load(&p->inside) > 0)
        pthread_cond_wait(&p->ended, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

void pool_run(struct pool *p, uint32_t n_items, pool_fn *fn, void *arg)
{
    if (p->n_threads == 1 || n_items <= 1) {
        for (uint32_t i = 0; i < n_items; i++)
            fn(arg, i, 0);
        return;
    }
    p->fn = fn;
    p->arg = arg;
    p->n_items = n_items;
    atomic_store(&p->next, 0);
    atomic_store(&p->inside, OPEN);
    begin_loop(p);
    take_items(p, 0);
    end_loop(p);
}

static bool start(struct pool *p, uint32_t thread, struct err *e)
{
    struct worker *w = mem_alloc(sizeof(*w));
    int code;

    *w = (struct worker){p, thread};
    code = pthread_create(&p->thread[thread - 1], NULL, work, w);
    if (code == 0)
        return true;
    mem_free(w);
    return err_set(e, "cpu: thread %u of %u does not start: %s; take fewer threads", thread + 1,
                   p->n_threads, strerror(code));
}

struct pool *pool_open(uint32_t n_threads, struct err *e)
{
    struct pool *p = mem_alloc(sizeof(*p));
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    if (n_threads == 0)
        n_threads = cores > 0 ? (uint32_t)cores : 1;
    p->n_threads = MIN(n_threads, MAX_THREADS);
    p->thread = mem_alloc(p->n_threads * sizeof(*p->thread));
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->begun, NULL);
    pthread_cond_init(&p->ended, NULL);
    for (p->started = 1; p->started < p->n_threads; p->started++) {
        if (!start(p, p->started, e)) {
            pool_close(p);
            return NULL;
        }
    }
    return p;
}

uint32_t pool_threads(const struct pool *p)
{
    return p->n_threads;
}

void pool_close(struct pool *p)
{
    if (!p)
        return;
    atomic_store(&p->stop, true);
    begin_loop(p);
    for (uint32_t i = 1; i < p->started; i++)
        pthread_join(p->thread[i - 1], NULL);
    pthread_cond_destroy(&p->ended);
    pthread_cond_destroy(&p->begun);
    pthread_mutex_destroy(&p->lock);
    mem_free(p->thread);
    mem_free(p);
}
