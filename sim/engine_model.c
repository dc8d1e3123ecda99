/* engine_model.c: the engines that are known. A row states what was published or observed of an
 * engine; none was fitted on a run that it is validated against. An engine with no source for its
 * host time has no row: an unknown name is refused, never given another engine's numbers. */
#include "sim/engine_model.h"

#include <math.h>
#include <string.h>

static const struct engine_model models[] = {
    {
        .name = "vllm-0.19",
        .doc = "asynchronous scheduling: two batches in flight, host time hidden behind the device",
        .provenance =
            "fidelity.md, Engine: study of vLLM 0.19 runs on RTX PRO 6000 (two batches in "
            "flight, tokens visible about 0.5 ms after the step); not fitted on any run "
            "it is validated against",
        .depth = 2,
        .host_ns = 2 * NS_PER_MS,
        .output_delay_ns = NS_PER_MS / 2,
        .null_block = true,
    },
    {
        .name = "vllm-0.8",
        .doc = "synchronous: the host's time is added to every step",
        .provenance =
            "fidelity.md, Engine: \"Older, synchronous engines add about 2 ms a step\"; 1.79 us "
            "more a sequence: the scheduler's CPU time in vLLM 0.8.5 on BSC's H100 "
            "(bsc-h100-vllm/calib_steps), fitted to the runs with max_num_seqs 50, 200, 600 and "
            "1000, not to those it is validated against",
        .depth = 1,
        .host_ns = 2 * NS_PER_MS,
        .host_seq_ns = 1790,
        .output_delay_ns = 0,
        .null_block = true,
    },
    {
        .name = "sglang",
        .doc = "asynchronous: two batches in flight, no host time exposed",
        .provenance = "fidelity.md, Closed-loop points: zero exposed host time for asynchronous "
                      "engines; never fitted",
        .depth = 2,
        .host_ns = 0,
        .output_delay_ns = 0,
        .null_block = false,
    },
    {
        .name = "trtllm",
        .doc = "asynchronous: two batches in flight, no host time exposed",
        .provenance = "fidelity.md, Closed-loop points: zero exposed host time for asynchronous "
                      "engines; never fitted",
        .depth = 2,
        .host_ns = 0,
        .output_delay_ns = 0,
        .null_block = false,
    },
    {
        .name = "lightllm",
        .doc = "synchronous; its host time is part of the step times that were measured",
        .provenance = "S-LoRA/LightLLM router of the VTC artifact: scheduling.md 3.4; step times "
                      "of vtc-a10g hold everything between two tokens",
        .depth = 1,
        .host_ns = 0,
        .output_delay_ns = 0,
        .null_block = false,
    },
    {
        .name = "tandem",
        .doc = "synchronous; its host time is part of the step times that were measured",
        .provenance = "our own engine (architecture.md section 8): a step lasts from the call to "
                      "the tokens being visible on the host",
        .depth = 1,
        .host_ns = 0,
        .output_delay_ns = 0,
        .null_block = false,
    },
    {
        .name = "ideal",
        .doc = "synchronous, no host time, every block usable: goldens and queueing theory",
        .provenance = "by definition",
        .depth = 1,
        .host_ns = 0,
        .output_delay_ns = 0,
        .null_block = false,
    },
};

const struct engine_model *engine_model_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(models); i++) {
        if (strcmp(models[i].name, name) == 0)
            return &models[i];
    }
    return NULL;
}

const struct engine_model *engine_model_at(uint32_t i)
{
    return i < ARRAY_LEN(models) ? &models[i] : NULL;
}
