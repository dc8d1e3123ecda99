/* fuzz_db.c: a results database that somebody wrote into, as input of whatever reads one: merge,
 * report, check, validate, calibrate, replay. S: the rest is SQL that runs on it; else bytes of the
 * file that change, in groups of four: three say where, the last one what it becomes. There must be
 * no crash and no failure without a message. */
#include <sqlite3.h>
#include <string.h>

#include "experiments/check_figures.h"
#include "experiments/db.h"
#include "experiments/measured_requests.h"
#include "experiments/merge.h"
#include "experiments/recording.h"
#include "experiments/report.h"
#include "experiments/run_job.h"
#include "experiments/steps_file.h"
#include "tests/fuzz/scratch.h"

#define MOST_OPS 20000 /* of SQLite's machine, over 100: what somebody's SQL may take */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static uint8_t *original; /* a database with one small run */
static size_t original_size;

/* ---- the database ---- */

static void make_run(const char *db)
{
    static const char *const settings[][2] = {
        {"trace", "generate:poisson,n=5,rate=9,prompt=fixed:90,output=fixed:9,tenants=2"},
        {"max_num_seqs", "2"},
        {"num_gpu_blocks", "2000"},
        {"scheduler", "vtc"},
        {"slo", "[{\"class\":\"c\",\"tenants\":[\"*\"],\"ttft_ms\":50}]"},
    };
    struct run_options options = {.steps = true, .quiet = true};
    struct run_job job;
    struct err e = {0};

    run_job_init(&job);
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        CHECK(config_set(&job.config, settings[i][0], settings[i][1], &e), "fuzz: a setting", "%s",
              e.text);
    config_resolve(&job.config);
    CHECK(run_job_compose(&job, NULL, &e) && run_job_run(&job, db, &options, &e), "fuzz: a run",
          "%s", e.text);
    run_job_release(&job);
}

static void expect_readable(const char *path);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    char path[SCRATCH_PATH];
    FILE *f;
    long end;

    (void)argc;
    (void)argv;
    scratch_make();
    scratch_path(path, "original.db");
    make_run(path);
    f = fopen(path, "rb");
    CHECK(f && fseek(f, 0, SEEK_END) == 0 && (end = ftell(f)) > 0, "fuzz: a file", "%s", path);
    rewind(f);
    original_size = (size_t)end;
    original = mem_alloc(original_size);
    CHECK(fread(original, 1, original_size, f) == original_size, "fuzz: a file", "%s", path);
    fclose(f);
    expect_readable(path);
    return 0;
}

static int enough(void *steps)
{
    return ++*(uint64_t *)steps > MOST_OPS / 100;
}

/* Not what would leave the file: ATTACH, other journals. */
static int allowed(void *self, int action, const char *a, const char *b, const char *c,
                   const char *d)
{
    (void)self, (void)a, (void)b, (void)c, (void)d;
    return action == SQLITE_ATTACH || action == SQLITE_PRAGMA ? SQLITE_DENY : SQLITE_OK;
}

static void change_by_sql(const char *path, const char *sql)
{
    sqlite3 *db;
    uint64_t steps = 0;

    CHECK(sqlite3_open(path, &db) == SQLITE_OK, "fuzz: a database", "%s", path);
    sqlite3_set_authorizer(db, allowed, NULL);
    sqlite3_progress_handler(db, 100, enough, &steps);
    sqlite3_limit(db, SQLITE_LIMIT_LENGTH, 1000000);
    (void)sqlite3_exec(db, sql, NULL, NULL, NULL); /* as far as it goes */
    sqlite3_close(db);
}

static void write_changed(const char *name, const uint8_t *data, size_t size)
{
    uint8_t *bytes = mem_alloc(original_size);

    memcpy(bytes, original, original_size);
    for (size_t i = 0; i + 4 <= size; i += 4) {
        size_t at = (size_t)data[i] << 16 | (size_t)data[i + 1] << 8 | data[i + 2];
        bytes[at % original_size] = data[i + 3];
    }
    scratch_write(name, bytes, original_size);
    mem_free(bytes);
}

/* ---- its readers ---- */

static bool merge(const char *path, struct err *e)
{
    struct merge_counts n = {0};
    char out[SCRATCH_PATH];
    sqlite3 *db;

    scratch_write("out.db", original, original_size);
    scratch_path(out, "out.db");
    db = db_open_write(out, 0, e);
    CHECK(db, "fuzz: a database", "%s", e->text);
    bool ok = merge_file(db, path, MERGE_LATER, &n, e);
    struct err closing = {0};
    CHECK(db_close_write(db, &closing), "fuzz: what was there stays sound", "%s", closing.text);
    return ok;
}

static bool report(const char *path, struct err *e)
{
    struct report_pictures none = {.no_gnuplot = true};
    char dir[SCRATCH_PATH];
    sqlite3 *db = db_open_read(path, e);
    FILE *null = fopen("/dev/null", "w");
    bool ok = db && null && db_exec(db, "BEGIN", e) && report_table(db, NULL, null, e);

    scratch_path(dir, "out");
    ok = ok && report_csv(db, NULL, dir, e) && report_html(db, NULL, dir, &none, e) &&
         report_traces(db, NULL, dir, null, e);
    sqlite3_close(db);
    fclose(null);
    return ok;
}

static bool check(const char *path, struct err *e)
{
    struct check_figures f;
    sqlite3 *db = db_open_read(path, e);

    check_figures_init(&f);
    bool ok = db && check_figures_read(&f, db, path, NULL, NULL, e);
    check_figures_release(&f);
    sqlite3_close(db);
    return ok;
}

static bool measured(const char *path, struct err *e)
{
    struct measured m = {0};
    bool ok = measured_read_db(&m, path, 0, e);

    measured_release(&m);
    return ok;
}

static bool steps(const char *path, struct err *e)
{
    struct steps_file f = {0};
    bool ok = steps_read_db(&f, path, 0, e);

    steps_release(&f);
    return ok;
}

static bool replay(const char *path, struct err *e)
{
    struct recording_file f = {0};
    struct config c;

    config_init(&c);
    bool ok = recording_config(&c, path, 0, e);
    if (ok) {
        config_resolve(&c);
        ok = recording_read(&f, &c, 1, e);
        recording_release(&f);
    }
    config_release(&c);
    return ok;
}

static bool (*const readers[])(const char *path, struct err *e) = {merge,    report, check,
                                                                   measured, steps,  replay};

/* Or a reader that refuses whatever it is given would look sound. */
static void expect_readable(const char *path)
{
    for (size_t i = 0; i < ARRAY_LEN(readers); i++) {
        struct err e = {0};

        CHECK(readers[i](path, &e), "fuzz: every reader takes a sound file", "reader %zu: %s", i,
              e.text);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[SCRATCH_PATH], text[1024];

    if (size < 1)
        return 0;
    scratch_path(path, "in.db");
    if (data[0] == 'S') {
        size_t n = MIN(size - 1, sizeof(text) - 1);

        memcpy(text, data + 1, n);
        text[n] = '\0';
        scratch_write("in.db", original, original_size);
        change_by_sql(path, text);
    } else {
        write_changed("in.db", data + 1, size - 1);
    }
    for (size_t i = 0; i < ARRAY_LEN(readers); i++) {
        struct err e = {0};
        bool ok = readers[i](path, &e);

        CHECK(ok != e.set, "fuzz: an error has a message", "reader %zu: %s", i, e.text);
    }
    return 0;
}
