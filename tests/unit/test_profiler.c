/* test_profiler.c: what `tandem profile` asks of an engine: batches within the limits, that read
 * only what was computed before; the same batches for the same seed; medians; and swaps that leave
 * nothing behind. The engine here is one that keeps books. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "experiments/profiler.h"

#define SEQS 16u
#define TOKENS 64u
#define BLOCK 16u

static const struct limits limits = {.max_num_seqs = SEQS,
                                     .max_num_batched_tokens = TOKENS,
                                     .block_size = BLOCK,
                                     .max_model_len = 400,
                                     .num_gpu_blocks = 120,
                                     .host_blocks = 100};

struct books {
    bool attached[SEQS];
    uint32_t computed[SEQS]; /* tokens from the front, all resident */
    uint32_t on_host, peak_tokens, longest;
    uint64_t steps, decodes, prefills, mixed, swaps;
    int fail_at; /* step that fails; -1: none */
};

static void attach(void *self, req_id id, const struct content *c, uint32_t blocks)
{
    struct books *b = self;
    ck_assert(!b->attached[id] && c != NULL && blocks == 0);
    b->attached[id] = true;
}

static void release(void *self, req_id id)
{
    struct books *b = self;
    ck_assert(b->attached[id]);
    b->attached[id] = false;
    b->computed[id] = 0;
}

static void forget_host(void *self, req_id id)
{
    ck_assert_uint_eq(id, 0);
    ((struct books *)self)->on_host = 0;
}

static void check_row(struct books *b, const struct batch_seq *s, bool seen[SEQS])
{
    ck_assert(s->id < SEQS && b->attached[s->id] && !seen[s->id]);
    seen[s->id] = true;
    ck_assert_uint_le(s->context, b->computed[s->id]);
    if (!s->prefill)
        ck_assert(s->n_tokens == 1 && s->context > 0 && s->context < b->computed[s->id]);
    ck_assert_uint_lt(s->context + s->n_tokens, limits.max_model_len + 1);
    b->computed[s->id] = MAX(b->computed[s->id], s->context + s->n_tokens);
    b->longest = MAX(b->longest, b->computed[s->id]);
}

static bool step(void *self, const struct batch *batch, struct step_cost *cost, struct err *e)
{
    struct books *b = self;
    bool seen[SEQS] = {false};
    uint32_t tokens = 0, blocks = 0;
    if (b->fail_at >= 0 && b->steps == (uint64_t)b->fail_at)
        return err_set(e, "the engine failed");
    for (uint32_t i = 0; i < batch->n; i++) {
        check_row(b, &batch->seq[i], seen);
        tokens += batch->seq[i].n_tokens;
    }
    for (uint32_t i = 0; i < SEQS; i++)
        blocks += div_ceil_u32(b->computed[i], BLOCK);
    ck_assert_uint_le(blocks, limits.num_gpu_blocks);
    ck_assert(tokens > 0 && tokens <= TOKENS);
    ck_assert_uint_eq(tokens, batch->shape.decode_tokens + batch->shape.prefill_tokens);
    b->peak_tokens = MAX(b->peak_tokens, tokens);
    b->decodes += batch->shape.n_prefill == 0;
    b->prefills += batch->shape.n_decode == 0;
    b->mixed += batch->shape.n_decode > 0 && batch->shape.n_prefill > 0;
    /* Warm-ups are slow, and so is one step in eight: a median sees neither. */
    cost->wall_ns = 1000 + (b->steps % 8 == 0 ? 100000 : 0);
    cost->device_ns = 900;
    b->steps++;
    return true;
}

static bool swap(void *self, const struct swap *w, ns_t *done_at, struct err *e)
{
    struct books *b = self;
    (void)done_at, (void)e;
    ck_assert_uint_eq(w->number, b->swaps);
    if (w->out) {
        ck_assert_uint_eq(b->computed[0], w->n * BLOCK);
        b->on_host = w->n;
    } else {
        ck_assert(b->on_host == w->n && b->computed[0] == 0);
        b->computed[0] = w->n * BLOCK;
    }
    b->swaps++;
    return true;
}

static bool swaps_done(void *self, uint64_t seen, bool wait, uint64_t *done, struct err *e)
{
    (void)e;
    *done = ((struct books *)self)->swaps;
    ck_assert(wait && *done == seen + 1);
    return true;
}

static const struct kv_events kv = {
    .attach = attach, .release = release, .forget_host = forget_host};
static const struct backend_ops engine = {
    .name = "books", .step = step, .swap = swap, .swaps_done = swaps_done, .kv = &kv};

struct told {
    uint64_t points, held_out, medians;
    uint64_t hash;
};

static bool on_point(void *self, const struct profile_point *p, struct err *e)
{
    struct told *t = self;
    (void)e;
    t->points++;
    t->held_out += p->held_out;
    t->medians += p->repeats >= 3 && p->wall_ns == 1000;
    t->hash = t->hash * 31 + p->shape->decode_context_sum + p->shape->prefill_tokens + p->held_out;
    if (p->shape->n_prefill > 0)
        ck_assert_uint_ge(p->shape->prefill_context_max,
                          p->shape->prefill_history_sum / p->shape->n_prefill);
    return true;
}

static bool profile(struct books *b, struct told *t, uint64_t seed, struct err *e)
{
    struct profiler p;
    *t = (struct told){.points = 0};
    profiler_init(&p, &engine, b, &limits, seed);
    p.random_batches = 30;
    p.on_point = on_point;
    p.on_point_self = t;
    bool ok = profiler_steps(&p, e);
    ck_assert(!ok || p.points == t->points);
    profiler_release(&p);
    for (uint32_t i = 0; i < SEQS; i++)
        ck_assert(!b->attached[i]);
    return ok;
}

START_TEST(batches_are_such_as_an_engine_forms)
{
    struct books b = {.fail_at = -1};
    struct told t;
    struct err e = {.set = false};
    ck_assert_msg(profile(&b, &t, 1, &e), "%s", e.text);
    ck_assert_uint_eq(b.peak_tokens, TOKENS);
    ck_assert(b.decodes > 200 && b.prefills > 200 && b.mixed > 100);
    ck_assert_uint_gt(b.longest, 300); /* of the last stage */
    ck_assert_uint_gt(t.medians, t.points / 2);
    ck_assert(t.held_out > t.points / 10 && t.held_out < t.points / 3);
}
END_TEST

START_TEST(a_seed_says_which_batches)
{
    struct books b = {.fail_at = -1};
    struct told one, again, other;
    struct err e = {.set = false};
    ck_assert(profile(&b, &one, 1, &e) && profile(&b, &again, 1, &e) && profile(&b, &other, 2, &e));
    ck_assert(one.hash == again.hash && one.hash != other.hash);
}
END_TEST

/* Without an engine they are counted, for the progress line. */
START_TEST(counting_is_exact)
{
    struct books b = {.fail_at = -1};
    struct told t;
    struct err e = {.set = false};
    struct profiler p;
    ck_assert(profile(&b, &t, 1, &e));
    profiler_init(&p, NULL, NULL, &limits, 1);
    p.random_batches = 30;
    ck_assert(profiler_steps(&p, &e));
    ck_assert_uint_eq(p.points, t.points);
    profiler_release(&p);
}
END_TEST

START_TEST(swaps_go_out_and_come_back)
{
    struct books b = {.fail_at = -1};
    struct profile_swaps s = {.n = 0};
    struct err e = {.set = false};
    struct profiler p;
    profiler_init(&p, &engine, &b, &limits, 1);
    ck_assert(profiler_swaps(&p, &s, &e));
    profiler_release(&p);
    ck_assert_uint_eq(s.n, 2 * 3); /* 1, 4 and 16 blocks; the longest sequence has 24 */
    for (size_t i = 0; i < s.n; i++)
        ck_assert(s.at[i].out == (i % 2 == 0) && s.at[i].ns >= 0);
    ck_assert(!b.attached[0] && b.on_host == 0);
}
END_TEST

START_TEST(a_failing_engine_ends_it)
{
    for (int at = 0; at < 300; at += 37) {
        struct books b = {.fail_at = at};
        struct told t;
        struct err e = {.set = false};
        ck_assert(!profile(&b, &t, 1, &e));
        ck_assert_str_eq(e.text, "the engine failed");
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("profiler");
    TCase *t = tcase_create("profiler");
    tcase_add_test(t, batches_are_such_as_an_engine_forms);
    tcase_add_test(t, a_seed_says_which_batches);
    tcase_add_test(t, counting_is_exact);
    tcase_add_test(t, swaps_go_out_and_come_back);
    tcase_add_test(t, a_failing_engine_ends_it);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
