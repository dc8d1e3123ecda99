/* bench_kv.c: decode attention under KV policies, one layer of the Llama-3.1-8B shape: 32 query
 * heads on 8 KV heads of 128, pages of 16 tokens of one KV head in a scattered order. Each against
 * full attention in the same run, and against its byte floor: K and V of what is read, once, at the
 * bandwidth of a copy; Quest's bounds; H2O's sums, read and written. */
#include "tests/gpu/bench.h"

#define KV_HEADS 8u
#define GROUP 4u
#define DIM 128u
#define PAGE 16u
#define TOKEN_BYTES (2 * DIM * 2) /* K and V of a KV head */
#define BUDGET 2048u              /* tokens of H2O, Quest, StreamingLLM */
#define DUO_BUDGET (64u + 256u)   /* of half of DuoAttention's heads */

struct cache {
    uint32_t n, context, lists, pages; /* sequences, tokens, KV heads of all, pages of a list */
    uint32_t copies;
    void *kv[COPIES], *bounds[COPIES];
    void *q, *out, *page, *score, *rank, *picked;
    float *mass;
};

/* A policy: what its lists hold, and what they are cut into. */
struct reading {
    struct cache *c;
    struct kv_attn_args args;  /* but kv */
    struct kv_attn_args whole; /* Quest: the lists that it picks from */
    uint32_t pieces;
    uint64_t tokens;
};

/* ---- caches and lists ---- */

static void cache_make(struct cache *c, uint32_t n, uint32_t context)
{
    uint32_t lists = n * KV_HEADS, pages = context / PAGE, all = lists * pages;
    uint32_t *page = mem_alloc(all * sizeof(*page));
    uint64_t slots = (uint64_t)lists * context;

    *c = (struct cache){.n = n, .context = context, .lists = lists, .pages = pages};
    for (uint32_t i = 0; i < all; i++)
        page[i] = (uint32_t)((uint64_t)i * 7919 % all); /* a prime that divides none of ours */
    c->page = gpu_copy(page, all * sizeof(*page));
    c->copies = copies_of(slots * TOKEN_BYTES);
    for (uint32_t i = 0; i < c->copies; i++) {
        c->kv[i] = random_bf16(slots * 2 * DIM, i);
        c->bounds[i] = gpu_poisoned((uint64_t)all * 2 * DIM * sizeof(uint16_t));
    }
    c->q = random_bf16((uint64_t)n * KV_HEADS * GROUP * DIM, COPIES);
    c->out = gpu_poisoned((uint64_t)n * KV_HEADS * GROUP * DIM * sizeof(uint16_t));
    c->score = gpu_poisoned(slots * GROUP * sizeof(float));
    c->mass = gpu_poisoned(slots * sizeof(float));
    CUDA(cudaMemset(c->mass, 0, slots * sizeof(float)));
    c->rank = gpu_poisoned(all * sizeof(float));
    c->picked = gpu_poisoned((uint64_t)lists * (BUDGET / PAGE) * sizeof(uint32_t));
    mem_free(page);
}

static void cache_free(struct cache *c)
{
    void *device[] = {c->q, c->out, c->page, c->score, c->mass, c->rank, c->picked};

    for (size_t i = 0; i < ARRAY_LEN(device); i++)
        CUDA(cudaFree(device[i]));
    for (uint32_t i = 0; i < c->copies; i++) {
        CUDA(cudaFree(c->kv[i]));
        CUDA(cudaFree(c->bounds[i]));
    }
}

/* Lists of `even` and `odd` tokens for KV heads of even and odd number, whose pages are the first
 * of the `stride` that each has in the page table. */
static void reading_make(struct reading *r, struct cache *c, void *page, uint32_t stride,
                         uint32_t even, uint32_t odd)
{
    struct kv_list *list = mem_alloc(c->lists * sizeof(*list));
    uint32_t *start = mem_alloc((c->lists + 1) * sizeof(*start)), target;
    struct cudaDeviceProp gpu;

    CUDA(cudaGetDeviceProperties(&gpu, 0));
    target = engine_target_pieces(&gpu, 1);
    struct decode_piece *piece = mem_alloc((target + c->lists) * sizeof(*piece));
    *r = (struct reading){.c = c};
    for (uint32_t i = 0; i < c->lists; i++) {
        list[i] = (struct kv_list){i * stride, i % 2 ? odd : even, i * c->context};
        r->tokens += list[i].n;
    }
    r->pieces = plan_lists(piece, start, list, c->lists, target);
    r->args = (struct kv_attn_args){
        .q = c->q,
        .out = c->out,
        .q_stride = KV_HEADS * GROUP * DIM,
        .shape = {KV_HEADS * GROUP, KV_HEADS, DIM, PAGE},
        .list = gpu_copy(list, c->lists * sizeof(*list)),
        .page = page,
        .piece = gpu_copy(piece, r->pieces * sizeof(*piece)),
        .piece_start = gpu_copy(start, (c->lists + 1) * sizeof(*start)),
        .partial = gpu_poisoned((uint64_t)r->pieces * GROUP * DIM * sizeof(float)),
        .weight = gpu_poisoned((uint64_t)r->pieces * GROUP * sizeof(float2))};
    mem_free(list);
    mem_free(start);
    mem_free(piece);
}

static void reading_free(struct reading *r)
{
    const void *device[] = {r->args.list, r->args.piece, r->args.piece_start, r->args.partial,
                            r->args.weight};

    for (size_t i = 0; i < ARRAY_LEN(device); i++)
        CUDA(cudaFree((void *)(uintptr_t)device[i]));
}

/* ---- what is timed ---- */

static void run_lists(void *self, uint32_t i)
{
    struct reading *r = self;
    struct kv_attn_args a = r->args;

    a.kv = r->c->kv[i % r->c->copies];
    CUDA(kv_attn_decode(0, &a, r->pieces));
    CUDA(kv_attn_combine(0, &a, r->c->n));
}

static void run_h2o(void *self, uint32_t i)
{
    struct reading *r = self;

    r->args.score = r->c->score;
    run_lists(r, i);
    CUDA(kv_attn_mass(0, &r->args, r->pieces, r->c->mass));
    r->args.score = NULL;
}

static void run_rank(void *self, uint32_t i)
{
    struct reading *r = self;

    CUDA(kv_rank(0, r->c->rank, &r->whole, r->c->bounds[i % r->c->copies], r->c->lists,
                 r->c->context));
}

static void run_pick(void *self, uint32_t i)
{
    struct reading *r = self;

    (void)i;
    CUDA(kv_pick(0, r->c->picked, &r->whole, r->c->rank, r->c->lists, BUDGET / PAGE));
}

static void run_quest(void *self, uint32_t i)
{
    run_rank(self, i);
    run_pick(self, i);
    run_lists(self, i);
}

/* ---- what is printed ---- */

struct context {
    const struct ceilings *ceilings;
    double full_ns;
};

/* `beside`: bytes that are no K or V. */
static void print(const struct context *x, const struct reading *r, const char *what, double ns,
                  double beside)
{
    double bytes = (double)r->tokens * TOKEN_BYTES + beside;

    printf("kv %u x %u, %s: %.1f us, %.0f MB, %.2f x the byte floor, %.2f x as fast as full "
           "(%u pieces)\n",
           r->c->n, r->c->context, what, ns / 1e3, bytes / 1e6,
           ns * x->ceilings->bytes_per_ns / bytes, x->full_ns / ns, r->pieces);
}

/* With H2O's statistics and without, of the same lists. */
static void bench_h2o(struct context *x, struct cache *c, uint32_t tokens, const char *what)
{
    struct reading r;
    double with, without;

    reading_make(&r, c, c->page, c->pages, tokens, tokens);
    without = time_of(run_lists, &r);
    with = time_of(run_h2o, &r);
    print(x, &r, what, with, (double)r.tokens * 2 * sizeof(float));
    printf("kv %u x %u, %s: statistics take %.1f %% more time than without them (%.1f us)\n", c->n,
           c->context, what, 100 * (with / without - 1), without / 1e3);
    reading_free(&r);
}

static void bench_quest(struct context *x, struct cache *c)
{
    struct reading whole, r;
    uint32_t tokens = plan_picked(c->context, BUDGET / PAGE, PAGE);
    double ns;

    reading_make(&whole, c, c->page, c->pages, c->context, c->context);
    for (uint32_t i = 0; i < c->copies; i++) {
        whole.args.kv = c->kv[i];
        CUDA(kv_bounds(0, c->bounds[i], &whole.args, c->lists, c->context));
    }
    reading_make(&r, c, c->picked, BUDGET / PAGE, tokens, tokens);
    r.whole = whole.args;
    ns = time_of(run_quest, &r);
    print(x, &r, "quest 2048", ns, (double)c->lists * c->pages * 2 * DIM * 2);
    printf("kv %u x %u, quest 2048: of it ranks %.1f us, picking %.1f us\n", c->n, c->context,
           time_of(run_rank, &r) / 1e3, time_of(run_pick, &r) / 1e3);
    reading_free(&r);
    reading_free(&whole);
}

static void bench_lists(struct context *x, struct cache *c, uint32_t even, uint32_t odd,
                        const char *what)
{
    struct reading r;
    double ns;

    reading_make(&r, c, c->page, c->pages, even, odd);
    ns = time_of(run_lists, &r);
    if (even == c->context && odd == c->context)
        x->full_ns = ns;
    print(x, &r, what, ns, 0);
    reading_free(&r);
}

void bench_kv(const struct ceilings *ceilings)
{
    static const struct {
        uint32_t n, context;
    } shapes[] = {{32, 16384}, {16, 32768}, {8, 65536}};

    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        struct context x = {.ceilings = ceilings};
        struct cache c;

        cache_make(&c, shapes[i].n, shapes[i].context);
        bench_lists(&x, &c, c.context, c.context, "full");
        bench_h2o(&x, &c, c.context, "h2o of all");
        bench_h2o(&x, &c, BUDGET, "h2o 2048");
        bench_quest(&x, &c);
        bench_lists(&x, &c, c.context, DUO_BUDGET, "duo 50 %");
        bench_lists(&x, &c, BUDGET, BUDGET, "streaming 2048");
        cache_free(&c);
    }
}
