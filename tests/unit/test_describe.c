/* test_describe.c: presets, files of our own format and Hugging Face configs; what is said of bad
 * ones. */
#include "backend/describe.h"

#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- helpers ---- */

/* A file of its own with this text; the caller unlinks it. */
static void write_temp(char *path, size_t size, const char *text)
{
    int fd;

    snprintf(path, size, "/tmp/test_describe_XXXXXX.json");
    fd = mkstemps(path, (int)strlen(".json"));
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    ck_assert_int_eq(close(fd), 0);
}

static const struct preset *preset_named(const struct preset *(*at)(size_t), const char *id)
{
    for (size_t i = 0; at(i); i++)
        if (strcmp(at(i)->id, id) == 0)
            return at(i);
    ck_abort_msg("no preset %s", id);
    return NULL;
}

static bool describe(bool gpu, const char *id, struct err *e)
{
    struct model_desc m;
    struct gpu_desc g;

    return gpu ? describe_gpu(id, &g, e) : describe_model(id, &m, e);
}

/* ---- presets ---- */

static const char *const model_ids[] = {
    "llama-3.1-8b", "llama-3.1-70b", "llama-2-7b",   "llama-2-13b",    "qwen2.5-7b",
    "qwen3-32b",    "qwen3-30b-a3b", "smollm2-135m", "tinyllama-1.1b",
};
static const char *const gpu_ids[] = {
    "h200", "h100-sxm", "a100-80g", "a10g", "l40s", "rtx4090", "rtxpro6000",
};

START_TEST(all_ids_of_the_contract)
{
    size_t models = 0, gpus = 0;
    struct model_desc m;
    struct gpu_desc g;
    struct err e = {0};

    for (size_t i = 0; i < ARRAY_LEN(model_ids); i++) {
        ck_assert_msg(describe_model(model_ids[i], &m, &e), "%s", e.text);
        ck_assert_str_eq(m.id, model_ids[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(gpu_ids); i++) {
        ck_assert_msg(describe_gpu(gpu_ids[i], &g, &e), "%s", e.text);
        ck_assert_str_eq(g.id, gpu_ids[i]);
    }
    while (preset_model_at(models))
        models++;
    while (preset_gpu_at(gpus))
        gpus++;
    ck_assert_uint_eq(models, ARRAY_LEN(model_ids));
    ck_assert_uint_eq(gpus, ARRAY_LEN(gpu_ids));
}
END_TEST

/* A number stands beside its own source, or in a file that names one for all. GPU numbers come
 * from many places: each names its own. */
static void check_sources(const struct preset *p, bool own)
{
    json_t *root = json_loads(p->json, JSON_REJECT_DUPLICATES, NULL), *v;
    const char *key;

    ck_assert_ptr_nonnull(root);
    ck_assert_str_ne(p->doc, "");
    ck_assert_str_ne(p->source, "");
    json_object_foreach(root, key, v)
    {
        const char *source = json_string_value(json_object_get(v, "source"));
        const json_t *value = json_object_get(v, "value");

        ck_assert_msg(!(own && json_is_number(v)), "%s: %s has no source", p->id, key);
        if (json_is_object(v))
            ck_assert_msg((json_is_number(value) || json_is_object(value)) && source && source[0],
                          "%s: %s has no value or no source", p->id, key);
    }
    json_decref(root);
}

START_TEST(every_number_has_a_source)
{
    for (size_t i = 0; preset_model_at(i); i++)
        check_sources(preset_model_at(i), false);
    for (size_t i = 0; preset_gpu_at(i); i++)
        check_sources(preset_gpu_at(i), true);
}
END_TEST

/* An alias that two presets share would name whichever comes first. */
static void check_aliases(const struct preset *(*at)(size_t), bool gpu)
{
    for (size_t i = 0; at(i); i++) {
        json_t *root = json_loads(at(i)->json, 0, NULL), *alias;
        size_t n;

        json_array_foreach(json_object_get(root, "aliases"), n, alias)
        {
            struct model_desc m;
            struct gpu_desc g;
            struct err e = {0};

            if (gpu)
                ck_assert_msg(describe_gpu(json_string_value(alias), &g, &e), "%s", e.text);
            else
                ck_assert_msg(describe_model(json_string_value(alias), &m, &e), "%s", e.text);
            ck_assert_str_eq(gpu ? g.id : m.id, at(i)->id);
        }
        json_decref(root);
    }
}

START_TEST(aliases_name_their_own_preset)
{
    check_aliases(preset_model_at, false);
    check_aliases(preset_gpu_at, true);
}
END_TEST

/* Names that profiles in ../shared use. */
static const struct {
    const char *name, *id;
    bool gpu;
} profile_names[] = {
    {"meta-llama/Llama-3.1-8B", "llama-3.1-8b", false},
    {"Llama-3.1-8B", "llama-3.1-8b", false},
    {"llama-3.1-8b-instruct", "llama-3.1-8b", false},
    {"Qwen/Qwen3-32B", "qwen3-32b", false},
    {"Qwen/Qwen3-30B-A3B-Instruct-2507", "qwen3-30b-a3b", false},
    {"RTXPRO6000", "rtxpro6000", true},
    {"RTX4090", "rtx4090", true},
    {"h200_sxm", "h200", true},
    {"h100_sxm", "h100-sxm", true},
    {"NVIDIA RTX PRO 6000 Blackwell Server Edition", "rtxpro6000", true},
};

START_TEST(names_of_profiles)
{
    struct model_desc m;
    struct gpu_desc g;
    struct err e = {0};

    if (profile_names[_i].gpu)
        ck_assert_msg(describe_gpu(profile_names[_i].name, &g, &e), "%s", e.text);
    else
        ck_assert_msg(describe_model(profile_names[_i].name, &m, &e), "%s", e.text);
    ck_assert_str_eq(profile_names[_i].gpu ? g.id : m.id, profile_names[_i].id);
}
END_TEST

/* Parameter counts as published (the sum over the checkpoint's tensors; the model cards' rounded
 * figures for what a token passes through). */
#define QWEN_BIASES (28 * (3584 + 2 * 512)) /* of q, k and v: not counted, 0.002 % */

static const struct {
    const char *id;
    uint64_t params;
    double active; /* 0: dense */
    uint32_t kv_bytes;
} published[] = {
    {"llama-3.1-8b", 8030261248, 0, 131072},
    {"llama-3.1-70b", 70553706496, 0, 327680},
    {"llama-2-7b", 6738415616, 0, 524288},
    {"llama-2-13b", 13015864320, 0, 819200},
    {"qwen2.5-7b", 7615616512 - QWEN_BIASES, 0, 57344},
    {"qwen3-32b", 32762123264, 0, 262144},
    {"qwen3-30b-a3b", 30532122624, 3.3e9, 98304},
    {"smollm2-135m", 134515008, 0, 23040},
    {"tinyllama-1.1b", 1100048384, 0, 22528},
};

START_TEST(parameter_counts)
{
    struct model_desc m;
    struct err e = {0};

    ck_assert_msg(describe_model(published[_i].id, &m, &e), "%s", e.text);
    ck_assert_uint_eq(model_params(&m), published[_i].params);
    if (published[_i].active > 0)
        ck_assert_double_eq_tol((double)model_active_params(&m) / published[_i].active, 1, 0.02);
    else
        ck_assert_uint_eq(model_active_params(&m), model_params(&m));
    ck_assert_uint_eq(model_kv_bytes_per_token(&m, 1), published[_i].kv_bytes);
}
END_TEST

START_TEST(kv_over_gpus)
{
    struct model_desc m;
    struct err e = {0};

    ck_assert_msg(describe_model("qwen3-30b-a3b", &m, &e), "%s", e.text); /* 4 KV heads */
    ck_assert_uint_eq(model_kv_bytes_per_token(&m, 4), 98304 / 4);
    ck_assert_uint_eq(model_kv_bytes_per_token(&m, 8), 98304 / 4); /* a copy on two GPUs each */
}
END_TEST

/* ---- Hugging Face ---- */

static const char llama_config[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\",\n"
    " \"_name_or_path\": \"acme/tiny\", \"hidden_size\": 512, \"num_hidden_layers\": 4,\n"
    " \"num_attention_heads\": 8, \"intermediate_size\": 1024, \"vocab_size\": 1000,\n"
    " \"max_position_embeddings\": 2048, \"head_dim\": null, \"torch_dtype\": \"bfloat16\"}";
static const char moe_config[] =
    "{\"model_type\": \"qwen3_moe\", \"hidden_size\": 512, \"num_hidden_layers\": 4,\n"
    " \"num_attention_heads\": 8, \"num_key_value_heads\": 2, \"head_dim\": 128,\n"
    " \"intermediate_size\": 1024, \"moe_intermediate_size\": 256, \"num_experts\": 16,\n"
    " \"num_experts_per_tok\": 4, \"vocab_size\": 1000, \"max_position_embeddings\": 2048,\n"
    " \"tie_word_embeddings\": true, \"mlp_only_layers\": [], \"decoder_sparse_step\": 1,\n"
    " \"torch_dtype\": \"float32\"}";
static const char mixtral_config[] =
    "{\"model_type\": \"mixtral\", \"hidden_size\": 512, \"num_hidden_layers\": 4,\n"
    " \"num_attention_heads\": 8, \"num_key_value_heads\": 4, \"intermediate_size\": 1024,\n"
    " \"num_local_experts\": 8, \"num_experts_per_tok\": 2, \"vocab_size\": 1000,\n"
    " \"max_position_embeddings\": 2048, \"torch_dtype\": \"float16\"}";

static struct model_desc from_config(const char *text)
{
    struct model_desc m;
    struct err e = {0};
    char path[64];

    write_temp(path, sizeof(path), text);
    ck_assert_msg(describe_model(path, &m, &e), "%s", e.text);
    ck_assert_int_eq(unlink(path), 0);
    return m;
}

START_TEST(hf_dense)
{
    struct model_desc m = from_config(llama_config);

    ck_assert_str_eq(m.id, "acme/tiny");
    ck_assert_uint_eq(m.layers, 4);
    ck_assert_uint_eq(m.hidden, 512);
    ck_assert_uint_eq(m.heads, 8);
    ck_assert_uint_eq(m.kv_heads, 8);  /* left out: one for each head */
    ck_assert_uint_eq(m.head_dim, 64); /* null: hidden / heads */
    ck_assert_uint_eq(m.intermediate, 1024);
    ck_assert_uint_eq(m.vocab, 1000);
    ck_assert_uint_eq(m.max_model_len, 2048);
    ck_assert_uint_eq(m.experts, 0);
    ck_assert(!m.tied_embeddings && !m.qk_norm);
    ck_assert_double_eq(m.weight_bytes_per_param, 2);
    ck_assert_double_eq(m.kv_bytes_per_elem, 2);
    ck_assert_double_eq(m.rope_theta, 10000); /* left out, as in Llama 2's file */
    ck_assert_double_eq(m.rms_norm_eps, 1e-6);
}
END_TEST

START_TEST(hf_experts)
{
    struct model_desc m = from_config(moe_config);

    ck_assert_uint_eq(m.kv_heads, 2);
    ck_assert_uint_eq(m.head_dim, 128);
    ck_assert_uint_eq(m.experts, 16);
    ck_assert_uint_eq(m.experts_per_token, 4);
    ck_assert_uint_eq(m.moe_intermediate, 256);
    ck_assert(m.tied_embeddings && m.qk_norm);
    ck_assert_double_eq(m.weight_bytes_per_param, 4);
    ck_assert_double_eq(m.rope_theta, 0); /* not for the real engines */

    m = from_config(mixtral_config);
    ck_assert_uint_eq(m.experts, 8);
    ck_assert_uint_eq(m.moe_intermediate, 1024);
}
END_TEST

/* ---- bad input ---- */

/* The preset's JSON with one member replaced (or removed, value NULL). */
static const struct {
    bool gpu;
    const char *key, *value, *expect;
} bad_values[] = {
    {false, "layers", NULL, "\"layers\" is missing"},
    {false, "layers", "0", "\"layers\" is 0; it must lie in 1 to"},
    {false, "layers", "-3", "\"layers\" is -3; it must lie in 1 to"},
    {false, "layers", "2.5", "\"layers\" is 2.5; it must be a whole number"},
    {false, "layers", "1e10", "\"layers\" is 1e+10; it must lie in"},
    {false, "layers", "\"32\"", "\"layers\" is not a number"},
    {false, "layers", "{\"value\": -1, \"source\": \"?\"}", "\"layers\" is -1; it must lie in"},
    {false, "tied_embeddings", "1", "\"tied_embeddings\" is neither true nor false"},
    {false, "weight_bytes_per_param", "0", "\"weight_bytes_per_param\" is 0; it must lie in"},
    {false, "kv_heads", "5", "32 heads are no multiple of 5 kv_heads"},
    {false, "intermediate", "0", "\"intermediate\" is 0 in a model without experts"},
    {false, "experts", "8", "8 experts need \"moe_intermediate\""},
    {false, "laiers", "32", "unknown key \"laiers\"; the nearest is \"layers\""},
    {false, "id", "7", "\"id\" must be a string"},
    {false, "id", "\"\"", "\"id\" must be a string"},
    {true, "hbm_bytes_per_s", NULL, "\"hbm_bytes_per_s\" is missing"},
    {true, "hbm_bytes_per_s", "-1", "\"hbm_bytes_per_s\" is -1; it must lie in"},
    {true, "hbm_efficiency", "90", "\"hbm_efficiency\" is 90; it must lie in 0.01 to 1"},
    {true, "hbm_efficiency", "0", "\"hbm_efficiency\" is 0; it must lie in 0.01 to 1"},
    {true, "flops_per_s", "true", "\"flops_per_s\" is not a number"},
    {true, "memory_byte", "1", "unknown key \"memory_byte\"; the nearest is \"memory_bytes\""},
};

START_TEST(bad_value)
{
    bool gpu = bad_values[_i].gpu;
    const struct preset *p =
        gpu ? preset_named(preset_gpu_at, "h200") : preset_named(preset_model_at, "llama-3.1-8b");
    json_t *root = json_loads(p->json, 0, NULL);
    struct err e = {0};
    char path[64], *text;

    if (bad_values[_i].value)
        json_object_set_new(root, bad_values[_i].key,
                            json_loads(bad_values[_i].value, JSON_DECODE_ANY, NULL));
    else
        json_object_del(root, bad_values[_i].key);
    text = json_dumps(root, 0);
    write_temp(path, sizeof(path), text);
    ck_assert(!describe(gpu, path, &e));
    ck_assert_msg(strncmp(e.text, path, strlen(path)) == 0, "names no file: %s", e.text);
    ck_assert_msg(strstr(e.text, bad_values[_i].expect) != NULL, "%s", e.text);
    unlink(path);
    free(text);
    json_decref(root);
}
END_TEST

/* Whole texts; `expect` follows the file's name. */
static const struct {
    const char *text, *expect;
} bad_texts[] = {
    {"{\n  \"layers\": 32,\n  \"hidden\" 4096\n}", ":3:15: ':' expected"},
    {"{\"layers\": 1, \"layers\": 2}", ":1:22: duplicate object key"},
    {"[1, 2]", ": holds no JSON object"},
    {"", ":1:0: '[' or '{' expected"},
    {"{\"hidden_size\": 64}", ": \"num_hidden_layers\" is missing"},
    {"{\"hidden_size\": 64, \"kv_lora_rank\": 512}", ": \"kv_lora_rank\" describes what"},
    {"{\"hidden_size\": 64, \"n_shared_experts\": 1}", ": \"n_shared_experts\" describes what"},
    {"{\"hidden_size\": 64, \"quantization_config\": {}}", ": \"quantization_config\" describes"},
    {"{\"hidden_size\": 64, \"decoder_sparse_step\": 2}", ": \"decoder_sparse_step\" must be 1"},
    {"{\"hidden_size\": 100, \"num_hidden_layers\": 1, \"num_attention_heads\": 3,"
     "\"intermediate_size\": 1, \"vocab_size\": 1, \"max_position_embeddings\": 1}",
     ": \"hidden_size\" 100 is no multiple of 3 heads"},
    {"{\"hidden_size\": 64, \"num_hidden_layers\": 1, \"num_attention_heads\": 1,"
     "\"intermediate_size\": 1, \"vocab_size\": 1, \"max_position_embeddings\": 1}",
     ": \"torch_dtype\" is missing"},
    {"{\"hidden_size\": 64, \"num_hidden_layers\": 1, \"num_attention_heads\": 1,"
     "\"intermediate_size\": 1, \"vocab_size\": 1, \"max_position_embeddings\": 1,"
     "\"torch_dtype\": \"int4\"}",
     ": \"torch_dtype\" is \"int4\"; known are"},
    {"{\"hidden_size\": 64, \"num_hidden_layers\": -1}", ": \"num_hidden_layers\" is -1"},
};

START_TEST(bad_text)
{
    struct err e = {0};
    char path[64];

    write_temp(path, sizeof(path), bad_texts[_i].text);
    ck_assert(!describe(false, path, &e));
    ck_assert_msg(strncmp(e.text, path, strlen(path)) == 0, "names no file: %s", e.text);
    ck_assert_msg(
        strncmp(e.text + strlen(path), bad_texts[_i].expect, strlen(bad_texts[_i].expect)) == 0,
        "%s", e.text);
    unlink(path);
}
END_TEST

static const struct {
    bool gpu;
    const char *id, *expect;
} unknown_ids[] = {
    {false, "llama-3-8b", "llama-3-8b: unknown model; the nearest is \"llama-3.1-8b\""},
    {true, "h20", "h20: unknown gpu; the nearest is \"h200\""},
    {true, "", ": unknown gpu; the nearest is"},
    {false, "/nonexistent/config.json", "/nonexistent/config.json: unable to open"},
    {false, "nobody/no-such-model", "nobody/no-such-model: unable to open"},
};

START_TEST(unknown_id)
{
    struct err e = {0};

    ck_assert(!describe(unknown_ids[_i].gpu, unknown_ids[_i].id, &e));
    ck_assert_msg(strncmp(e.text, unknown_ids[_i].expect, strlen(unknown_ids[_i].expect)) == 0,
                  "%s", e.text);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("describe");
    TCase *t = tcase_create("describe");
    SRunner *r;
    int failed;

    tcase_add_test(t, all_ids_of_the_contract);
    tcase_add_test(t, every_number_has_a_source);
    tcase_add_test(t, aliases_name_their_own_preset);
    tcase_add_loop_test(t, names_of_profiles, 0, (int)ARRAY_LEN(profile_names));
    tcase_add_loop_test(t, parameter_counts, 0, (int)ARRAY_LEN(published));
    tcase_add_test(t, kv_over_gpus);
    tcase_add_test(t, hf_dense);
    tcase_add_test(t, hf_experts);
    tcase_add_loop_test(t, bad_value, 0, (int)ARRAY_LEN(bad_values));
    tcase_add_loop_test(t, bad_text, 0, (int)ARRAY_LEN(bad_texts));
    tcase_add_loop_test(t, unknown_id, 0, (int)ARRAY_LEN(unknown_ids));
    suite_add_tcase(s, t);
    r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
