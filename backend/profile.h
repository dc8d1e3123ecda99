/* profile.h: what a profile of measured operators offers to the step formula (backend/table.c),
 * whatever its files look like. A reader is one file, backend/profile_<format>.c, and one line in
 * backend/profile.c, where the file that names a profile's format tells which one reads it.
 *
 * Times are ns of one call on one GPU with that GPU's share of the model (tensor parallel). */
#ifndef BACKEND_PROFILE_H
#define BACKEND_PROFILE_H

#include "backend/lattice.h"
#include "sim/backend.h"

/* Operators by what their time depends on: tokens of the step, or sequences in it. */
enum profile_op {
    OP_EMBEDDING,
    OP_FINAL_NORM,
    OP_NORM,
    OP_QKV,
    OP_QK_NORM,
    OP_ROPE,
    OP_O,
    OP_GATE_UP,
    OP_ACT,
    OP_DOWN,
    N_TOKEN_OPS,
    OP_LM_HEAD = N_TOKEN_OPS, /* from here on: sequences */
    OP_SAMPLER,
    N_OPS
};

struct profile {
    struct curve op[N_OPS]; /* of tokens or sequences; n == 0: not measured */
    struct lattice decode;  /* attention, no prompt: (n_decode, mean context) */
    struct lattice prefill; /* attention, no decode: (chunk tokens, history) */
    struct lattice mixed;   /* both: (chunk tokens, n_decode, history, mean context); empty: never
                               measured in one call */
    struct lattice experts; /* all experts of a layer: (tokens, experts reached) */
    struct curve moe;       /* the same by tokens alone; n == 0: in `experts`, if at all */
    struct curve reduce;    /* one all-reduce of a step's tokens; n == 0: the GPU's link says */
    struct curve gather;    /* a step's logits from all GPUs, of sequences; n == 0: not counted */
    uint32_t experts_split; /* GPUs that share what `experts` was measured for */
    /* Decodes of unequal context in one attention call: its time over that of the call in which all
     * have their mean context. Both flat; root NULL: not measured. */
    struct lattice skew_decode; /* (n_decode, longest context, mean / longest) */
    struct lattice skew_mixed;  /* (chunk tokens, n_decode, history, longest, mean / longest) */
    bool beyond;    /* an operator's shape lies beyond those measured: every step does */
    char text[192]; /* what it is, for the run's note */
};

/* What a profile says it was measured on: names that the presets know, or not; "": anything. */
struct profile_names {
    char model[128], gpu[128];
    char dtype[16]; /* of `dtype` in the configuration */
};

/* `path`: the profile's folder. */
bool profile_names(const char *path, struct profile_names *out, struct err *e) NODISCARD;
/* That of `env`, for its tensor_parallel_size, model and dtype. Everything lives in the arena. */
bool profile_open(struct profile *p, struct arena *a, const struct backend_env *env,
                  struct err *e) NODISCARD;

/* One a format. */
struct profile_format {
    const char *mark; /* the file by which it is known */
    bool (*names)(const char *path, struct profile_names *out, struct err *e);
    bool (*open)(struct profile *p, struct arena *a, const struct backend_env *env, struct err *e);
};
extern const struct profile_format profile_llmservingsim, profile_aiconfigurator;

/* The op's name in messages and in LLMServingSim's files. */
const char *profile_op_name(enum profile_op op);

#endif
