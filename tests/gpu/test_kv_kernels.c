/* test_kv_kernels.c: decode attention over lists of pages, a list a KV head, against plain loops in
 * double; H2O's sums of attention; and Quest's choice of pages against the CPU's policy. Lists are
 * ragged, pages scattered, and every slot that no token has is NaN. */
#include "tests/gpu/gpu.h"

#include "policies/registry.h"
#include "sim/kvrule.h"

#define ROWS 4
#define KV_HEADS 3
#define LISTS (ROWS * KV_HEADS)
#define MAX_TOKENS 1000
#define CASES 50

static const uint32_t odd[] = {1, 3, 7, 16, 31}, groups[] = {1, 3, 4, 8, 16};
/* DuoAttention: the heads of a sequence differ. */
static const uint32_t lengths[LISTS] = {1, 15, 63, 64, 65, 31, 1000, 300, 16, 2, 777, 128};
static const uint32_t keeps[] = {1, 2, 5, 40};

struct lists {
    struct attn_shape shape;
    uint32_t group, n_pages, n_slots, q_stride;
    struct kv_list list[LISTS], picked[LISTS];
    uint32_t *page; /* [n_pages]: page table; pages of the pool in random order */
    double *q, *kv, *want;
    size_t n_kv, n_out;
    struct kv_attn_args args;
};

static uint32_t pages_of(const struct lists *l, uint32_t list)
{
    return div_ceil_u32(lengths[list], l->shape.block_size);
}

/* Element 0 of K (0) or V of a place of a page. */
static const double *row_at(const struct lists *l, uint32_t page, uint32_t which, uint32_t place)
{
    return l->kv + (((size_t)page * 2 + which) * l->shape.block_size + place) * l->shape.head_dim;
}

static void fill(struct lists *l, struct rng *r)
{
    uint32_t size = l->shape.block_size, d = l->shape.head_dim;

    for (uint32_t i = 0; i < l->n_pages; i++)
        l->page[i] = i;
    for (uint32_t i = l->n_pages; i > 1; i--) {
        uint32_t j = (uint32_t)rng_below(r, i), t = l->page[j];

        l->page[j] = l->page[i - 1];
        l->page[i - 1] = t;
    }
    for (size_t i = 0; i < l->n_kv; i++)
        l->kv[i] = (double)NAN;
    for (uint32_t k = 0; k < LISTS; k++)
        for (uint32_t t = 0; t < lengths[k]; t++)
            for (uint32_t which = 0; which < 2; which++) {
                size_t row = (size_t)l->page[l->list[k].table + t / size] * 2 + which;

                for (uint32_t i = 0; i < d; i++)
                    l->kv[(row * size + t % size) * d + i] =
                        (which == 0 ? 3 : 1) * (2 * rng_unit(r) - 1);
            }
}

static void lists_make(struct lists *l, uint32_t group, uint32_t block_size, uint32_t head_dim)
{
    struct rng r;

    rng_init(&r, group * 100 + block_size, "lists");
    *l = (struct lists){.shape = {group * KV_HEADS, KV_HEADS, head_dim, block_size},
                        .group = group,
                        .q_stride = (group + 2) * KV_HEADS * head_dim};
    for (uint32_t k = 0; k < LISTS; k++) {
        l->list[k] = (struct kv_list){l->n_pages, lengths[k], l->n_slots};
        l->n_pages += pages_of(l, k);
        l->n_slots += div_ceil_u32(lengths[k], PLAN_PIECE_STEP) * PLAN_PIECE_STEP;
    }
    l->page = mem_alloc(l->n_pages * sizeof(*l->page));
    l->n_kv = (size_t)l->n_pages * 2 * block_size * head_dim;
    l->kv = mem_alloc(l->n_kv * sizeof(*l->kv));
    fill(l, &r);
    l->q = random_values(&r, (size_t)ROWS * l->q_stride);
    l->n_out = (size_t)ROWS * l->shape.heads * head_dim;
    l->want = mem_alloc(l->n_out * sizeof(*l->want));
    l->args = (struct kv_attn_args){.q = gpu_array(ELEM_BF16, l->q, (size_t)ROWS * l->q_stride),
                                    .out = gpu_poisoned(l->n_out * sizeof(uint16_t)),
                                    .kv = gpu_array(ELEM_BF16, l->kv, l->n_kv),
                                    .q_stride = l->q_stride,
                                    .shape = l->shape,
                                    .list = gpu_copy(l->list, sizeof(l->list)),
                                    .page = gpu_copy(l->page, l->n_pages * sizeof(*l->page))};
}

/* Pieces of `list`, and room for what they leave. Returns how many. */
static uint32_t cut(struct lists *l, const struct kv_list *list, uint32_t target)
{
    uint32_t start[LISTS + 1], n;
    struct decode_piece *piece = mem_alloc((target + LISTS) * sizeof(*piece));

    n = plan_lists(piece, start, list, LISTS, target);
    l->args.piece = gpu_copy(piece, n * sizeof(*piece));
    l->args.piece_start = gpu_copy(start, sizeof(start));
    l->args.partial = gpu_poisoned((size_t)n * l->group * l->shape.head_dim * sizeof(float));
    l->args.weight = gpu_poisoned((size_t)n * l->group * sizeof(float2));
    mem_free(piece);
    return n;
}

static void release(const void *device)
{
    CUDA(cudaFree((void *)(uintptr_t)device));
}

static void lists_free(struct lists *l)
{
    const struct kv_attn_args *a = &l->args;
    const void *device[] = {a->q,     a->out,         a->kv,      a->list,   a->page,
                            a->piece, a->piece_start, a->partial, a->weight, a->score};

    for (size_t i = 0; i < ARRAY_LEN(device); i++)
        release(device[i]);
    mem_free(l->page);
    mem_free(l->q);
    mem_free(l->kv);
    mem_free(l->want);
}

/* Attention of all rows to their lists in `page`, into l->want; adds to mass[slot] unless NULL. */
static void attend(struct lists *l, const struct kv_list *list, const uint32_t *page, double *mass)
{
    static double weight[MAX_TOKENS];
    uint32_t d = l->shape.head_dim, size = l->shape.block_size;

    for (uint32_t h = 0; h < ROWS * l->shape.heads; h++) {
        const struct kv_list *own = &list[h / l->group];
        const double *q =
            l->q + (size_t)(h / l->shape.heads) * l->q_stride + (size_t)(h % l->shape.heads) * d;
        double *out = l->want + (size_t)h * d, max = -HUGE_VAL, sum = 0;

        memset(out, 0, d * sizeof(*out));
        for (uint32_t t = 0; t < own->n; t++) {
            const double *k = row_at(l, page[own->table + t / size], 0, t % size);

            weight[t] = 0;
            for (uint32_t i = 0; i < d; i++)
                weight[t] += q[i] * k[i] / sqrt(d);
            max = fmax(max, weight[t]);
        }
        for (uint32_t t = 0; t < own->n; t++)
            sum += weight[t] = exp(weight[t] - max);
        for (uint32_t t = 0; t < own->n; t++) {
            const double *v = row_at(l, page[own->table + t / size], 1, t % size);

            for (uint32_t i = 0; i < d; i++)
                out[i] += weight[t] / sum * v[i];
            if (mass)
                mass[own->slot + t] += weight[t] / sum;
        }
    }
}

static void check_out(const struct lists *l)
{
    check_device("out", ELEM_BF16, l->args.out, l->want, l->n_out, tolerance_of(ELEM_BF16));
}

/* Case i of CASES: group, page size, head size. */
static void make_case(struct lists *l, int i)
{
    lists_make(l, groups[i % 5], odd[i / 5 % 5], i / 25 ? 128 : 64);
}

START_TEST(lists_attended)
{
    struct lists l;
    uint32_t pieces;

    make_case(&l, _i);
    pieces = cut(&l, l.list, (uint32_t)_i % 7 * 6 + 1);
    CUDA(kv_attn_decode(0, &l.args, pieces));
    CUDA(kv_attn_combine(0, &l.args, ROWS));
    attend(&l, l.list, l.page, NULL);
    check_out(&l);
    lists_free(&l);
}
END_TEST

/* Two steps onto what was there: sums of a token's attention; those of slots without a token stay.
 */
START_TEST(attention_summed)
{
    struct lists l;
    struct rng r;
    uint32_t pieces;
    double *mass, *got;
    void *d_mass;

    make_case(&l, _i);
    rng_init(&r, 1, "mass");
    mass = random_values(&r, l.n_slots);
    d_mass = gpu_array(ELEM_F32, mass, l.n_slots);
    pieces = cut(&l, l.list, (uint32_t)_i % 7 * 6 + 1);
    l.args.score = gpu_poisoned((size_t)l.n_slots * l.group * sizeof(float));
    for (uint32_t step = 0; step < 2; step++) {
        CUDA(kv_attn_decode(0, &l.args, pieces));
        CUDA(kv_attn_combine(0, &l.args, ROWS));
        CUDA(kv_attn_mass(0, &l.args, pieces, d_mass));
        attend(&l, l.list, l.page, mass);
    }
    check_out(&l);
    got = gpu_values(ELEM_F32, d_mass, l.n_slots);
    check_close("mass", got, mass, l.n_slots, 1e-4);
    mem_free(got);
    mem_free(mass);
    release(d_mass);
    lists_free(&l);
}
END_TEST

/* ---- Quest ---- */

/* Bounds of each page of the page table, in plain loops: [n_pages][head_dim] each. */
static void bounds_of(const struct lists *l, float *least, float *most)
{
    uint32_t d = l->shape.head_dim, size = l->shape.block_size;

    for (uint32_t k = 0; k < LISTS; k++)
        for (uint32_t t = 0; t < lengths[k]; t++) {
            uint32_t at = l->list[k].table + t / size;
            const double *key = row_at(l, l->page[at], 0, t % size);

            for (uint32_t i = 0; i < d; i++) {
                float x = (float)key[i], *lo = &least[at * d + i], *hi = &most[at * d + i];

                *lo = t % size == 0 ? x : MIN(*lo, x);
                *hi = t % size == 0 ? x : MAX(*hi, x);
            }
        }
}

static void check_bounds(const struct lists *l, const void *bounds, const float *least,
                         const float *most)
{
    uint32_t d = l->shape.head_dim;
    double *got = gpu_values(ELEM_BF16, bounds, (size_t)l->n_pages * 2 * d);

    for (uint32_t p = 0; p < l->n_pages; p++)
        for (uint32_t i = 0; i < d; i++) {
            const double *at = got + (size_t)l->page[p] * 2 * d + i;

            ck_assert_double_eq(at[0], (double)most[p * d + i]);
            ck_assert_double_eq(at[d], (double)least[p * d + i]);
        }
    mem_free(got);
}

/* The GPU's ranks, held against the policy's. */
static float *check_ranks(const struct lists *l, const float *d_rank, const float *least,
                          const float *most)
{
    const struct kvpolicy_ops *quest = kvpolicy_find("quest");
    uint32_t d = l->shape.head_dim;
    float *rank = mem_alloc(l->n_pages * sizeof(*rank)), q[16 * 128];
    double *want = mem_alloc(l->n_pages * sizeof(*want));
    double *got = gpu_values(ELEM_F32, d_rank, l->n_pages);

    for (uint32_t k = 0; k < LISTS; k++) {
        uint32_t at = l->list[k].table;
        const double *from =
            l->q + (size_t)(k / KV_HEADS) * l->q_stride + (size_t)(k % KV_HEADS) * l->group * d;
        struct kv_query query = {.group = l->group,
                                 .head_dim = d,
                                 .n_units = pages_of(l, k),
                                 .q = q,
                                 .least = least + (size_t)at * d,
                                 .most = most + (size_t)at * d};

        for (uint32_t i = 0; i < l->group * d; i++)
            q[i] = (float)from[i];
        quest->rank(NULL, &query, rank + at);
    }
    for (uint32_t p = 0; p < l->n_pages; p++)
        want[p] = (double)rank[p];
    check_close("rank", got, want, l->n_pages, 1e-4);
    for (uint32_t p = 0; p < l->n_pages; p++)
        rank[p] = (float)got[p];
    mem_free(got);
    mem_free(want);
    return rank;
}

/* What the CPU engine would pick by the same ranks; returns the page tables, `keep` a list. */
static uint32_t *pick(struct lists *l, float *rank, uint32_t keep)
{
    uint32_t *page = mem_alloc(LISTS * keep * sizeof(*page)), order[MAX_TOKENS];
    bool kept[MAX_TOKENS];

    for (uint32_t k = 0; k < LISTS; k++) {
        uint32_t at = l->list[k].table, n = pages_of(l, k), left = 0;

        rank[at + n - 1] = (float)INFINITY;
        (void)kv_choose(rank + at, n, keep, kept, order);
        for (uint32_t i = 0; i < n; i++)
            if (kept[i])
                page[k * keep + left++] = l->page[at + i];
        ck_assert_uint_eq(left, MIN(n, keep));
        l->picked[k] =
            (struct kv_list){k * keep, plan_picked(lengths[k], keep, l->shape.block_size), 0};
    }
    return page;
}

static void check_picked(const struct lists *l, const uint32_t *d_page, const uint32_t *page,
                         uint32_t keep)
{
    uint32_t *got = mem_alloc(LISTS * keep * sizeof(*got));

    CUDA(cudaMemcpy(got, d_page, LISTS * keep * sizeof(*got), cudaMemcpyDeviceToHost));
    for (uint32_t k = 0; k < LISTS; k++)
        for (uint32_t i = 0; i < MIN(pages_of(l, k), keep); i++)
            ck_assert_msg(got[k * keep + i] == page[k * keep + i],
                          "list %u: page %u is %u, should be %u", k, i, got[k * keep + i],
                          page[k * keep + i]);
    mem_free(got);
}

START_TEST(pages_picked)
{
    struct lists l;
    uint32_t keep = keeps[_i / CASES], pieces, *page;
    float *least, *most, *rank, *d_rank;
    void *bounds;

    make_case(&l, _i % CASES);
    least = mem_alloc((size_t)l.n_pages * l.shape.head_dim * sizeof(*least));
    most = mem_alloc((size_t)l.n_pages * l.shape.head_dim * sizeof(*most));
    bounds = gpu_poisoned((size_t)l.n_pages * 2 * l.shape.head_dim * sizeof(uint16_t));
    d_rank = gpu_poisoned(l.n_pages * sizeof(float));
    uint32_t *d_page = gpu_poisoned(LISTS * keep * sizeof(uint32_t));
    CUDA(kv_bounds(0, bounds, &l.args, LISTS, MAX_TOKENS));
    CUDA(kv_rank(0, d_rank, &l.args, bounds, LISTS, MAX_TOKENS));
    CUDA(kv_pick(0, d_page, &l.args, d_rank, LISTS, keep));
    bounds_of(&l, least, most);
    check_bounds(&l, bounds, least, most);
    rank = check_ranks(&l, d_rank, least, most);
    page = pick(&l, rank, keep);
    check_picked(&l, d_page, page, keep);

    release(l.args.page);
    l.args.page = d_page; /* which lists_free frees */
    pieces = cut(&l, l.picked, 20);
    CUDA(kv_attn_decode(0, &l.args, pieces));
    CUDA(kv_attn_combine(0, &l.args, ROWS));
    attend(&l, l.picked, page, NULL);
    check_out(&l);
    release(bounds);
    release(d_rank);
    mem_free(least);
    mem_free(most);
    mem_free(rank);
    mem_free(page);
    lists_free(&l);
}
END_TEST

/* Equal ranks, more than a block of threads has: the first pages. */
START_TEST(ties_to_the_first)
{
    enum { PAGES = 2000, KEEP = 700 };
    struct kv_list list = {0, PAGES, 0};
    uint32_t *page = mem_alloc(PAGES * sizeof(*page)), got[KEEP], n = 0;
    float *rank = mem_alloc(PAGES * sizeof(*rank));
    struct kv_attn_args a = {.shape = {1, 1, 64, 1}};
    uint32_t *picked = gpu_poisoned(sizeof(got));
    void *d_rank;

    for (uint32_t i = 0; i < PAGES; i++) {
        page[i] = 5 * i;
        rank[i] = i % 5 == 4 ? 2 : -1; /* 399 of the others, and 300 of these but the last */
    }
    d_rank = gpu_copy(rank, PAGES * sizeof(*rank));
    a.list = gpu_copy(&list, sizeof(list));
    a.page = gpu_copy(page, PAGES * sizeof(*page));
    CUDA(kv_pick(0, picked, &a, d_rank, 1, KEEP));
    CUDA(cudaMemcpy(got, picked, sizeof(got), cudaMemcpyDeviceToHost));
    for (uint32_t i = 0, equal = 0; i < PAGES; i++)
        if (i % 5 == 4 || equal++ < KEEP - PAGES / 5)
            ck_assert_uint_eq(got[n++], page[i]);
    ck_assert_uint_eq(n, KEEP);
    release(d_rank);
    release(a.list);
    release(a.page);
    release(picked);
    mem_free(page);
    mem_free(rank);
}
END_TEST

START_TEST(what_no_kernel_can_do)
{
    struct kv_attn_args odd_head = {.shape = {2, 2, 80, 16}}, many = {.shape = {34, 2, 64, 16}};

    ck_assert_int_eq(kv_attn_decode(0, &odd_head, 1), cudaErrorInvalidValue);
    ck_assert_int_eq(kv_attn_decode(0, &many, 1), cudaErrorInvalidValue);
    ck_assert_int_eq(kv_attn_mass(0, &odd_head, 1, NULL), cudaErrorInvalidValue);
    ck_assert_int_eq(kv_bounds(0, NULL, &odd_head, 1, 1), cudaErrorInvalidValue);
    ck_assert_int_eq(kv_rank(0, NULL, &many, NULL, 1, 1), cudaErrorInvalidValue);
    ck_assert_int_eq(kv_pick(0, NULL, &many, NULL, 1, 0), cudaErrorInvalidValue);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("KV kernels");
    TCase *few = tcase_create("few"); /* what compute-sanitizer has time for: scripts/gpu */
    TCase *rest = tcase_create("rest");

    tcase_set_timeout(few, 600);
    tcase_set_timeout(rest, 600);
    tcase_add_loop_test(few, lists_attended, 8, 10);
    tcase_add_loop_test(few, attention_summed, 33, 35);
    tcase_add_loop_test(few, pages_picked, 57, 60);
    tcase_add_test(few, ties_to_the_first);
    tcase_add_loop_test(rest, lists_attended, 0, CASES);
    tcase_add_loop_test(rest, attention_summed, 0, CASES);
    tcase_add_loop_test(rest, pages_picked, 0, CASES * ARRAY_LEN(keeps));
    tcase_add_test(rest, what_no_kernel_can_do);
    suite_add_tcase(s, few);
    suite_add_tcase(s, rest);
    return gpu_tests(s);
}
