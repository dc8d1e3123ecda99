/* kvchoose.c: which tokens stay, and how a budget is shared out: the choices that every engine
 * makes the same way. Ties go to the lower index. */
#include "sim/kvrule.h"

#include <math.h>
#include <stdlib.h>

void kv_protect(const uint32_t *pos, uint32_t n, uint32_t sink, uint32_t recent, uint32_t end,
                float *score)
{
    uint32_t first_recent = end - MIN(recent, end);
    for (uint32_t i = 0; i < n; i++)
        if (pos[i] < sink || pos[i] >= first_recent)
            score[i] = (float)INFINITY;
}

struct ranking {
    const float *score;
};

static int by_score(const void *a, const void *b, void *arg)
{
    const float *score = ((const struct ranking *)arg)->score;
    uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
    if (score[i] > score[j] || score[i] < score[j])
        return score[i] > score[j] ? -1 : 1;
    return i < j ? -1 : i > j;
}

uint32_t kv_choose(const float *score, uint32_t n, uint32_t keep, bool *kept, uint32_t *order)
{
    uint32_t m = 0;
    for (uint32_t i = 0; i < n; i++) {
        CHECK(!isnan(score[i]), "KV score: is a number", "token %u of %u", i, n);
        kept[i] = score[i] > (float)-INFINITY;
        if (kept[i])
            order[m++] = i;
    }
    if (m <= keep)
        return m;
    qsort_r(order, m, sizeof(*order), by_score, &(struct ranking){score});
    for (uint32_t i = keep; i < m; i++)
        kept[order[i]] = false;
    return keep;
}

static int by_rest(const void *a, const void *b, void *arg)
{
    const double *rest = arg;
    uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
    if (rest[i] > rest[j] || rest[i] < rest[j])
        return rest[i] > rest[j] ? -1 : 1;
    return i < j ? -1 : i > j;
}

void kv_share_out(const double *want, uint32_t n, uint64_t total, uint32_t least, uint32_t most,
                  uint32_t *out, uint32_t *order)
{
    CHECK(total >= (uint64_t)n * least && total <= (uint64_t)n * most, "KV budget: can be met",
          "%llu tokens, %u shares of %u to %u", (unsigned long long)total, n, least, most);
    double *rest = mem_alloc(n * sizeof(*rest));
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        double x = MAX((double)least, MIN((double)most, want[i]));
        out[i] = (uint32_t)x;
        rest[i] = want[i] - (double)out[i];
        sum += out[i];
        order[i] = i;
    }
    qsort_r(order, n, sizeof(*order), by_rest, rest);
    while (sum < total)
        for (uint32_t k = 0; k < n && sum < total; k++)
            if (out[order[k]] < most) {
                out[order[k]]++;
                sum++;
            }
    while (sum > total)
        for (uint32_t k = n; k > 0 && sum > total; k--)
            if (out[order[k - 1]] > least) {
                out[order[k - 1]]--;
                sum--;
            }
    mem_free(rest);
}
