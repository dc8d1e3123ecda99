/* Experiment files: what they multiply to, and that whatever is wrong with one is said before
 * anything runs, with the line and column. */
#include "experiments/experiment.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "experiments/json_where.h"

#define TRACE "\"trace\": \"traces/samples/demo.csv\""

static char path[64];

static bool load(struct experiment *x, const char *text, struct err *e)
{
    snprintf(path, sizeof path, "/tmp/tandem-experiment-XXXXXX");
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    bool ok = experiment_load(x, path, e);
    unlink(path);
    return ok;
}

static struct experiment loaded(const char *text)
{
    struct experiment x;
    struct err e = {0};
    ck_assert_msg(load(&x, text, &e), "%s: %s", text, e.text);
    return x;
}

/* ---- what is refused ---- */

/* The message is the file's name and `says`; the text is the whole file. */
static const struct {
    const char *text, *says;
} refused[] = {
    /* not JSON, or not an experiment */
    {"", ":1:0: '[' or '{' expected near end of file"},
    {"{\n \"name\": \"x\"\n \"base\": {}}", ":3:7: '}' expected near '\"base\"'"},
    {"{\"name\": \"x\", \"name\": \"y\"}", ":1:20: duplicate object key near '\"name\"'"},
    {"[1]", ":1:1: an experiment is a JSON object"},
    {"{\"name\": \"x\",\n  \"axis\": {}}", ":2:3: axis: an experiment has no such member; the "
                                           "nearest is axes"},
    {"{\"base\": {" TRACE "}}", ":1:1: name: an experiment needs one"},
    {"{\"name\": 7}", ":1:10: name: give a string"},
    {"{\"name\": \"x\", \"claim\": []}", ":1:24: claim: give a string"},
    {"{\"name\": \"x\", \"plots\": {}}", ":1:24: plots: give an array"},
    /* base and slo */
    {"{\"name\": \"x\",\n\"base\": 3}", ":2:9: base: give an object of configuration keys"},
    {"{\"name\": \"x\",\n \"base\": {\"seed\": 3}}", ":2:2: seed: it is the same for every "
                                                     "configuration; use the member seeds"},
    {"{\"name\": \"x\",\n\"base\": {" TRACE ",\n  \"schedler\": \"vtc\"}}",
     ":3:3: schedler: unknown key; the nearest is scheduler"},
    {"{\"name\": \"x\",\n\"base\": {\"vtc\": {\n  \"wp\": 1,\n   \"wqq\": 2}}}",
     ":4:4: vtc.wqq: unknown key; the nearest is vtc.wq"},
    {"{\"name\": \"x\", \"base\": {\"max_num_seqs\": 0}}",
     ":1:24: max_num_seqs: 0 is out of range"},
    {"{\"name\": \"x\", \"base\": {\"slo\": []}, \"slo\": []}", ":1:36: slo: given in base, too"},
    {"{\"name\": \"x\", \"slo\": 5}", ":1:15: slo: 5 is not an array of objects"},
    /* axes */
    {"{\"name\": \"x\", \"axes\": []}", ":1:23: axes: give an object"},
    {"{\"name\": \"x\", \"axes\": {\n \"scheduler\": \"vtc\"}}",
     ":2:2: axes: scheduler: give an array of values, at least one"},
    {"{\"name\": \"x\", \"axes\": {\"scheduler\": []}}", ":1:24: axes: scheduler: give an array"},
    {"{\"name\": \"x\", \"axes\": {\"scheduler\": [\"fcfs\",\n \"vtx\"]}}",
     ":2:2: scheduler: unknown value \"vtx\"; the nearest is vtc"},
    {"{\"name\": \"x\", \"axes\": {\"scheduler\": [\"fcfs\",\n \"fcfs\"]}}",
     ":2:2: axes: scheduler: scheduler=fcfs is there twice"},
    {"{\"name\": \"x\", \"axes\": {\"schedulr\": [\"fcfs\"]}}",
     ":1:24: axes: schedulr: unknown key; the nearest is scheduler"},
    {"{\"name\": \"x\", \"axes\": {\"policy\": [{\"scheduler\": \"vtc\"},\n {\"label\": 3}]}}",
     ":2:2: axes: policy: a label is a string"},
    {"{\"name\": \"x\", \"axes\": {\"policy\": [{\"label\": \"a\",\n  \"schedulr\": \"vtc\"}]}}",
     ":2:3: schedulr: unknown key; the nearest is scheduler"},
    {"{\"name\": \"x\", \"axes\": {\"scheduler\": [\"vtc\"],\n\"p\": [{\"scheduler\": \"fcfs\"}]}}",
     ":2:1: axes: p: another axis sets scheduler, too"},
    {"{\"name\": \"x\", \"axes\": {\"seed\": [1, 2]}}", ":1:33: seed: it is the same for every"},
    {"{\"name\": \"x\", \"base\": {" TRACE "}, \"axes\": {\"max_request_rows\": [1, 2]}}",
     ":1:61: axes: \"max_request_rows=1\" and \"max_request_rows=2\" are the same configuration"},
    /* seeds and repetitions */
    {"{\"name\": \"x\", \"seeds\": []}", ":1:24: seeds: give an array of whole numbers"},
    {"{\"name\": \"x\", \"seeds\": 3}", ":1:24: seeds: give an array of whole numbers"},
    {"{\"name\": \"x\", \"seeds\": [1,\n2.5]}", ":2:1: seeds: give whole numbers from 0 to"},
    {"{\"name\": \"x\", \"seeds\": [1, -1]}", ":1:28: seeds: give whole numbers from 0 to"},
    {"{\"name\": \"x\", \"seeds\": [1, 2, 1]}", ":1:31: seeds: 1 is there twice"},
    {"{\"name\": \"x\", \"reps\": 0}", ":1:23: reps: give a whole number from 1"},
    {"{\"name\": \"x\", \"reps\": \"2\"}", ":1:23: reps: give a whole number from 1"},
    /* what only a whole configuration shows, with the point */
    {"{\"name\": \"x\"}", ": run: there is no trace"},
    {"{\"name\": \"x\", \"base\": {\"trace\": \"/nowhere.csv\"}}",
     ": /nowhere.csv: cannot be read"},
    {"{\"name\": \"x\", \"base\": {" TRACE "}, \"axes\": {\"tensor_parallel_size\": [1, 3]}}",
     ": tensor_parallel_size=3: tensor_parallel_size: 3 does not divide"},
    {"{\"name\": \"x\", \"base\": {" TRACE "}, \"axes\": {\"trace_format\": [\"csv\", \"azure\"]}}",
     ": trace_format=azure: traces/samples/demo.csv:2: column TIMESTAMP"},
};

START_TEST(test_bad_files)
{
    struct experiment x;
    struct err e = {0};
    char expected[512];
    bool ok = load(&x, refused[_i].text, &e);
    experiment_release(&x);
    ck_assert_msg(!ok, "accepted: %s", refused[_i].text);
    snprintf(expected, sizeof expected, "%s%s", path, refused[_i].says);
    ck_assert_msg(strncmp(e.text, expected, strlen(expected)) == 0, "%s\n gives %s\n not   %s",
                  refused[_i].text, e.text, expected);
    ck_assert_msg(!strchr(e.text, '\n'), "one line: %s", e.text);
}
END_TEST

START_TEST(test_no_file)
{
    struct experiment x;
    struct err e = {0};
    ck_assert(!experiment_load(&x, "/tmp", &e));
    ck_assert_str_eq(e.text, "/tmp: cannot be read: Is a directory");
    experiment_release(&x);
    e = (struct err){0};
    ck_assert(!experiment_load(&x, "/tmp/not/there.json", &e));
    ck_assert_str_eq(e.text, "/tmp/not/there.json: cannot be read: No such file or directory");
    experiment_release(&x);
}
END_TEST

/* ---- what it multiplies to ---- */

START_TEST(test_product_order_labels_and_seeds)
{
    static const char *const labels[] = {
        "scheduler=fcfs, trace.rate_scale=1", "scheduler=fcfs, trace.rate_scale=2.5",
        "scheduler=vtc, trace.rate_scale=1", "scheduler=vtc, trace.rate_scale=2.5"};
    struct experiment x =
        loaded("{\"name\": \"x\", \"claim\": \"c\", \"base\": {" TRACE ", \"max_num_seqs\": 8},"
               " \"axes\": {\"scheduler\": [\"fcfs\", \"vtc\"], \"trace.rate_scale\": [1, 2.5],"
               " \"gpu\": [\"h200\"]}, \"seeds\": [3, 9], \"reps\": 2}");
    ck_assert_str_eq(x.name, "x");
    ck_assert_str_eq(x.claim, "c");
    ck_assert_uint_eq(x.n_configs, 4);
    ck_assert_uint_eq(experiment_points(&x), 16);
    for (uint64_t i = 0; i < 16; i++) {
        struct experiment_point p = experiment_point(&x, i);
        struct config c;
        config_init(&c);
        experiment_point_config(&p, &c);
        ck_assert_str_eq(p.config->label, labels[i / 4]);
        ck_assert_uint_eq(p.seed, i / 2 % 2 ? 9 : 3); /* the same for every configuration */
        ck_assert_uint_eq(p.rep, i % 2);
        ck_assert_str_eq(config_str(&c, "scheduler"), i < 8 ? "fcfs" : "vtc");
        ck_assert_double_eq(config_num(&c, "trace.rate_scale"), i / 4 % 2 ? 2.5 : 1);
        ck_assert_double_eq(config_num(&c, "max_num_seqs"), 8);
        ck_assert_double_eq(config_num(&c, "seed"), (double)p.seed);
        ck_assert_double_eq(config_num(&c, "rep"), (double)p.rep);
        config_release(&c);
    }
    experiment_release(&x);
}
END_TEST

/* A point's hash is the one that its run will have: else nothing would ever be found again. */
START_TEST(test_hash_is_that_of_the_run)
{
    struct experiment x = loaded("{\"name\": \"x\", \"base\": {" TRACE "}, \"seeds\": [5],"
                                 " \"axes\": {\"scheduler\": [\"fcfs\", \"dlpm\"]}}");
    for (uint64_t i = 0; i < experiment_points(&x); i++) {
        struct experiment_point p = experiment_point(&x, i);
        struct config c;
        struct err e = {0};
        char hex[SHA256_HEX];
        config_init(&c);
        experiment_point_config(&p, &c);
        ck_assert(config_hash(&c, hex, &e));
        ck_assert_str_eq(hex, p.config->config_hash);
        ck_assert_uint_eq(strlen(p.config->inputs_sha256), SHA256_HEX - 1);
        config_release(&c);
    }
    ck_assert_str_ne(x.config[0].config_hash, x.config[1].config_hash);
    experiment_release(&x);
}
END_TEST

/* An axis of one's own sets several keys, wins over base, and may go back to a default. */
START_TEST(test_axis_of_objects)
{
    struct experiment x = loaded(
        "{\"name\": \"x\", \"base\": {" TRACE ", \"max_num_seqs\": 8}, \"axes\": {\"policy\":"
        " [{\"label\": \"plain\"}, {\"scheduler\": {\"id\": \"vtc\"}, \"vtc\": {\"wq\": 3},"
        " \"max_num_seqs\": null}]}}");
    struct config c;
    ck_assert_uint_eq(x.n_configs, 2);
    ck_assert_str_eq(x.config[0].label, "plain");
    ck_assert_str_eq(x.config[1].label,
                     "scheduler={\"id\":\"vtc\"}, vtc={\"wq\":3}, max_num_seqs=null");
    for (uint64_t i = 0; i < 2; i++) {
        struct experiment_point p = experiment_point(&x, i);
        config_init(&c);
        experiment_point_config(&p, &c);
        ck_assert_str_eq(config_str(&c, "scheduler"), i ? "vtc" : "fcfs");
        ck_assert_double_eq(config_num(&c, "vtc.wq"), i ? 3 : 2);
        ck_assert_double_eq(config_num(&c, "max_num_seqs"), i ? 256 : 8);
        config_release(&c);
    }
    experiment_release(&x);
}
END_TEST

START_TEST(test_alone)
{
    struct experiment x = loaded("{\"name\": \"x\", \"base\": {" TRACE "}}");
    ck_assert_uint_eq(experiment_points(&x), 1);
    struct experiment_point p = experiment_point(&x, 0);
    ck_assert_str_eq(p.config->label, "");
    ck_assert_uint_eq(p.seed, 1);
    experiment_release(&x);
}
END_TEST

/* ---- positions ---- */

START_TEST(test_positions)
{
    static const char text[] =
        "{\"a\\\"}\": \"x,]\", \"b\": [ 1, {\"c\": [[], {}]}, \"é\", true],\n"
        "  \"vtc.wq\": 1, \"kv\": {\"id\": 3, \"d\": {\"e\": -1e3}}}";
    int line, column;
    static const struct {
        const char *name;
        int line, column;
    } member[] = {
        {"b", 1, 17}, {"vtc.wq", 2, 3}, {"kv", 2, 23}, {"kv.d", 2, 32}, {"kv.d.e", 2, 38}};
    for (size_t i = 0; i < ARRAY_LEN(member); i++) {
        const char *at = json_where_member(text, member[i].name);
        ck_assert_msg(at != NULL, "%s", member[i].name);
        json_where_position(text, at, &line, &column);
        ck_assert_msg(line == member[i].line && column == member[i].column, "%s: %d:%d",
                      member[i].name, line, column);
    }
    ck_assert_ptr_null(json_where_member(text, "x"));
    ck_assert_ptr_null(json_where_member(text, "kv.x"));
    const char *b = json_where_value(json_where_member(text, "b"));
    ck_assert_ptr_null(json_where_element(b, 4));
    ck_assert_int_eq(*json_where_element(b, 0), '1');
    ck_assert_int_eq(*json_where_element(b, 1), '{');
    json_where_position(text, json_where_element(b, 3), &line, &column);
    ck_assert_int_eq(column, 49); /* in characters */
    ck_assert_ptr_null(json_where_element("[ ]", 0));
    ck_assert_ptr_null(json_where_member("{ }", "a"));
    ck_assert_ptr_null(json_where_member("3", "a"));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("experiment");
    TCase *t = tcase_create("all");
    suite_add_tcase(s, t);
    tcase_add_loop_test(t, test_bad_files, 0, (int)ARRAY_LEN(refused));
    tcase_add_test(t, test_no_file);
    tcase_add_test(t, test_product_order_labels_and_seeds);
    tcase_add_test(t, test_hash_is_that_of_the_run);
    tcase_add_test(t, test_axis_of_objects);
    tcase_add_test(t, test_alone);
    tcase_add_test(t, test_positions);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
