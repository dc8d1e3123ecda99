#include "backend/model/arch.h"

#include <math.h>

bool arch_from_model(const struct model_desc *m, struct arch *a, struct err *e)
{
    *a = (struct arch){
        .layers = m->layers,
        .hidden = m->hidden,
        .heads = m->heads,
        .kv_heads = m->kv_heads,
        .head_dim = m->head_dim,
        .intermediate = m->intermediate,
        .vocab = m->vocab,
        .max_model_len = m->max_model_len,
        .tied_embeddings = m->tied_embeddings,
        .rms_eps = m->rms_norm_eps,
        .rope_theta = m->rope_theta,
        .rope = m->rope,
    };
    if (m->rope_theta == 0 || m->experts > 0 || m->qk_norm)
        return err_set(e,
                       "%s: is no plain LLaMA decoder (RMSNorm, RoPE as it is or as in Llama 3.1, "
                       "SwiGLU; no experts, biases, q/k norm or sliding window), and the real "
                       "engines run no other; simulate it, or take llama-3.1-8b",
                       m->id);
    return arch_check(a, m->id, e);
}

void arch_describe(const struct arch *a, struct model_desc *m)
{
    *m = (struct model_desc){
        .layers = a->layers,
        .hidden = a->hidden,
        .heads = a->heads,
        .kv_heads = a->kv_heads,
        .head_dim = a->head_dim,
        .intermediate = a->intermediate,
        .vocab = a->vocab,
        .max_model_len = a->max_model_len,
        .tied_embeddings = a->tied_embeddings,
        .weight_bytes_per_param = 2,
        .kv_bytes_per_elem = 2,
        .rms_norm_eps = a->rms_eps,
        .rope_theta = a->rope_theta,
        .rope = a->rope,
    };
}

bool arch_check(const struct arch *a, const char *where, struct err *e)
{
    const struct {
        const char *name;
        uint32_t value, max;
    } sizes[] = {
        {"layers", a->layers, 1024},     {"hidden", a->hidden, 1 << 17},
        {"heads", a->heads, 1024},       {"kv_heads", a->kv_heads, 1024},
        {"head_dim", a->head_dim, 1024}, {"intermediate", a->intermediate, 1 << 20},
        {"vocab", a->vocab, 1 << 24},    {"max_model_len", a->max_model_len, 1 << 26},
    };

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        if (sizes[i].value == 0 || sizes[i].value > sizes[i].max)
            return err_set(e, "%s: %s is %u; the real engines take 1 to %u", where, sizes[i].name,
                           sizes[i].value, sizes[i].max);
    if (a->heads % a->kv_heads != 0)
        return err_set(e, "%s: %u heads are no multiple of %u kv_heads; the file is damaged", where,
                       a->heads, a->kv_heads);
    if (a->head_dim % 2 != 0)
        return err_set(e, "%s: head_dim %u is odd; RoPE turns pairs, so it must be even", where,
                       a->head_dim);
    if (!(a->rms_eps >= 0 && a->rms_eps <= 1) || !(a->rope_theta >= 1 && a->rope_theta <= 1e12))
        return err_set(e, "%s: rms_norm_eps is %g and rope_theta %g; they lie in 0..1 and 1..1e12",
                       where, a->rms_eps, a->rope_theta);
    return true;
}

double arch_rope_frequency(const struct arch *a, uint32_t i)
{
    const struct rope_scaling *r = &a->rope;
    double f = pow(a->rope_theta, -2.0 * i / a->head_dim);
    double turns, smooth;

    if (r->factor == 0)
        return f;
    turns = f * r->original_max_position / (2 * M_PI); /* over the context trained on */
    if (turns < r->low_freq_factor)
        return f / r->factor;
    if (turns > r->high_freq_factor)
        return f;
    smooth = (turns - r->low_freq_factor) / (r->high_freq_factor - r->low_freq_factor);
    return (1 - smooth) * f / r->factor + smooth * f;
}
