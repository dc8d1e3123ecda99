/* cmd_trace.c: `tandem trace info FILE`, what a trace is like; `tandem trace cache FILE`, what
 * prefix caches of given sizes and policies would hit on it; `tandem trace convert|scale FILE` and
 * `generate SPEC`, which write one in our own format. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/describe.h"
#include "experiments/cache_replay.h"
#include "experiments/commands.h"
#include "experiments/config.h"
#include "experiments/options.h"
#include "experiments/trace_stats.h"
#include "policies/registry.h"
#include "sim/nearest.h"
#include "traces/burstgpt_write.h"
#include "traces/convert.h"
#include "traces/registry.h"
#include "traces/spec.h"

#define BLOCKS_MAX UINT64_C(4294967295)

struct input {
    struct err *e;
    const char *command;      /* "trace info" */
    const char *file;         /* or SPEC */
    const char *out, *format; /* of what is written */
    struct config config;     /* of what reads the trace */
    char *prefix, *blocks;    /* the lists as given; cut into words when read */
    bool flat, json;
};

/* ---- options ---- */

enum { OPT_SET = 1000, OPT_MAP, OPT_FORMAT, OPT_PREFIX, OPT_BLOCKS, OPT_FLAT, OPT_JSON, OPT_AS };

/* The first CACHE_ONLY are of `trace cache` alone. */
static const struct argp_option options[] = {
    {"prefix", OPT_PREFIX, "ID,...", 0, "Policies (lru)", 0},
    {"blocks", OPT_BLOCKS, "N,...", 0, "Sizes in the trace's own blocks (inf)", 0},
    {"flat", OPT_FLAT, NULL, 0, "Blocks are independent objects: no leaf-first rule", 0},
    {"trace-format", OPT_FORMAT, "ID", 0, "Format of FILE; detected without it", 0},
    {"map", OPT_MAP, "OURS=THEIRS,...", 0, "Columns of a CSV file of another make", 0},
    {"set", OPT_SET, "KEY=VALUE", 0, "A trace.* key, session_mode, trace_format or seed", 0},
    {"json", OPT_JSON, NULL, 0, "Print JSON", 0},
    {0},
};
#define CACHE_ONLY 3

/* Of what writes a trace. */
static const struct argp_option write_options[] = {
    {"output", 'o', "FILE", 0, "Where to; compressed if it ends in .gz", 0},
    {"trace-format", OPT_AS, "ID", 0, "Format of the output: csv or burstgpt (csv)", 0},
    {"map", OPT_MAP, "OURS=THEIRS,...", 0, "Columns of a CSV file of another make", 0},
    {"set", OPT_SET, "KEY=VALUE", 0, "A trace.* key, session_mode, trace_format or seed", 0},
    {"json", OPT_JSON, NULL, 0, "Print JSON", 0},
    {0},
};

static bool set_key(struct input *in, const char *assignment)
{
    const char *equals = strchr(assignment, '=');
    if (equals == NULL || equals == assignment)
        return err_set(in->e, "%s: --set %s has no value; write KEY=VALUE", in->command,
                       assignment);
    char *name = mem_strdup(assignment);
    name[equals - assignment] = '\0';
    struct config_key key;
    bool ok = true;
    if (config_key_find(name, &key) && strcmp(key.owner, "trace") != 0 &&
        key.owners != &catalogue_prefix && key.owners != &catalogue_traces &&
        strcmp(name, "seed") != 0 && strcmp(name, "trace_format") != 0)
        ok = err_set(in->e,
                     "%s: %s changes nothing here; set trace.* keys, session_mode, trace_format or "
                     "seed",
                     in->command, name);
    ok = ok && config_set(&in->config, name, equals + 1, in->e);
    mem_free(name);
    return ok;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct input *in = state->input;
    bool ok = true;
    switch (key) {
    case OPT_SET:
        ok = set_key(in, arg);
        break;
    case OPT_MAP:
        ok = config_set(&in->config, "trace.map", arg, in->e);
        break;
    case OPT_FORMAT:
        ok = config_set(&in->config, "trace_format", arg, in->e);
        break;
    case OPT_PREFIX:
        in->prefix = arg;
        break;
    case OPT_BLOCKS:
        in->blocks = arg;
        break;
    case OPT_FLAT:
        in->flat = true;
        break;
    case OPT_AS:
        in->format = arg;
        break;
    case 'o':
        in->out = arg;
        break;
    case OPT_JSON:
        in->json = true;
        break;
    case ARGP_KEY_ARG:
        if (in->file != NULL)
            return ARGP_ERR_UNKNOWN;
        in->file = arg;
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return ok ? 0 : EINVAL;
}

static const struct argp info_argp = {
    .options = options + CACHE_ONLY,
    .parser = parse,
    .args_doc = "FILE",
    .doc = "What a trace is like: rates, lengths, prefix reuse, tenants.\v"
           "The busiest second and 10 seconds are aligned to the first arrival. Deviations are "
           "those of the population; a last minute that is not whole is left out.",
};

static const struct argp cache_argp = {
    .options = options,
    .parser = parse,
    .args_doc = "FILE",
    .doc = "What prefix caches would hit, without engine or time.\v"
           "One cache in the trace's own blocks (16 tokens where it has none, but sessions); "
           "requests are inserted whole when they arrive, their blocks touched in prompt order; "
           "generated tokens are not cached.",
};

static const struct argp convert_argp = {
    .options = write_options,
    .parser = parse,
    .args_doc = "FILE",
    .doc = "Writes a trace of any format as a CSV file of our own.\v"
           "Columns are those that say something. Requests that follow others come directly behind "
           "the timed one that their chain begins with. What failed when it was recorded is left "
           "out.",
};

static const struct argp scale_argp = {
    .options = write_options,
    .parser = parse,
    .args_doc = "FILE",
    .doc = "Writes a part of a trace, or the trace at another rate.\v"
           "Give --set trace.rate_scale=2, trace.start_s, trace.duration_s, trace.limit and others "
           "(`tandem list keys`).",
};

static const struct argp generate_argp = {
    .options = write_options,
    .parser = parse,
    .args_doc = "SPEC",
    .doc =
        "Writes a trace that is made up.\v"
        "SPEC is generate:NAME,key=value,...; `tandem list traces` has the names and keys. `run` "
        "takes a SPEC in place of a file, too.",
};

/* ---- the trace ---- */

struct opened {
    struct names tenants, classes;
    struct trace_source source;
    struct trace_env env; /* the reader keeps a pointer to it */
};

static void release_names(struct opened *o)
{
    names_release(&o->tenants);
    names_release(&o->classes);
}

static void set_env(struct input *in, struct opened *o)
{
    config_resolve(&in->config);
    names_init(&o->tenants);
    names_init(&o->classes);
    o->env = (struct trace_env){.tenants = &o->tenants,
                                .classes = &o->classes,
                                .seed = (uint64_t)config_num(&in->config, "seed"),
                                .params = &in->config.params};
}

static bool open_trace(struct input *in, struct opened *o)
{
    set_env(in, o);
    if (trace_open(in->file, config_str(&in->config, "trace_format"), &o->env, &o->source, in->e))
        return true;
    release_names(o);
    return false;
}

static void close_trace(struct opened *o)
{
    o->source.ops->close(o->source.self);
    release_names(o);
}

/* ---- info ---- */

static json_t *real_or_null(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *lengths_json(const struct length_stats *l)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:I}", "mean", real_or_null(l->mean), "p50",
                     real_or_null(l->p50), "p90", real_or_null(l->p90), "p99", real_or_null(l->p99),
                     "max", real_or_null(l->max), "total", (json_int_t)l->total);
}

static void print_info_json(const struct trace_stats *s)
{
    json_t *all = json_pack(
        "{s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:o, s:o, s:o}", "requests",
        (json_int_t)s->requests, "failed_in_trace", (json_int_t)s->failed, "following",
        (json_int_t)s->following, "duration_s", real_or_null(s->duration_s), "mean_rps",
        real_or_null(s->mean_rps), "max_rps_1s", real_or_null(s->max_rps_1s), "max_rps_10s",
        real_or_null(s->max_rps_10s), "cv_interarrival", real_or_null(s->cv_interarrival),
        "cv_per_minute", real_or_null(s->cv_per_minute), "minutes", (json_int_t)s->minutes,
        "minute_min", (json_int_t)s->minute_min, "minute_max", (json_int_t)s->minute_max,
        "input_tokens", lengths_json(&s->input), "output_tokens", lengths_json(&s->output),
        "length_correlation", real_or_null(s->correlation));
    if (s->shares)
        json_object_set_new(
            all, "prefix",
            json_pack("{s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o}", "block_tokens",
                      (json_int_t)s->block_tokens, "blocks", (json_int_t)s->blocks, "distinct",
                      (json_int_t)s->distinct, "used_once", (json_int_t)s->once, "block_hit_rate",
                      real_or_null(s->seen_rate), "token_hit_rate",
                      real_or_null(s->hit_rate_tokens), "requests_hitting_0",
                      real_or_null(s->hits_0), "requests_hitting_1", real_or_null(s->hits_1),
                      "requests_hitting_2_or_more", real_or_null(s->hits_2)));
    if (s->tenants > 1)
        json_object_set_new(all, "tenants",
                            json_pack("{s:I, s:f, s:f, s:f, s:f}", "count", (json_int_t)s->tenants,
                                      "top_1_share", s->top_1, "top_5_share", s->top_5,
                                      "top_10_share", s->top_10, "gini", s->gini));
    json_dumpf(all, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(all);
}

/* "-" for what is undefined. */
static void print_real(const char *before, int digits, double x, const char *after)
{
    if (isfinite(x))
        printf("%s%.*f%s", before, digits, x, after);
    else
        printf("%s-%s", before, after);
}

static void print_lengths(const char *label, const struct length_stats *l)
{
    print_real(label, 0, l->mean, "");
    print_real(" / ", 0, l->p50, "");
    print_real(" / ", 0, l->p90, "");
    print_real(" / ", 0, l->p99, "");
    print_real(" / ", 0, l->max, "");
    printf("  total %" PRIu64 "\n", l->total);
}

static void print_reuse(const struct trace_stats *s)
{
    printf("blocks           %" PRIu64 " of %" PRIu32 " tokens, %" PRIu64 " distinct\n", s->blocks,
           s->block_tokens, s->distinct);
    print_real("seen before      ", 1, 100 * s->seen_rate, " % of blocks");
    print_real(", ", 1, 100 * s->hit_rate_tokens, " % of tokens (infinite cache)\n");
    print_real("requests hitting ", 2, 100 * s->hits_0, " % no block");
    print_real(", ", 1, 100 * s->hits_1, " % one");
    print_real(", ", 1, 100 * s->hits_2, " % more\n");
    print_real("used once only   ", 1, 100 * (double)s->once / (double)s->distinct,
               " % of distinct blocks\n");
}

static void print_info(const struct trace_stats *s)
{
    printf("requests         %" PRIu64, s->requests);
    if (s->failed > 0)
        printf(" (and %" PRIu64 " that failed when recorded)", s->failed);
    if (s->following > 0)
        printf(", of which %" PRIu64 " follow another", s->following);
    print_real("\nduration         ", 1, s->duration_s, " s\n");
    print_real("arrivals         ", 2, s->mean_rps, " req/s");
    print_real(", busiest second ", 0, s->max_rps_1s, "");
    print_real(", busiest 10 s ", 1, s->max_rps_10s, "\n");
    print_real("CV               ", 2, s->cv_interarrival, " of inter-arrival times");
    print_real(", ", 2, s->cv_per_minute, " of counts per minute");
    if (s->minutes > 0)
        printf(" (%" PRIu64 "..%" PRIu64 ")", s->minute_min, s->minute_max);
    puts("\n                 mean / p50 / p90 / p99 / max");
    print_lengths("input tokens     ", &s->input);
    print_lengths("output tokens    ", &s->output);
    print_real("correlation      ", 2, s->correlation, " of input and output lengths\n");
    if (s->shares)
        print_reuse(s);
    if (s->tenants > 1)
        printf("tenants          %" PRIu64 ", top 1/5/10 %.1f / %.1f / %.1f %% of requests, "
               "Gini %.2f\n",
               s->tenants, 100 * s->top_1, 100 * s->top_5, 100 * s->top_10, s->gini);
}

static bool info(struct input *in)
{
    struct opened o;
    struct trace_stats stats;
    if (!open_trace(in, &o))
        return false;
    bool ok = trace_stats_read(&o.source, &stats, in->e);
    close_trace(&o);
    if (ok)
        (in->json ? print_info_json : print_info)(&stats);
    return ok;
}

/* ---- cache ---- */

struct caches {
    const struct prefix_ops **policy;
    uint64_t *blocks;
    size_t n_policies, n_blocks, policy_cap, blocks_cap;
    struct cache_sim **sim; /* n_policies x n_blocks */
    struct block_future future;
};

static void caches_release(struct caches *c)
{
    for (size_t i = 0; c->sim != NULL && i < c->n_policies * c->n_blocks; i++)
        cache_sim_close(c->sim[i]);
    mem_free(c->sim);
    block_future_release(&c->future);
    mem_free(c->policy);
    mem_free(c->blocks);
}

static bool unknown_policy(const struct input *in, const char *id)
{
    const char *names[32];
    size_t n = 0;
    for (const struct prefix_ops *ops; n < ARRAY_LEN(names) && (ops = prefix_at(n)) != NULL; n++)
        names[n] = ops->name;
    return err_set(in->e,
                   "%s: --prefix %s: unknown policy; the nearest is %s (`tandem list "
                   "prefix`)",
                   in->command, id, nearest_word(id, names, n));
}

static bool read_policies(struct input *in, struct caches *c)
{
    for (char *rest = in->prefix, *id; (id = strsep(&rest, ",")) != NULL;) {
        const struct prefix_ops *ops = prefix_find(id);
        if (ops == NULL)
            return unknown_policy(in, id);
        c->policy = mem_reserve(c->policy, &c->policy_cap, c->n_policies + 1, sizeof(*c->policy));
        c->policy[c->n_policies++] = ops;
    }
    return true;
}

static bool read_blocks(struct input *in, struct caches *c)
{
    for (char *rest = in->blocks, *word; (word = strsep(&rest, ",")) != NULL;) {
        uint64_t n = CACHE_UNLIMITED;
        if (strcmp(word, "inf") != 0) {
            char *end;
            errno = 0;
            n = strtoull(word, &end, 10);
            if (word[0] < '0' || word[0] > '9' || *end != '\0' || errno != 0 || n < 1 ||
                n > BLOCKS_MAX)
                return err_set(
                    in->e, "%s: --blocks %s is no size; give blocks from 1 to %" PRIu64 ", or inf",
                    in->command, word, BLOCKS_MAX);
        }
        c->blocks = mem_reserve(c->blocks, &c->blocks_cap, c->n_blocks + 1, sizeof(*c->blocks));
        c->blocks[c->n_blocks++] = n;
    }
    return true;
}

/* Where a policy has to know what comes, the trace is read once before. */
static bool read_future(struct input *in, struct caches *c)
{
    struct opened o;
    bool wanted = false;
    for (size_t i = 0; i < c->n_policies; i++)
        wanted |= c->policy[i]->needs_future;
    if (!wanted)
        return true;
    if (!open_trace(in, &o))
        return false;
    bool ok = block_future_read(&c->future, &o.source, in->e);
    close_trace(&o);
    return ok;
}

/* Cache i is policy i / n_blocks at size i % n_blocks. */
static bool open_caches(struct input *in, struct caches *c, const struct trace_traits *traits)
{
    struct prompt_blocks b;
    struct model_desc model;
    if (!describe_model(config_str(&in->config, "model"), &model, in->e))
        return false;
    prompt_blocks_init(&b, traits);
    struct cache_setup setup = {.flat = in->flat,
                                .block_tokens = b.block_tokens,
                                .pair_cost = model_pair_cost(&model),
                                .future = &c->future};
    prompt_blocks_release(&b);
    c->sim = mem_alloc(c->n_policies * c->n_blocks * sizeof(*c->sim));
    for (size_t i = 0; i < c->n_policies * c->n_blocks; i++) {
        setup.capacity = c->blocks[i % c->n_blocks];
        c->sim[i] = cache_sim_open(c->policy[i / c->n_blocks], &in->config.params, &setup, in->e);
        if (c->sim[i] == NULL)
            return false;
    }
    return true;
}

static double rate(uint64_t hits, uint64_t all)
{
    return all > 0 ? (double)hits / (double)all : 0;
}

static void print_caches(const struct caches *c, bool json)
{
    json_t *rows = json_array();
    if (!json)
        puts("policy        blocks  block hits  token hits");
    for (size_t i = 0; i < c->n_policies * c->n_blocks; i++) {
        const char *policy = c->policy[i / c->n_blocks]->name;
        uint64_t blocks = c->blocks[i % c->n_blocks];
        struct cache_counts n = cache_sim_counts(c->sim[i]);
        double by_block = rate(n.hit_blocks, n.blocks), by_token = rate(n.hit_tokens, n.tokens);
        bool unlimited = blocks == CACHE_UNLIMITED;
        if (json)
            json_array_append_new(
                rows, json_pack("{s:s, s:o, s:f, s:f}", "policy", policy, "blocks",
                                unlimited ? json_string("inf") : json_integer((json_int_t)blocks),
                                "block_hit_rate", by_block, "token_hit_rate", by_token));
        else if (unlimited)
            printf("%-10s %9s  %8.2f %%  %8.2f %%\n", policy, "inf", 100 * by_block,
                   100 * by_token);
        else
            printf("%-10s %9" PRIu64 "  %8.2f %%  %8.2f %%\n", policy, blocks, 100 * by_block,
                   100 * by_token);
    }
    if (json) {
        json_dumpf(rows, stdout, JSON_INDENT(2));
        putchar('\n');
    }
    json_decref(rows);
}

static bool cache(struct input *in)
{
    struct caches c = {0};
    struct opened o;
    bool ok =
        read_policies(in, &c) && read_blocks(in, &c) && read_future(in, &c) && open_trace(in, &o);
    if (ok) {
        ok = open_caches(in, &c, &o.source.traits) &&
             cache_replay(&o.source, in->file, c.sim, c.n_policies * c.n_blocks, in->e);
        close_trace(&o);
    }
    if (ok)
        print_caches(&c, in->json);
    caches_release(&c);
    return ok;
}

/* ---- convert, scale, generate ---- */

static void print_converted(const struct input *in, const struct converted *n)
{
    if (in->json) {
        json_t *all = json_pack("{s:s, s:I, s:I, s:I}", "file", in->out, "requests",
                                (json_int_t)n->rows, "failed_in_trace", (json_int_t)n->failed,
                                "outputs_not_shared", (json_int_t)n->unsaid);
        json_dumpf(all, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(all);
        return;
    }
    printf("%s: %" PRIu64 " requests", in->out, n->rows);
    if (n->failed > 0)
        printf("; %" PRIu64 " that failed when recorded %s", n->failed,
               in->format != NULL && strcmp(in->format, "burstgpt") == 0
                   ? "are among them, without response tokens"
                   : "are left out");
    if (n->unsaid > 0)
        printf("; of %" PRIu64 " the file cannot say that a later prompt contains their output",
               n->unsaid);
    putchar('\n');
}

static bool convert(struct input *in)
{
    struct opened o;
    struct converted n;
    if (in->out == NULL)
        return err_set(in->e, "%s: where to? give -o FILE", in->command);
    bool as_burstgpt = in->format != NULL && strcmp(in->format, "burstgpt") == 0;
    if (in->format != NULL && !as_burstgpt && strcmp(in->format, "csv") != 0)
        return err_set(in->e, "%s: --trace-format %s cannot be written; csv and burstgpt can",
                       in->command, in->format);
    set_env(in, &o);
    bool ok = (as_burstgpt ? burstgpt_convert : trace_convert)(
        in->file, config_str(&in->config, "trace_format"), &o.env, in->out, &n, in->e);
    release_names(&o);
    if (ok)
        print_converted(in, &n);
    return ok;
}

static bool scale(struct input *in)
{
    const char *key;
    json_t *value;
    bool any = false;
    json_object_foreach(in->config.flat, key, value) any = any || strncmp(key, "trace.", 6) == 0;
    if (!any)
        return err_set(in->e,
                       "%s: nothing to change; give --set trace.rate_scale=FACTOR or "
                       "another trace.* key",
                       in->command);
    return convert(in);
}

static bool generate(struct input *in)
{
    if (!spec_is(in->file))
        return err_set(in->e,
                       "%s: %s is no SPEC; write generate:NAME,key=value,... (`tandem list "
                       "traces`)",
                       in->command, in->file);
    return convert(in);
}

/* ---- which of them ---- */

struct action {
    const char *name, *doc;
    const struct argp *argp;
    bool (*run)(struct input *in);
};

static const struct action actions[] = {
    {"info", "rates, lengths, prefix reuse, tenants", &info_argp, info},
    {"cache", "what prefix caches would hit, without an engine", &cache_argp, cache},
    {"convert", "any format to a CSV file of our own", &convert_argp, convert},
    {"scale", "a part of a trace, or at another rate, as a CSV file", &scale_argp, scale},
    {"generate", "a trace made up, as a CSV file", &generate_argp, generate},
};

static int run_action(const struct action *a, int argc, char **argv, struct err *e)
{
    char command[32], usage[40], lru[] = "lru", inf[] = "inf";
    snprintf(command, sizeof(command), "trace %s", a->name);
    snprintf(usage, sizeof(usage), "tandem %s", command);
    struct input in = {.e = e, .command = command, .prefix = lru, .blocks = inf};
    config_init(&in.config);
    bool ok = options_parse(a->argp, usage, argc, argv, &in, e);
    if (ok && in.file == NULL)
        ok = err_set(e, "%s: of which trace? (`%s --help`)", command, usage);
    ok = ok && a->run(&in);
    config_release(&in.config);
    return ok ? 0 : 2;
}

int cmd_trace(int argc, char **argv, struct err *e)
{
    const char *names[ARRAY_LEN(actions)], *name = argc > 1 ? argv[1] : "--help";
    for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
        names[i] = actions[i].name;
        if (strcmp(name, names[i]) == 0)
            return run_action(&actions[i], argc - 1, argv + 1, e);
    }
    if (argc > 1 && strcmp(name, "--help") != 0 && strcmp(name, "-?") != 0) {
        err_set(e, "trace: unknown action %s; the nearest is %s (`tandem trace --help`)", name,
                nearest_word(name, names, ARRAY_LEN(names)));
        return 2;
    }
    puts("Usage: tandem trace ACTION FILE|SPEC [OPTION...]\n");
    for (size_t i = 0; i < ARRAY_LEN(actions); i++)
        printf("  %-10s %s\n", actions[i].name, actions[i].doc);
    puts("\n  tandem trace ACTION --help   its options");
    return 0;
}
