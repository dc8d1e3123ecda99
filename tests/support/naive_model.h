/* naive_model.h: a LLaMA decoder as its formulas read, in double, one token after the other, with
 * no paging, batching or tricks: what the engines are held against. Shares no code with them. */
#ifndef TESTS_SUPPORT_NAIVE_MODEL_H
#define TESTS_SUPPORT_NAIVE_MODEL_H

#include "backend/model/weights.h"

/* The same, and column_sum[layers][kv_heads][n]: the attention that each token got from all rows
 * and query heads of its KV head; and the newest row's alone. */
void naive_observe(const struct weights *w, const uint32_t *token, uint32_t n, double *logits,
                   double *column_sum, double *last_row);

/* logits[n][vocab] after each of the tokens. The weights must be in memory. */
void naive_logits(const struct weights *w, const uint32_t *token, uint32_t n, double *logits);

#endif
