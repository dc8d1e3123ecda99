/* fuzz_config.c: any bytes as JSON that people write: X an experiment, else a configuration, which
 * is composed, too. There must be no crash and no failure without a message; what a configuration
 * is printed as reads back as the same. */
#include <string.h>

#include "experiments/compose.h"
#include "experiments/experiment.h"
#include "tests/fuzz/scratch.h"

#define EXPERIMENT_MOST 300u /* bytes: axes multiply, and each of their points is composed */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    scratch_make();
    return 0;
}

static bool read_experiment(const char *path, struct err *e)
{
    struct experiment x;
    bool ok = experiment_load(&x, path, e);

    for (uint64_t i = 0; ok && i < MIN(experiment_points(&x), 3); i++) {
        struct experiment_point p = experiment_point(&x, i);
        struct config c;

        config_init(&c);
        experiment_point_config(&p, &c);
        config_release(&c);
    }
    experiment_release(&x);
    return ok;
}

static void expect_same(const struct config *c)
{
    char *text = config_canonical(c), *again, bad[CONFIG_NAME_MAX];
    json_t *object = json_loads(text, 0, NULL);
    struct err e = {0};
    struct config copy;

    config_init(&copy);
    CHECK(config_merge(&copy, object, "canonical: ", bad, &e), "fuzz: canonical JSON is valid",
          "%s: %s", e.text, text);
    config_resolve(&copy);
    again = config_canonical(&copy);
    CHECK(strcmp(text, again) == 0, "fuzz: canonical JSON is canonical", "%s\n%s", text, again);
    config_release(&copy);
    json_decref(object);
    free(text);
    free(again);
}

/* Names of files that would be read are the machine's business. */
static bool names_no_file(const struct config *c)
{
    const char *trace = config_str(c, "trace");

    return (!trace || strncmp(trace, "generate:", 9) == 0) && !config_str(c, "profile") &&
           !config_str(c, "replay") && !config_is_file(config_str(c, "model")) &&
           !config_is_file(config_str(c, "gpu"));
}

static bool compose_it(const struct config *c, struct err *e)
{
    struct composed x;
    bool ok = compose(&x, c, e);

    compose_release(&x);
    return ok;
}

static bool read_config(const char *path, struct err *e)
{
    char hex[SHA256_HEX];
    struct config c;
    bool ok;

    config_init(&c);
    ok = config_load(&c, path, e);
    if (ok) {
        config_resolve(&c);
        expect_same(&c);
        ok = !names_no_file(&c) || (config_hash(&c, hex, e) && compose_it(&c, e));
    }
    config_release(&c);
    return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = {0};
    char path[SCRATCH_PATH];
    bool ok;

    if (size < 1 || (data[0] == 'X' && size > EXPERIMENT_MOST))
        return 0;
    scratch_write("in.json", data + 1, size - 1);
    scratch_path(path, "in.json");
    ok = data[0] == 'X' ? read_experiment(path, &e) : read_config(path, &e);
    CHECK(ok != e.set, "fuzz: an error has a message", "%s", e.text);
    return 0;
}
