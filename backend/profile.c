#include "backend/profile.h"

#include <stdio.h>
#include <sys/stat.h>

static const struct profile_format *const formats[] = {&profile_llmservingsim,
                                                       &profile_aiconfigurator};

static const char *const op_names[N_OPS] = {
    [OP_EMBEDDING] = "embedding",
    [OP_FINAL_NORM] = "final_layernorm",
    [OP_NORM] = "layernorm",
    [OP_QKV] = "qkv_proj",
    [OP_QK_NORM] = "qk_norm",
    [OP_ROPE] = "rotary_emb",
    [OP_O] = "o_proj",
    [OP_GATE_UP] = "gate_up_proj",
    [OP_ACT] = "act_fn",
    [OP_DOWN] = "down_proj",
    [OP_LM_HEAD] = "lm_head",
    [OP_SAMPLER] = "sampler",
};

const char *profile_op_name(enum profile_op op)
{
    return op_names[op];
}

static const struct profile_format *format_of(const char *path, struct err *e)
{
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        char mark[4096];
        struct stat st;
        int n = snprintf(mark, sizeof(mark), "%s/%s", path, formats[i]->mark);

        if (n < (int)sizeof(mark) && stat(mark, &st) == 0)
            return formats[i];
    }
    err_set(e, "%s: holds no %s and no %s; give the folder of a profile", path, formats[0]->mark,
            formats[1]->mark);
    return NULL;
}

bool profile_names(const char *path, struct profile_names *out, struct err *e)
{
    const struct profile_format *f = format_of(path, e);

    *out = (struct profile_names){0};
    return f && f->names(path, out, e);
}

bool profile_open(struct profile *p, struct arena *a, const struct backend_env *env, struct err *e)
{
    const struct profile_format *f = format_of(env->profile, e);

    *p = (struct profile){.experts_split = 1};
    return f && f->open(p, a, env, e);
}
