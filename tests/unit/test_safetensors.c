/* test_safetensors.c: safetensors with a config.json as weights: types, several files, damage. */
#include "backend/model/safetensors.h"
#include "tests/support/model_files.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct arch tiny = {
    .layers = 2,
    .hidden = 8,
    .heads = 4,
    .kv_heads = 2,
    .head_dim = 4,
    .intermediate = 6,
    .vocab = 11,
    .max_model_len = 32,
    .rms_eps = 1e-6,
    .rope_theta = 50000,
};

static const char config_json[] =
    "{\"model_type\": \"llama\", \"hidden_act\": \"silu\", \"hidden_size\": 8,\n"
    " \"num_hidden_layers\": 2, \"num_attention_heads\": 4, \"num_key_value_heads\": 2,\n"
    " \"head_dim\": 4, \"intermediate_size\": 6, \"vocab_size\": 11, \"torch_dtype\": "
    "\"bfloat16\",\n"
    " \"max_position_embeddings\": 32, \"rms_norm_eps\": 1e-6, \"rope_theta\": 50000.0%s}\n";

static struct model_folder folder;
static struct weights truth;

/* ---- files ---- */

static void name_of(uint32_t tensor, char *out, size_t size)
{
    static const char *const layer[] = {
        "input_layernorm",  "self_attn.q_proj", "self_attn.k_proj",
        "self_attn.v_proj", "self_attn.o_proj", "post_attention_layernorm",
        "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj",
    };
    static const char *const last[] = {"model.embed_tokens", "model.norm", "lm_head"};
    uint32_t n = tiny.layers * LAYER_TENSORS;

    if (tensor < n)
        snprintf(out, size, "model.layers.%u.%s.weight", tensor / LAYER_TENSORS,
                 layer[tensor % LAYER_TENSORS]);
    else
        snprintf(out, size, "%s.weight", last[tensor - n]);
}

/* A file of tensors begin..end-1 as `dtype`, and after them `more` in the header. */
static void make(struct bytes *out, const char *dtype, uint32_t begin, uint32_t end,
                 const char *more)
{
    struct bytes data = {0}, header = {0};
    char name[96], text[256];

    put_bytes(&header, "{\"__metadata__\":{\"format\":\"pt\"}", 31);
    for (uint32_t t = begin; t < end; t++) {
        struct tensor_shape s = weights_shape(&tiny, t);
        const uint16_t *bf16 = weights_tensor(&truth, t);
        size_t at = data.n;

        for (uint32_t i = 0; i < s.rows * s.cols; i++) {
            uint32_t bits = (uint32_t)bf16[i] << 16;

            if (strcmp(dtype, "F16") == 0) /* exact: random weights of this size are halves */
                put_le(&data, (bits >> 16 & 0x8000) | (((bits >> 13) - (112u << 10)) & 0x7fff), 2);
            else if (strcmp(dtype, "F32") == 0)
                put_le(&data, bits, 4);
            else
                put_le(&data, bf16[i], 2);
        }
        name_of(t, name, sizeof(name));
        snprintf(text, sizeof(text), ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", name, dtype);
        put_bytes(&header, text, strlen(text));
        snprintf(text, sizeof(text), s.norm ? "%.0u%u" : "%u,%u", s.norm ? 0 : s.rows, s.cols);
        put_bytes(&header, text, strlen(text));
        snprintf(text, sizeof(text), "],\"data_offsets\":[%zu,%zu]}", at, data.n);
        put_bytes(&header, text, strlen(text));
    }
    put_bytes(&header, more, strlen(more));
    put_bytes(&header, "}", 1);
    put_le(out, header.n, 8);
    put_bytes(out, header.at, header.n);
    put_bytes(out, data.at, data.n);
    mem_free(header.at);
    mem_free(data.at);
}

static void write_model(const char *name, const char *dtype, uint32_t begin, uint32_t end,
                        const char *more)
{
    struct bytes b = {0};

    make(&b, dtype, begin, end, more);
    model_file_write(&folder, name, b.at, b.n);
    mem_free(b.at);
}

static void write_text(const char *name, const char *text)
{
    model_file_write(&folder, name, text, strlen(text));
}

static void write_config(const char *more)
{
    char text[1024];

    snprintf(text, sizeof(text), config_json, more);
    write_text("config.json", text);
}

static void setup(void)
{
    model_folder_make(&folder);
    weights_random(&truth, &tiny, 5);
    weights_draw(&truth);
    write_config("");
}

static void teardown(void)
{
    weights_release(&truth);
    model_folder_remove(&folder);
}

/* ---- whole files ---- */

static void check_loads(const char *path)
{
    struct err e = {0};
    struct weights w;

    ck_assert_msg(weights_load(&w, path, WEIGHT_BF16, &e), "%s", e.text);
    ck_assert_uint_eq(w.arch.kv_heads, 2);
    ck_assert_double_eq(w.arch.rope_theta, 50000);
    for (uint32_t t = 0; t < weights_tensors(&w.arch); t++) {
        struct tensor_shape s = weights_shape(&tiny, t);

        ck_assert_mem_eq(weights_tensor(&w, t), weights_tensor(&truth, t),
                         s.rows * s.cols * sizeof(uint16_t));
    }
    weights_release(&w);
}

START_TEST(all_types)
{
    static const char *const dtypes[] = {"BF16", "F16", "F32"};

    write_model(
        "model.safetensors", dtypes[_i], 0, weights_tensors(&tiny),
        ",\"model.layers.0.self_attn.rotary_emb.inv_freq\":{\"dtype\":\"F32\",\"shape\":[2],"
        "\"data_offsets\":[0,8]}");
    check_loads(model_file_path(&folder, "model.safetensors"));
    check_loads(folder.path);
}
END_TEST

START_TEST(several_files)
{
    uint32_t n = weights_tensors(&tiny);
    char index[4096] = "{\"metadata\":{},\"weight_map\":{", name[96];
    size_t len = strlen(index);

    for (uint32_t t = 0; t < n; t++) {
        name_of(t, name, sizeof(name));
        len += (size_t)snprintf(index + len, sizeof(index) - len, "%s\"%s\":\"%s.safetensors\"",
                                t ? "," : "", name, t < 7 ? "one" : "two");
    }
    snprintf(index + len, sizeof(index) - len, "}}");
    write_text("model.safetensors.index.json", index);
    write_model("one.safetensors", "BF16", 0, 7, "");
    write_model("two.safetensors", "F32", 7, n, "");
    check_loads(model_file_path(&folder, "model.safetensors.index.json"));
    check_loads(folder.path);
}
END_TEST

START_TEST(head_beside_tied_embeddings)
{
    struct err e = {0};
    struct weights w;

    write_config(", \"tie_word_embeddings\": true");
    write_model("model.safetensors", "BF16", 0, weights_tensors(&tiny), "");
    ck_assert_msg(weights_load(&w, folder.path, WEIGHT_BF16, &e), "%s", e.text);
    ck_assert(w.lm_head == w.embedding);
    weights_release(&w);
}
END_TEST

/* ---- damage ---- */

static const struct {
    const char *config, *dtype, *more, *says;
} damaged[] = {
    {", \"hidden_act\": \"gelu\"", "BF16", "", "duplicate object key"},
    {", \"attention_bias\": true", "BF16", "", "is no plain LLaMA decoder"},
    {", \"rope_scaling\": {\"rope_type\": \"yarn\"}", "BF16", "", "is no plain LLaMA decoder"},
    {", \"rope_scaling\": {\"rope_type\": \"llama3\"}", "BF16", "", "\"factor\" is missing"},
    {", \"sliding_window\": 4096", "BF16", "", "is no plain LLaMA decoder"},
    {"", "I64", "", "is quantised as I64"},
    {"", "F32\",\"x\":\"", "", "is not as large as its shape"},
    {"", "BF16",
     ",\"model.layers.0.self_attn.q_proj.bias\":{\"dtype\":\"F32\",\"shape\":[1],"
     "\"data_offsets\":[0,4]}",
     "holds tensor model.layers.0.self_attn.q_proj.bias"},
    {"", "BF16", ",\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,0]}", "has no right"},
    {"", "BF16", ",\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}", "has no right"},
    {"", "BF16", ",\"x\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}",
     "has no right"},
    {"", "BF16", ",\"x\":{\"dtype\":\"F32\",\"shape\":2,\"data_offsets\":[0,8]}", "has no right"},
    {"", "BF16", ",\"x\":{\"shape\":[2],\"data_offsets\":[0,8]}", "has no right"},
    {"", "BF16", ",\"x\":7", "has no right"},
    {"", "BF16", ",\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,9]}",
     "is not as large as its shape"},
    {"", "BF16",
     ",\"x\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],"
     "\"data_offsets\":[0,0]}",
     "is not as large as its shape"},
    {"", "BF16", ",\"x\":{\"dtype\":\"F32\",\"shape\":[9],\"data_offsets\":[0,9000000]}",
     "the file ends inside tensor x"},
    {"", "BF16", ",7", "its header is no JSON object"},
};

START_TEST(damage_is_named)
{
    struct err e = {0};
    struct weights w;

    write_config(damaged[_i].config);
    write_model("model.safetensors", damaged[_i].dtype, 0, weights_tensors(&tiny),
                damaged[_i].more);
    ck_assert(!weights_load(&w, folder.path, WEIGHT_BF16, &e));
    ck_assert_msg(strstr(e.text, damaged[_i].says), "%s", e.text);
    ck_assert_ptr_null(w.owned);
}
END_TEST

static void check_refused(const char *path, const char *says)
{
    struct err e = {0};
    struct weights w;

    ck_assert(!weights_load(&w, path, WEIGHT_BF16, &e));
    ck_assert_msg(strstr(e.text, says), "%s", e.text);
}

START_TEST(missing_parts_are_named)
{
    check_refused(folder.path, "model.safetensors: No such file or directory; ");
    write_model("model.safetensors", "BF16", 1, weights_tensors(&tiny), "");
    check_refused(folder.path, "tensor model.layers.0.input_layernorm.weight is missing");
    write_config(", \"num_local_experts\": 0, \"n_shared_experts\": 1");
    check_refused(folder.path, "n_shared_experts");
    unlink(model_file_path(&folder, "config.json"));
    check_refused(folder.path, "config.json: ");
}
END_TEST

START_TEST(wrong_indices_are_named)
{
    static const char *const says[][2] = {
        {"{", "model.safetensors.index.json:1: "},
        {"{}", "has no weight_map"},
        {"{\"weight_map\":{\"a\":7}}", "tensor a is in no file of that folder"},
        {"{\"weight_map\":{\"a\":\"../x\"}}", "tensor a is in no file of that folder"},
        {"{\"weight_map\":{\"a\":\"none\"}}", "none: No such file"},
        {"{\"weight_map\":{\"a\":\"part\"}}", "tensor a is not in part"},
        {"{\"weight_map\":{\"lm_head.weight\":\"part\",\"b\":\"copy\"}}",
         "tensor lm_head.weight is in two files"},
    };
    uint32_t n = weights_tensors(&tiny);

    write_model("part", "BF16", n - 1, n, "");
    write_model("copy", "BF16", n - 1, n, "");
    for (size_t i = 0; i < ARRAY_LEN(says); i++) {
        write_text("model.safetensors.index.json", says[i][0]);
        check_refused(folder.path, says[i][1]);
    }
}
END_TEST

START_TEST(every_cut_is_an_error)
{
    char path[128];
    struct bytes b = {0};

    make(&b, "BF16", 0, weights_tensors(&tiny), "");
    snprintf(path, sizeof(path), "%s", model_file_write(&folder, "model.safetensors", b.at, b.n));
    for (size_t n = b.n; n-- > 0;) {
        struct err e = {0};
        struct weights w;

        ck_assert_int_eq(truncate(path, (off_t)n), 0);
        ck_assert_msg(!weights_load(&w, path, WEIGHT_BF16, &e), "cut at %zu of %zu", n, b.n);
        ck_assert(e.set);
    }
    mem_free(b.at);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("safetensors");
    TCase *t = tcase_create("safetensors");
    SRunner *r;
    int failed;

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, all_types, 0, 3);
    tcase_add_test(t, several_files);
    tcase_add_test(t, head_beside_tied_embeddings);
    tcase_add_loop_test(t, damage_is_named, 0, (int)ARRAY_LEN(damaged));
    tcase_add_test(t, missing_parts_are_named);
    tcase_add_test(t, wrong_indices_are_named);
    tcase_add_test(t, every_cut_is_an_error);
    suite_add_tcase(s, t);
    r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
