#include "tests/support/pressed.h"

#include <check.h>
#include <math.h>

#include "tests/support/watched.h"

#define BLOCK 4u
#define VOCAB_MAX 2048u
#define SEED 7u

/* Of the run under way; a test runs in a process of its own. */
static struct {
    const struct device_ops *device;
    float *logits;    /* of the last pass, a row for each sequence that emits */
    uint32_t row[64]; /* of a sequence */
    struct pressed *result;
    uint32_t vocab;
    double off, size; /* squares, summed over all rows */
} now;

/* ---- the device, and its logits ---- */

static bool forward(void *self, const struct forward *f, struct forward_result *r, struct err *e)
{
    uint32_t n = 0;
    ck_assert_uint_le(f->n_seqs, ARRAY_LEN(now.row));
    for (uint32_t i = 0; i < f->n_seqs; i++)
        now.row[i] = f->emits[i] ? n++ : UINT32_MAX;
    r->logits = now.logits;
    return now.device->forward(self, f, r, e);
}

/* ---- a request alone: all its tokens in one pass, in a block that nobody else has ---- */

static struct {
    struct weights weights;
    void *device;
} truth;

void pressed_truth_open(const struct model_desc *model)
{
    struct arch a;
    struct err e = {0};
    ck_assert_msg(arch_from_model(model, &a, &e), "%s", e.text);
    weights_random(&truth.weights, &a, SEED);
    struct device_config c = {.weights = &truth.weights,
                              .max_seqs = 1,
                              .max_tokens = PRESSED_LONGEST,
                              .block_size = PRESSED_LONGEST,
                              .n_blocks = 1,
                              .max_context = PRESSED_LONGEST,
                              .threads = 1,
                              .high_precision = true};
    truth.device = device_cpu.open(&c, &e);
    ck_assert_msg(truth.device != NULL, "%s", e.text);
}

void pressed_truth_close(void)
{
    device_cpu.close(truth.device);
    weights_release(&truth.weights);
}

void pressed_truth(const struct content *c, uint32_t n, float *logits)
{
    uint32_t token[PRESSED_LONGEST], q_start[] = {0, n}, context[] = {0}, table_start[] = {0, 1};
    uint32_t block[] = {0}, next[1];
    bool emits[] = {true};
    struct err e = {0};
    watched_tokens(c, BLOCK, truth.weights.arch.vocab, 0, n, token);
    struct forward f = {.n_seqs = 1,
                        .n_tokens = n,
                        .token = token,
                        .q_start = q_start,
                        .context = context,
                        .table_start = table_start,
                        .block = block,
                        .emits = emits};
    struct forward_result r = {.next_token = next, .logits = logits};
    ck_assert_msg(device_cpu.forward(truth.device, &f, &r, &e), "%s", e.text);
}

static void compare(const struct executor *x, uint32_t i, const struct content *c,
                    const struct batch_seq *b)
{
    float alone[VOCAB_MAX];
    double size = 0, off = 0;
    (void)x;
    if (!b->emits)
        return;
    ck_assert_uint_ne(now.row[i], UINT32_MAX);
    pressed_truth(c, b->context + b->n_tokens, alone);
    const float *got = &now.logits[(size_t)now.row[i] * now.vocab];
    for (uint32_t k = 0; k < now.vocab; k++) {
        double d = (double)got[k] - (double)alone[k];
        ck_assert(isfinite(got[k]));
        size += (double)alone[k] * (double)alone[k];
        off += d * d;
    }
    ck_assert(size > 0);
    now.off += off;
    now.size += size;
    now.result->worst = fmax(now.result->worst, sqrt(off / size));
    now.result->compared++;
}

/* ---- the run ---- */

/* Four families of prompts, each request with a tail of its own. */
static void add_requests(struct lab *l, struct segment seg[PRESSED_REQUESTS][2])
{
    for (uint32_t i = 0; i < PRESSED_REQUESTS; i++) {
        struct trace_rec *r = lab_add(l, i * 3 * NS_PER_MS, "a", 19 + i % 5, 14 + i % 3);
        seg[i][0] = (struct segment){1 + i % 4, 0, 13};
        seg[i][1] = (struct segment){100 + i, 0, r->prompt_tokens - 13};
        r->segment = seg[i];
        r->n_segments = 2;
    }
}

struct pressed pressed_run(const struct device_ops *device, const struct model_desc *model,
                           bool high_precision, enum preempt_mode preempt)
{
    struct device_ops listened = *device;
    struct pressed result = {0};
    struct segment seg[PRESSED_REQUESTS][2];
    struct lab l;
    ck_assert_uint_le(model->vocab, VOCAB_MAX);
    listened.forward = forward;
    lab_init(&l);
    l.engine = "tandem";
    l.limits.block_size = BLOCK;
    l.limits.num_gpu_blocks = 22;
    l.limits.host_blocks = preempt == PREEMPT_SWAP ? 40 : 0;
    l.limits.preempt = preempt;
    l.limits.max_num_batched_tokens = 16;
    l.limits.max_model_len = PRESSED_LONGEST;
    l.limits.scheduler_reserve_full_isl = false;
    l.backend = &watched_backend;
    l.backend_env = (struct backend_env){.model = model, .tensor_parallel_size = 1, .seed = SEED};
    add_requests(&l, seg);
    now.device = device;
    now.logits = mem_alloc(ARRAY_LEN(now.row) * model->vocab * sizeof(*now.logits));
    now.vocab = model->vocab;
    now.result = &result;
    now.off = now.size = 0;
    watch = (struct watch){
        .config = {.device = &listened, .high_precision = high_precision, .threads = 1},
        .on_row = compare};
    pressed_truth_open(model);
    ck_assert_msg(lab_run(&l), "%s", l.err.text);
    pressed_truth_close();
    ck_assert_uint_eq(l.result.finished, PRESSED_REQUESTS);
    result.error = sqrt(now.off / now.size);
    result.preemptions = lab_count(&l, DEC_PREEMPT);
    result.swaps_in = watch.swaps_in;
    result.hits = watch.hits;
    mem_free(now.logits);
    lab_release(&l);
    return result;
}
