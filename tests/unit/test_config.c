/* The configuration: names, types and ranges, nesting, precedence, what identifies a run. Cases are
 * tables of JSON texts; "FILE" in an expected message stands for the file's name. */
#include "experiments/config.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/registry.h"
#include "experiments/compose.h"
#include "experiments/lists.h"
#include "policies/registry.h"
#include "traces/registry.h"

/* ---- helpers ---- */

static char *write_file(const char *text)
{
    static char path[64];
    snprintf(path, sizeof path, "/tmp/tandem-config-XXXXXX");
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    return path;
}

static bool load(struct config *c, const char *text, struct err *e)
{
    char *path = write_file(text);
    bool ok = config_load(c, path, e);
    unlink(path);
    return ok;
}

/* A resolved configuration from one file's text. */
static struct config loaded(const char *text)
{
    struct config c;
    struct err e = {0};
    config_init(&c);
    ck_assert_msg(load(&c, text, &e), "%s: %s", text, e.text);
    config_resolve(&c);
    return c;
}

static void hash_of(const char *text, char hex[SHA256_HEX])
{
    struct config c = loaded(text);
    struct err e = {0};
    ck_assert_msg(config_hash(&c, hex, &e), "%s: %s", text, e.text);
    config_release(&c);
}

static char *canonical_of(const char *text)
{
    struct config c = loaded(text);
    char *canonical = config_canonical(&c);
    config_release(&c);
    return canonical;
}

/* ---- keys ---- */

START_TEST(test_every_key_once_and_sound)
{
    struct config_key key, other;
    size_t n = 0;
    for (; config_key_at(n, &key); n++) {
        const struct param_desc *d = key.desc;
        ck_assert_msg(d->doc && *d->doc, "%s has no doc", key.name);
        ck_assert_ptr_nonnull(d->dflt);
        ck_assert(config_key_find(key.name, &other));
        ck_assert_msg(other.desc == d, "%s is there twice", key.name);
        if (*d->dflt && (d->type == PARAM_INT || d->type == PARAM_REAL) && d->min < d->max) {
            double x = strtod(d->dflt, NULL);
            ck_assert_msg(x >= d->min && x <= d->max, "%s: default out of range", key.name);
        }
        if (d->type == PARAM_BOOL)
            ck_assert_msg(!strcmp(d->dflt, "true") || !strcmp(d->dflt, "false"), "%s", key.name);
    }
    ck_assert_uint_gt(n, 40);
    ck_assert(!config_key_find("no.such_key", &key));
}
END_TEST

static void check_plugin_keys(const char *id, const struct param_desc *params)
{
    ck_assert_ptr_nonnull(id);
    for (const struct param_desc *d = params; d && d->name; d++) {
        char name[128];
        struct config_key key;
        snprintf(name, sizeof name, "%s.%s", id, d->name);
        ck_assert_msg(config_key_find(name, &key), "%s is not listed", name);
        ck_assert_ptr_eq(key.desc, d);
        ck_assert_str_eq(key.owner, id);
    }
}

START_TEST(test_every_plugin_key_is_listed)
{
#define CHECK_KIND(type, at)                                                                       \
    do {                                                                                           \
        const struct type *ops;                                                                    \
        for (size_t i = 0; (ops = at(i)) != NULL; i++)                                             \
            check_plugin_keys(ops->name, ops->params);                                             \
    } while (0)
    CHECK_KIND(scheduler_ops, scheduler_at);
    CHECK_KIND(router_ops, router_at);
    CHECK_KIND(kvpolicy_ops, kvpolicy_at);
    CHECK_KIND(prefix_ops, prefix_at);
    CHECK_KIND(predictor_ops, predictor_at);
    CHECK_KIND(backend_ops, backend_at);
    CHECK_KIND(trace_ops, trace_at);
    struct config_key key;
    for (const struct param_desc *d = trace_params; d->name; d++) {
        char name[128];
        snprintf(name, sizeof name, "trace.%s", d->name);
        ck_assert_msg(config_key_find(name, &key) || config_key_find(d->name, &key), "%s", name);
    }
    ck_assert(config_key_find("session_mode", &key));
    ck_assert(!config_key_find("trace.session_mode", &key));
}
END_TEST

START_TEST(test_plugins_read_what_was_set)
{
    struct config c =
        loaded("{\"vtc\":{\"wq\":3,\"weights\":{\"a\":2.5}},\"session_mode\":\"after\","
               "\"trace.limit\":7,\"enable_prefix_caching\":false}");
    ck_assert_double_eq(params_find(&c.params, "vtc.wq")->num, 3);
    ck_assert_double_eq(params_map_num(&c.params, "vtc", "weights", "a", 1), 2.5);
    ck_assert_double_eq(params_map_num(&c.params, "vtc", "weights", "b", 1), 1);
    ck_assert_str_eq(params_str(&c.params, trace_params, "trace", "session_mode"), "after");
    ck_assert_double_eq(params_num(&c.params, trace_params, "trace", "limit"), 7);
    ck_assert_double_eq(params_num(&c.params, trace_params, "trace", "rate_scale"), 1);
    ck_assert(!config_bool(&c, "enable_prefix_caching"));
    ck_assert(config_bool(&c, "scheduler_reserve_full_isl"));
    ck_assert_ptr_null(config_str(&c, "trace"));
    ck_assert(config_num(&c, "horizon_s") != config_num(&c, "horizon_s")); /* NaN: none */
    config_release(&c);
}
END_TEST

/* ---- nesting ---- */

static const struct {
    const char *nested, *flat;
} same[] = {
    {"{}", "{}"},
    {"{\"vtc\":{\"wq\":3}}", "{\"vtc.wq\":3}"},
    {"{\"kv\":{\"id\":\"full\"}}", "{\"kv\":\"full\"}"},
    {"{\"trace\":{\"limit\":5,\"tenants\":2}}", "{\"trace.limit\":5,\"trace.tenants\":2}"},
    {"{\"vtc\":{\"weights\":{\"a\":2,\"b.c\":3}}}", "{\"vtc.weights\":{\"b.c\":3,\"a\":2}}"},
    {"{\"vtc.weights\":{\"a\":2,\"b\":3}}", "{\"vtc.weights.b\":3,\"vtc\":{\"weights.a\":2}}"},
    {"{\"gpu_memory_utilization\":1}", "{\"gpu_memory_utilization\":1.0}"},
    {"{\"max_num_seqs\":128}", "{\"max_num_seqs\":128.0}"},
    {"{\"max_num_seqs\":256}", "{}"},
    {"{\"max_num_seqs\":null}", "{}"},
    {"{\"scheduler\":\"fcfs\",\"vtc.wq\":2}", "{}"},
    {"{\"replicas\":[{\"count\":2,\"gpu\":\"h200\"}]}",
     "{\"replicas\":[{\"gpu\":\"h200\",\"count\":2}]}"},
};

START_TEST(test_nesting_changes_nothing)
{
    char *a = canonical_of(same[_i].nested), *b = canonical_of(same[_i].flat);
    char ha[SHA256_HEX], hb[SHA256_HEX];
    ck_assert_str_eq(a, b);
    hash_of(same[_i].nested, ha);
    hash_of(same[_i].flat, hb);
    ck_assert_str_eq(ha, hb);
    free(a);
    free(b);
}
END_TEST

/* ---- what is refused ---- */

static const struct {
    const char *text, *message;
} bad_files[] = {
    {"", "FILE:1:0: "},
    {"{\n  \"seed\": 1,\n  \"rep\" 2}", "FILE:3:"},
    {"[1]", "FILE:1:1: a configuration is a JSON object"},
    {"{\"seed\":1,\"seed\":2}", "duplicate"},
    {"{\"vtc\":{\"wq\":1},\"vtc.wq\":1}", "FILE: vtc.wq: given twice"},
    {"{\"vtc.weights.a\":1,\"vtc\":{\"weights\":{\"a\":1}}}", "FILE: vtc.weights: given twice"},
    {"{\"vtc.weights\":{\"a\":1},\"vtc.weights.a\":1}", "FILE: vtc.weights.a: given twice"},
    {"{\"max_num_seq\":1}", "FILE: max_num_seq: unknown key; the nearest is max_num_seqs"},
    {"{\"vtc\":{\"wp2\":1}}", "vtc.wp2: unknown key; the nearest is vtc.wp"},
    {"{\"id\":\"x\"}", "id: unknown key"},
    {"{\"max_num_seqs\":\"8\"}", "FILE: max_num_seqs: \"8\" is not a whole number"},
    {"{\"max_num_seqs\":1.5}", "1.5 is not a whole number"},
    {"{\"max_num_seqs\":[8]}", "max_num_seqs: [8] is not a whole number"},
    {"{\"max_num_seqs\":0}", "max_num_seqs: 0 is out of range"},
    {"{\"gpu_memory_utilization\":1.01}", "gpu_memory_utilization: 1.01 is out of range"},
    {"{\"gpu_memory_utilization\":true}", "gpu_memory_utilization: true is not a number"},
    {"{\"seed\":-1}", "seed: -1 is out of range"},
    {"{\"enable_prefix_caching\":1}", "1 is not true or false"},
    {"{\"trace\":5}", "trace: 5 is not a string"},
    {"{\"vtc.weights\":5}", "vtc.weights: 5 is not an object"},
    {"{\"vtc.weights\":{\"a\":\"x\"}}", "vtc.weights.a: \"x\" is not a number"},
    {"{\"slo\":5}", "slo: 5 is not an array of objects"},
    {"{\"slo\":{\"class\":\"a\"}}", "slo: {\"class\":\"a\"} is not an array of objects"},
    {"{\"replicas\":\"2\"}", "replicas: \"2\" is not a whole number or an array of objects"},
    {"{\"scheduler\":\"fcsf\"}", "scheduler: unknown value \"fcsf\"; the nearest is fcfs"},
    {"{\"scheduler\":{\"id\":\"nope\"}}", "scheduler: unknown value \"nope\""},
    {"{\"clock\":\"paces\"}", "clock: unknown value \"paces\"; the nearest is paced"},
    /* known to the contract, and not built */
    {"{\"kv\":\"h2\"}", "kv: unknown value \"h2\"; the nearest is h2o"},
    {"{\"kv.budget_policy\":\"piramid\"}", "unknown value \"piramid\"; the nearest is pyramid"},
    {"{\"kv\":{\"id\":\"h2o\",\"budget\":0}}", "kv.budget: 0 is out of range"},
    {"{\"kv_admission\":\"lightlm\"}", "kv_admission: unknown value \"lightlm\"; the nearest is "
                                       "lightllm"},
    {"{\"engine\":\"sglan\"}", "engine: unknown value \"sglan\"; the nearest is sglang"},
    {"{\"backend\":\"repaly\"}", "backend: unknown value \"repaly\"; the nearest is replay"},
    {"{\"dtype\":\"fp9\"}", "dtype: unknown value \"fp9\"; the nearest is fp8"},
    {"{\"data_parallel_size\":2}", "data_parallel_size: this version has not got this key"},
};

START_TEST(test_bad_file)
{
    struct config c;
    struct err e = {0};
    config_init(&c);
    char *path = write_file(bad_files[_i].text);
    ck_assert_msg(!config_load(&c, path, &e), "accepted: %s", bad_files[_i].text);
    unlink(path);
    char expected[256];
    const char *message = bad_files[_i].message;
    bool named = strncmp(message, "FILE", 4) == 0;
    snprintf(expected, sizeof expected, "%s%s", named ? path : "", message + (named ? 4 : 0));
    ck_assert_msg(strstr(e.text, expected) != NULL, "%s: expected \"%s\"", e.text, expected);
    ck_assert_msg(strncmp(e.text, path, strlen(path)) == 0, "%s: does not name the file", e.text);
    ck_assert_ptr_null(strchr(e.text, '\n'));
    ck_assert_uint_eq(json_object_size(c.flat), 0); /* a bad file sets nothing */
    config_release(&c);
}
END_TEST

START_TEST(test_missing_file)
{
    struct config c;
    struct err e = {0};
    config_init(&c);
    ck_assert(!config_load(&c, "/nonexistent/x.json", &e));
    ck_assert_ptr_nonnull(strstr(e.text, "/nonexistent/x.json"));
    config_release(&c);
}
END_TEST

/* ---- --set ---- */

static const struct {
    const char *key, *value, *canonical, *message; /* canonical NULL: refused */
} sets[] = {
    {"max_num_seqs", "8", "\"max_num_seqs\":8,", NULL},
    {"warmup_s", "2.5", "\"warmup_s\":2.5", NULL},
    {"enable_prefix_caching", "false", "\"enable_prefix_caching\":false", NULL},
    {"trace", "a b.csv", "\"trace\":\"a b.csv\"", NULL},
    {"trace", "17", "\"trace\":\"17\"", NULL},
    {"trace", "\"17\"", "\"trace\":\"17\"", NULL},
    {"trace", "null", "\"trace\":null", NULL},
    {"replicas", "3", "\"replicas\":3", NULL},
    {"replicas", "[{\"count\":3}]", "\"replicas\":[{\"count\":3}]", NULL},
    {"vtc.weights.alice", "2", "\"vtc.weights\":{\"alice\":2}", NULL},
    {"vtc.weights", "{\"alice\":2}", "\"vtc.weights\":{\"alice\":2}", NULL},
    {"max_num_seqs", "x", NULL, "max_num_seqs: \"x\" is not a whole number"},
    {"max_num_seqs", "", NULL, "max_num_seqs: \"\" is not a whole number"},
    {"max_num_seqs", "8 9", NULL, "max_num_seqs: \"8 9\" is not a whole number"},
    {"warmup_s", "nan", NULL, "warmup_s: \"nan\" is not a number"},
    {"warmup_s", "1e999", NULL, "warmup_s: \"1e999\" is not a number"},
    {"trace", "\xff", NULL, "trace: the value is not valid UTF-8"},
    {"vtc.weights.", "2", NULL, "vtc.weights.: unknown key"},
    {"vtc.weights.alice", "x", NULL, "vtc.weights.alice: \"x\" is not a number"},
    {"slo.class", "x", NULL, "slo.class: unknown key"},
};

START_TEST(test_set)
{
    struct config c;
    struct err e = {0};
    config_init(&c);
    bool ok = config_set(&c, sets[_i].key, sets[_i].value, &e);
    if (sets[_i].canonical) {
        ck_assert_msg(ok, "%s", e.text);
        config_resolve(&c);
        char *text = config_canonical(&c);
        ck_assert_msg(strstr(text, sets[_i].canonical) != NULL, "%s: no %s", text,
                      sets[_i].canonical);
        free(text);
    } else {
        ck_assert_msg(!ok, "accepted: %s=%s", sets[_i].key, sets[_i].value);
        ck_assert_msg(strstr(e.text, sets[_i].message) != NULL, "%s: expected \"%s\"", e.text,
                      sets[_i].message);
    }
    config_release(&c);
}
END_TEST

START_TEST(test_later_wins)
{
    struct config c;
    struct err e = {0};
    config_init(&c);
    ck_assert(load(&c, "{\"seed\":2,\"rep\":2,\"vtc.weights\":{\"a\":2,\"b\":2}}", &e));
    ck_assert(load(&c, "{\"seed\":3}", &e));
    ck_assert(config_set(&c, "rep", "4", &e));
    ck_assert(config_set(&c, "vtc.weights.a", "5", &e));
    config_resolve(&c);
    ck_assert_double_eq(config_num(&c, "seed"), 3);
    ck_assert_double_eq(config_num(&c, "rep"), 4);
    ck_assert_double_eq(params_map_num(&c.params, "vtc", "weights", "a", 1), 5);
    ck_assert_double_eq(params_map_num(&c.params, "vtc", "weights", "b", 1), 2);
    ck_assert(config_set(&c, "vtc.weights", "{\"b\":7}", &e)); /* a whole map replaces */
    ck_assert(config_set(&c, "seed", "null", &e));             /* back to the default */
    config_resolve(&c);
    ck_assert_double_eq(params_map_num(&c.params, "vtc", "weights", "a", 1), 1);
    ck_assert_double_eq(params_map_num(&c.params, "vtc", "weights", "b", 1), 7);
    ck_assert_double_eq(config_num(&c, "seed"), 1);
    ck_assert(!config_is_set(&c, "seed") && config_is_set(&c, "rep"));
    config_release(&c);
}
END_TEST

/* ---- identity ---- */

START_TEST(test_canonical_is_sorted_and_whole)
{
    char *text = canonical_of("{\"warmup_s\":1,\"backend\":\"roofline\"}");
    json_t *v = json_loads(text, 0, NULL);
    ck_assert_ptr_nonnull(v);
    char last[128] = "";
    const char *key;
    json_t *x;
    json_object_foreach(v, key, x)
    { /* jansson keeps the order of the text */
        ck_assert_int_lt(strcmp(last, key), 0);
        snprintf(last, sizeof last, "%s", key);
    }
    struct config_key k;
    for (size_t i = 0; config_key_at(i, &k); i++)
        if (!k.owners || strcmp(k.owner, "fcfs") == 0)
            ck_assert_msg(json_object_get(v, k.name) != NULL, "%s is missing", k.name);
    ck_assert_ptr_null(json_object_get(v, "vtc.wq")); /* not selected, not set */
    json_decref(v);
    free(text);
    text = canonical_of("{\"scheduler\":\"vtc\"}");
    ck_assert_ptr_nonnull(strstr(text, "\"vtc.wq\":2"));
    free(text);
}
END_TEST

static const struct {
    const char *text;
    bool changes;
} variants[] = {
    {"{\"seed\":7}", false},
    {"{\"rep\":7}", false},
    {"{\"max_request_rows\":7}", false},
    {"{\"max_num_seqs\":7}", true},
    {"{\"scheduler\":\"vtc\"}", true},
    {"{\"vtc.wq\":3}", true}, /* also the measure of service */
    {"{\"slo\":[{\"class\":\"a\"}]}", true},
    {"{\"gpu_memory_utilization\":0.90000000000000013}", true},
    {"{\"replicas\":2}", true},
    {"{\"trace.limit\":2}", true},
    {"{\"horizon_s\":2}", true},
};

START_TEST(test_what_changes_the_hash)
{
    char a[SHA256_HEX], b[SHA256_HEX];
    hash_of("{}", a);
    hash_of(variants[_i].text, b);
    ck_assert_uint_eq(strlen(a), 64);
    ck_assert_msg((strcmp(a, b) != 0) == variants[_i].changes, "%s", variants[_i].text);
}
END_TEST

START_TEST(test_files_count_by_content)
{
    char first[64], text[160], a[SHA256_HEX], b[SHA256_HEX], c[SHA256_HEX];
    snprintf(first, sizeof first, "%s", write_file("arrival_s,prompt_tokens\n"));
    snprintf(text, sizeof text, "{\"trace\":\"%s\"}", first);
    hash_of(text, a);
    char copy[64];
    snprintf(copy, sizeof copy, "%s", write_file("arrival_s,prompt_tokens\n"));
    snprintf(text, sizeof text, "{\"trace\":\"%s\"}", copy);
    hash_of(text, b);
    ck_assert_str_eq(a, b);
    char other[64];
    snprintf(other, sizeof other, "%s", write_file("arrival_s,prompt_tokens\n1,2\n"));
    snprintf(text, sizeof text, "{\"trace\":\"%s\"}", other);
    hash_of(text, c);
    ck_assert_str_ne(a, c);
    /* a model's file, too, also in a list; a preset's name is no file */
    snprintf(text, sizeof text, "{\"model\":\"%s\"}", first);
    hash_of(text, a);
    snprintf(text, sizeof text, "{\"model\":\"%s\"}", copy);
    hash_of(text, b);
    ck_assert_str_eq(a, b);
    snprintf(text, sizeof text, "{\"replicas\":[{\"model\":\"%s\"}]}", first);
    hash_of(text, a);
    snprintf(text, sizeof text, "{\"replicas\":[{\"model\":\"%s\"}]}", copy);
    hash_of(text, b);
    ck_assert_str_eq(a, b);
    unlink(first);
    unlink(copy);
    unlink(other);
    struct config gone = loaded(text);
    struct err e = {0};
    ck_assert(!config_hash(&gone, a, &e));
    ck_assert_ptr_nonnull(strstr(e.text, copy));
    config_release(&gone);
}
END_TEST

START_TEST(test_order_nesting_and_seed_do_not_matter)
{
    char a[SHA256_HEX], b[SHA256_HEX];
    hash_of("{\"seed\":1,\"vtc\":{\"wq\":3,\"weights\":{\"x\":2,\"y\":1}}}", a);
    hash_of("{\"vtc.weights\":{\"y\":1,\"x\":2},\"vtc.wq\":3.0,\"seed\":2}", b);
    ck_assert_str_eq(a, b);
}
END_TEST

/* ---- lists ---- */

static const struct {
    const char *text, *message; /* NULL: fine */
} lists[] = {
    {"{\"slo\":[{\"class\":\"a\",\"tenants\":[\"x\",\"*\"],\"ttft_ms\":0.5,\"e2el_ms\":9}]}", NULL},
    {"{\"slo\":[]}", "slo: an empty list"},
    {"{\"slo\":[{\"ttft_ms\":1}]}", "slo[0]: has no \"class\""},
    {"{\"slo\":[{\"class\":\"\"}]}", "slo[0].class: must be a string"},
    {"{\"slo\":[{\"class\":\"a\"},{\"class\":\"a\"}]}", "slo[1].class: \"a\" is there twice"},
    {"{\"slo\":[{\"class\":\"a\",\"ttft\":1}]}",
     "slo[0].ttft: unknown member; the nearest is ttft_ms"},
    {"{\"slo\":[{\"class\":\"a\",\"ttft_ms\":0}]}", "slo[0].ttft_ms: must be a number above 0"},
    {"{\"slo\":[{\"class\":\"a\",\"ttft_ms\":\"1\"}]}", "slo[0].ttft_ms: must be a number"},
    {"{\"slo\":[{\"class\":\"a\",\"tenants\":\"x\"}]}", "slo[0].tenants: must be an array"},
    {"{\"slo\":[{\"class\":\"a\",\"tenants\":[1]}]}", "slo[0].tenants[0]: must be a string"},
    {"{\"replicas\":[]}", "replicas: an empty list"},
    {"{\"replicas\":[{\"gpus\":\"h200\"}]}",
     "replicas[0].gpus: unknown member; the nearest is gpu"},
    {"{\"replicas\":[{\"count\":0}]}", "replicas[0].count: must be a number above 0"},
    {"{\"replicas\":[{\"count\":1.5}]}", "replicas[0].count: must be a whole number"},
};

START_TEST(test_lists)
{
    struct config c = loaded(lists[_i].text);
    struct arena a;
    struct err e = {0};
    struct slo_class *slo;
    struct replica_spec *spec;
    size_t n_slo, n_spec;
    arena_init(&a);
    bool ok = list_slo(&c, &a, &slo, &n_slo, &e) && list_replicas(&c, &a, &spec, &n_spec, &e);
    ck_assert_msg(ok == !lists[_i].message, "%s: %s", lists[_i].text, e.text);
    if (lists[_i].message)
        ck_assert_msg(strstr(e.text, lists[_i].message) != NULL, "%s: expected \"%s\"", e.text,
                      lists[_i].message);
    arena_release(&a);
    config_release(&c);
}
END_TEST

START_TEST(test_slo_values)
{
    struct config c = loaded(lists[0].text), d = loaded("{}");
    struct arena a;
    struct err e = {0};
    struct slo_class *slo;
    size_t n;
    arena_init(&a);
    ck_assert(list_slo(&c, &a, &slo, &n, &e));
    ck_assert_uint_eq(n, 1);
    ck_assert_str_eq(slo->name, "a");
    ck_assert_str_eq(slo->tenants[1], "*");
    ck_assert_ptr_null(slo->tenants[2]);
    ck_assert_int_eq(slo->ttft_ns, NS_PER_MS / 2);
    ck_assert_int_eq(slo->tpot_ns, SLO_NO_LIMIT);
    ck_assert_int_eq(slo->e2el_ns, 9 * NS_PER_MS);
    ck_assert(list_slo(&d, &a, &slo, &n, &e)); /* nobody set any */
    ck_assert_uint_eq(n, 1);
    ck_assert_str_eq(slo->tenants[0], "*");
    ck_assert_int_eq(slo->ttft_ns, 2000 * NS_PER_MS);
    ck_assert_int_eq(slo->tpot_ns, 100 * NS_PER_MS);
    arena_release(&a);
    config_release(&c);
    config_release(&d);
}
END_TEST

/* ---- composing ---- */

static const char small_trace[] = "arrival_s,prompt_tokens,output_tokens\n0,10,5\n";

static const struct {
    const char *text, *message; /* NULL: fine */
} composed_cases[] = {
    {"{}", NULL},
    {"{\"model\":\"llama-3.1-8\"}", "nearest"},
    {"{\"gpu\":\"h20\"}", "nearest"},
    {"{\"max_model_len\":1000000}", "max_model_len: 1000000 is more than the 131072"},
    {"{\"tensor_parallel_size\":3}", "tensor_parallel_size: 3 does not divide"},
    {"{\"num_gpu_blocks\":1}", "num_gpu_blocks: 1 given, of which vllm-0.19 keeps 1"},
    {"{\"num_gpu_blocks\":1,\"engine\":\"ideal\"}", NULL},
    {"{\"preempt\":\"swap\"}", "preempt: swap needs room on the host"},
    {"{\"preempt\":\"swap\",\"host_memory_gb\":8}", NULL},
    {"{\"warmup_s\":5,\"horizon_s\":5}", "horizon_s: 5 is not after warmup_s 5"},
    {"{\"scheduler\":\"vtc\",\"vtc.predict\":true}", "vtc.predict: there is no predictor"},
    {"{\"scheduler\":\"vtc\",\"vtc.predict\":true,\"predictor\":\"oracle\"}", NULL},
    {"{\"scheduler\":\"ssjf\",\"predictor\":\"none\"}", "scheduler: ssjf needs a predictor"},
    {"{\"scheduler\":\"ssjf\"}", NULL},
    {"{\"scheduler\":\"sjf\",\"predictor\":\"none\"}", NULL},
    {"{\"trace\":\"\"}", "run: there is no trace"},
    {"{\"backend\":\"cpu\"}", "num_gpu_blocks: the CPU has no GPU memory to fill"},
    {"{\"backend\":\"cpu\",\"num_gpu_blocks\":9}", NULL},
    {"{\"backend\":\"cpu\",\"num_gpu_blocks\":9,\"kv_cache_dtype\":\"fp8\"}",
     "kv_cache_dtype: cpu"},
    {"{\"backend\":\"cuda\",\"replicas\":2}", "replicas: cuda runs one replica"},
    {"{\"backend\":\"replay\"}", "give --replay DB --run ID"},
    {"{\"backend\":\"replay\",\"replay\":\"/nonexistent.db\"}", "/nonexistent.db"},
    {"{\"trace\":\"generate:poison,n=5\"}", "unknown generator; did you mean poisson?"},
    {"{\"trace\":\"/nonexistent/t.csv\"}", "/nonexistent/t.csv: cannot be read"},
};

START_TEST(test_compose)
{
    struct config c = loaded(composed_cases[_i].text);
    struct composed x;
    struct err e = {0};
    char *path = write_file(small_trace);
    if (!config_is_set(&c, "trace"))
        ck_assert(config_set(&c, "trace", path, &e));
    config_resolve(&c);
    bool ok = compose(&x, &c, &e);
    unlink(path);
    ck_assert_msg(ok == !composed_cases[_i].message, "%s: %s", composed_cases[_i].text, e.text);
    if (composed_cases[_i].message)
        ck_assert_msg(strstr(e.text, composed_cases[_i].message) != NULL, "%s", e.text);
    compose_release(&x);
    config_release(&c);
}
END_TEST

/* What is measured ran on our own engine, unless it says otherwise. */
START_TEST(test_engine_of_a_backend)
{
    static const struct {
        const char *text, *engine;
    } cases[] = {
        {"{}", "vllm-0.19"},
        {"{\"backend\":\"table\"}", "vllm-0.19"},
        {"{\"backend\":\"cpu\"}", "tandem"},
        {"{\"backend\":\"cuda\"}", "tandem"},
        {"{\"backend\":\"replay\"}", "tandem"},
        {"{\"backend\":\"cpu\",\"engine\":\"ideal\"}", "ideal"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config c = loaded(cases[i].text);
        config_resolve(&c);
        ck_assert_str_eq(config_str(&c, "engine"), cases[i].engine);
        config_release(&c);
    }
}
END_TEST

START_TEST(test_composed_values)
{
    struct config c =
        loaded("{\"replicas\":[{\"count\":2},{\"gpu\":\"a100-80g\",\"num_gpu_blocks\":101}],"
               "\"host_memory_gb\":1,\"vtc.wq\":5,\"horizon_s\":2}");
    struct composed x;
    struct err e = {0};
    char *path = write_file(small_trace);
    ck_assert(config_set(&c, "trace", path, &e));
    config_resolve(&c);
    ck_assert_msg(compose(&x, &c, &e), "%s", e.text);
    unlink(path);
    ck_assert_uint_eq(x.sim.n_replicas, 3);
    const struct replica_config *r = x.sim.replica;
    ck_assert_str_eq(r[0].backend_env.gpu->id, "h200");
    ck_assert_str_eq(r[1].backend_env.gpu->id, "h200");
    ck_assert_str_eq(r[2].backend_env.gpu->id, "a100-80g");
    ck_assert_uint_eq(r[0].limits.num_gpu_blocks, r[1].limits.num_gpu_blocks);
    ck_assert_uint_gt(r[0].limits.num_gpu_blocks, 10000); /* computed */
    ck_assert_uint_eq(r[2].limits.num_gpu_blocks, 100);   /* less the null block */
    ck_assert_uint_eq(r[0].limits.units_per_block, 32 * 8);
    ck_assert_uint_eq(r[0].limits.block_bytes, 16ull * 32 * 8 * 128 * 2 * 2);
    ck_assert_uint_eq(r[0].limits.host_blocks, 1000000000ull / r[0].limits.block_bytes);
    ck_assert_uint_eq(r[0].limits.max_model_len, 131072);
    ck_assert(x.blocks_computed && x.slo_default);
    ck_assert_double_eq(x.sim.metrics.wp, 1);
    ck_assert_double_eq(x.sim.metrics.wq, 5); /* although the scheduler is fcfs */
    ck_assert_int_eq(x.sim.metrics.horizon_ns, 2 * NS_PER_S);
    ck_assert_str_eq(x.sim.trace.format, "csv");
    ck_assert_uint_eq(strlen(x.trace_sha256), 64);
    ck_assert_str_ne(x.trace_sha256, x.inputs_sha256);
    compose_release(&x);
    config_release(&c);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("config");
    tcase_add_test(tc, test_every_key_once_and_sound);
    tcase_add_test(tc, test_every_plugin_key_is_listed);
    tcase_add_test(tc, test_plugins_read_what_was_set);
    tcase_add_loop_test(tc, test_nesting_changes_nothing, 0, (int)ARRAY_LEN(same));
    tcase_add_loop_test(tc, test_bad_file, 0, (int)ARRAY_LEN(bad_files));
    tcase_add_test(tc, test_missing_file);
    tcase_add_loop_test(tc, test_set, 0, (int)ARRAY_LEN(sets));
    tcase_add_test(tc, test_later_wins);
    tcase_add_test(tc, test_canonical_is_sorted_and_whole);
    tcase_add_loop_test(tc, test_what_changes_the_hash, 0, (int)ARRAY_LEN(variants));
    tcase_add_test(tc, test_files_count_by_content);
    tcase_add_test(tc, test_order_nesting_and_seed_do_not_matter);
    tcase_add_loop_test(tc, test_lists, 0, (int)ARRAY_LEN(lists));
    tcase_add_test(tc, test_slo_values);
    tcase_add_loop_test(tc, test_compose, 0, (int)ARRAY_LEN(composed_cases));
    tcase_add_test(tc, test_engine_of_a_backend);
    tcase_add_test(tc, test_composed_values);
    Suite *suite = suite_create("config");
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
