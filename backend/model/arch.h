/* arch.h: the architecture of a LLaMA-family decoder, as far as its arithmetic goes: sizes and
 * constants. What must hold: an architecture that passed arch_check can be computed by every
 * device, so nothing after it asks again. */
#ifndef BACKEND_MODEL_ARCH_H
#define BACKEND_MODEL_ARCH_H

#include "sim/model.h"

struct arch {
    uint32_t layers, hidden, heads, kv_heads, head_dim, intermediate, vocab, max_model_len;
    bool tied_embeddings;
    double rms_eps, rope_theta;
    struct rope_scaling rope; /* sim/model.h */
};

/* The architecture of a described model. Models that are no plain LLaMA (experts, biases, q/k norm,
 * other position codes) are refused. */
bool arch_from_model(const struct model_desc *m, struct arch *a, struct err *e) NODISCARD;

/* The other way: as models are described, in bf16. Its id is left empty. */
void arch_describe(const struct arch *a, struct model_desc *m);

/* Sizes that the devices can compute, and that a file cannot blow up; `where` begins the message.
 */
bool arch_check(const struct arch *a, const char *where, struct err *e) NODISCARD;

/* Radians that pair `i` (of head_dim / 2) turns by from one position to the next: theta^(-2i/d),
 * stretched as Llama 3.1 does (below the low frequency by `factor`, above the high one not at all,
 * linearly in between). A table of these is what devices rotate by. */
double arch_rope_frequency(const struct arch *a, uint32_t i);

#endif
