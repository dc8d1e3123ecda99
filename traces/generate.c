/* generate.c: traces that are made up: arrivals, lengths, tenants, shared prefixes and sessions,
 * each drawn from a random stream of its own, so that a change to one leaves the others' draws as
 * they were. */
#include "traces/generate.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "traces/arrivals.h"
#include "traces/burstgpt_write.h"
#include "traces/clients.h"
#include "traces/dialogue.h"
#include "traces/record.h"
#include "traces/spec.h"

#define N_DEFAULT 1000u

/* burstgpt: two kinds of requests, and some that failed. */
struct log_types {
    bool on;
    double conversation, failures; /* shares */
    struct dist prompt, output;    /* of conversations */
    struct rng by_type, by_failure;
    uint32_t class_conversation, class_api;
};

struct generate {
    const struct generator *of;
    struct params params; /* what the SPEC sets */
    struct names *tenants;
    uint64_t seed, n, n_given; /* n: records to give */
    ns_t end_at;               /* of arrivals */
    struct arrivals arrivals;
    struct dist prompt, output;
    gsl_rng *by_prompt, *by_output;
    double *share; /* owned: zipf_fill of the tenants */
    size_t n_tenants;
    uint64_t n_groups;
    uint32_t prefix_tokens;
    struct rng by_tenant, by_group;
    struct log_types logs;
    struct segment segment[2];

    bool talks; /* multiturn, agent */
    struct agent agent;
    struct dialogue dialogue;
    ns_t next_at; /* talks: when the next session begins */

    bool loops; /* clients */
    struct clients clients;
    struct dist think;
    gsl_rng *by_think;
};

static double number(const struct generate *g, const char *key)
{
    return params_num(&g->params, spec_params, SPEC_OWNER, key);
}

static bool is_true(const struct generate *g, const char *key)
{
    return params_bool(&g->params, spec_params, SPEC_OWNER, key);
}

static const char *string(const struct generate *g, const char *key)
{
    return params_str(&g->params, spec_params, SPEC_OWNER, key);
}

static bool named(const struct generate *g, const char *name)
{
    return strcmp(g->of->name, name) == 0;
}

/* ---- opening ---- */

static bool read_dist(const struct generate *g, const char *key, const char *column,
                      struct dist *out, struct err *e)
{
    char where[64];

    snprintf(where, sizeof(where), SPEC_PREFIX "%s: %s", g->of->name, key);
    return dist_parse(out, where, string(g, key), column, e);
}

static enum process process_of(const struct generate *g)
{
    static const struct {
        const char *name;
        enum process process;
    } by_name[] = {{"gamma", PROCESS_GAMMA},
                   {"weibull", PROCESS_WEIBULL},
                   {"onoff", PROCESS_ONOFF},
                   {"burstgpt", PROCESS_DAILY}};

    for (size_t i = 0; i < ARRAY_LEN(by_name); i++)
        if (named(g, by_name[i].name))
            return by_name[i].process;
    return PROCESS_POISSON;
}

static bool open_arrivals(struct generate *g, struct err *e)
{
    struct arrivals_config c = {.process = process_of(g),
                                .rate_per_s = number(g, "rate"),
                                .shape = number(g, "shape"),
                                .cv = number(g, "cv"),
                                .on_s = number(g, "on"),
                                .off_s = number(g, "off"),
                                .idle = number(g, "idle"),
                                .start_hour = number(g, "start_hour"),
                                .follow_hours = is_true(g, "hours"),
                                .follow_days = is_true(g, "days")};

    if (!isnan(c.shape) && params_find(&g->params, SPEC_OWNER ".cv"))
        return err_set(e, SPEC_PREFIX "%s: cv and shape say the same; give one of them",
                       g->of->name);
    arrivals_init(&g->arrivals, &c, g->seed, "generate.arrivals");
    return true;
}

static bool open_log_types(struct generate *g, const struct trace_env *env, struct err *e)
{
    struct log_types *t = &g->logs;

    t->on = true;
    t->conversation = number(g, "conversation");
    t->failures = number(g, "failures");
    t->class_conversation = names_id(env->classes, BURSTGPT_CONVERSATION);
    t->class_api = names_id(env->classes, BURSTGPT_API);
    rng_init(&t->by_type, g->seed, "generate.log_types");
    rng_init(&t->by_failure, g->seed, "generate.failures");
    return read_dist(g, "conv_prompt", "num_prefill_tokens", &t->prompt, e) &&
           read_dist(g, "conv_output", "num_decode_tokens", &t->output, e);
}

static bool open_talks(struct generate *g, struct err *e)
{
    struct dialogue_config *c = &g->dialogue.c;

    c->follow = is_true(g, "after");
    c->max_context = (uint32_t)number(g, "max_context");
    c->prefix_tokens = g->n_groups > 0 ? g->prefix_tokens : 0;
    c->prompt = &g->prompt;
    c->output = &g->output;
    g->talks = true;
    dialogue_init(&g->dialogue, g->seed);
    if (named(g, "agent")) {
        c->agent = &g->agent;
        return agent_open(&g->agent, string(g, "agent"), string(g, "calls"), e);
    }
    return read_dist(g, "turns", "turns", &c->turns, e) &&
           read_dist(g, "think", "think_s", &c->think, e);
}

static bool open_clients(struct generate *g, struct err *e)
{
    uint64_t loops = g->n_tenants * (uint64_t)number(g, "inflight");
    struct clients_config c = {.n_loops = MIN(loops, g->n), /* others would send nothing */
                               .alike = (uint32_t)number(g, "alike"),
                               .n_prefixes = g->n_groups,
                               .prefix_tokens = g->prefix_tokens};

    clients_init(&g->clients, &c, g->share, g->n_tenants, g->seed);
    g->loops = true;
    g->by_think = rng_gsl(g->seed, "generate.think");
    return read_dist(g, "think", "think_s", &g->think, e);
}

static void set_extent(struct generate *g)
{
    double n = number(g, "n"), duration_s = number(g, "duration");

    /* Followers have no arrival that could be too late: of clients, n ends them. */
    bool endless = !isnan(duration_s) && !named(g, "clients");
    g->n = !isnan(n) ? (uint64_t)n : endless ? UINT64_MAX : N_DEFAULT;
    g->end_at = isnan(duration_s) ? NS_NEVER : ns_from_s(duration_s);
}

static void set_tenants(struct generate *g)
{
    g->n_tenants = (size_t)number(g, "tenants");
    g->share = mem_alloc(g->n_tenants * sizeof(*g->share));
    zipf_fill(g->share, g->n_tenants, number(g, "tenant_skew"));
    rng_init(&g->by_tenant, g->seed, "generate.tenants");
    g->n_groups = (uint64_t)number(g, "prefix_groups");
    g->prefix_tokens = (uint32_t)number(g, "prefix_tokens");
    rng_init(&g->by_group, g->seed, "generate.prefix_groups");
}

static bool open_parts(struct generate *g, const struct trace_env *env, struct err *e)
{
    double seed = number(g, "seed");

    g->seed = isnan(seed) ? env->seed : (uint64_t)seed;
    g->tenants = env->tenants;
    set_extent(g);
    set_tenants(g);
    if (!open_arrivals(g, e))
        return false;
    g->by_prompt = rng_gsl(g->seed, "generate.prompt");
    g->by_output = rng_gsl(g->seed, "generate.output");
    if (!read_dist(g, "prompt", "num_prefill_tokens", &g->prompt, e) ||
        !read_dist(g, "output", "num_decode_tokens", &g->output, e))
        return false;
    if (named(g, "burstgpt"))
        return open_log_types(g, env, e);
    if (named(g, "clients"))
        return open_clients(g, e);
    if (!named(g, "multiturn") && !named(g, "agent"))
        return true;
    if (!open_talks(g, e))
        return false;
    g->next_at = ns_from_s(arrivals_next(&g->arrivals));
    return true;
}

/* What was never opened is zero, and so released. */
static void close_generate(void *self)
{
    struct generate *g = self;

    if (g->talks) {
        dialogue_release(&g->dialogue);
        agent_release(&g->agent);
    }
    if (g->loops)
        clients_release(&g->clients);
    dist_release(&g->logs.prompt);
    dist_release(&g->logs.output);
    dist_release(&g->think);
    dist_release(&g->prompt);
    dist_release(&g->output);
    arrivals_release(&g->arrivals);
    gsl_rng_free(g->by_prompt);
    gsl_rng_free(g->by_output);
    gsl_rng_free(g->by_think);
    mem_free(g->share);
    params_release(&g->params);
    mem_free(g);
}

static void *open_generate(const char *spec, const struct trace_env *env,
                           struct trace_traits *traits, struct err *e)
{
    struct generate *g = mem_alloc(sizeof(*g));

    params_init(&g->params);
    g->of = spec_parse(spec, &g->params, e);
    if (!g->of || !open_parts(g, env, e)) {
        close_generate(g);
        return NULL;
    }
    *traits = (struct trace_traits){.has_hashes = g->talks || g->loops || g->n_groups > 0,
                                    .has_after = g->loops || (g->talks && g->dialogue.c.follow)};
    snprintf(traits->made_up, sizeof(traits->made_up), "generate:%s seed %" PRIu64, g->of->name,
             g->seed);
    return g;
}

/* ---- records ---- */

static uint32_t tenant_id(const struct generate *g, size_t i)
{
    char name[24];

    if (g->n_tenants == 1)
        return NAMES_NONE;
    snprintf(name, sizeof(name), "t%zu", i);
    return names_id(g->tenants, name);
}

static uint32_t draw_tenant(struct generate *g)
{
    return tenant_id(g, zipf_pick(g->share, g->n_tenants, rng_unit(&g->by_tenant)));
}

static uint64_t draw_group(struct generate *g)
{
    return g->n_groups > 0 ? rng_below(&g->by_group, g->n_groups) : 0;
}

/* Its lengths; who sends it and what it begins with is the caller's to say. */
static void begin_request(struct generate *g, ns_t at, uint32_t tenant, struct trace_rec *rec)
{
    *rec = (struct trace_rec){.arrival_at = at,
                              .after = TRACE_NO_PARENT,
                              .prompt_tokens = dist_count(&g->prompt, g->by_prompt, 1, TOKENS_MAX),
                              .output_tokens = dist_count(&g->output, g->by_output, 1, TOKENS_MAX),
                              .tenant = tenant,
                              .slo_class = NAMES_NONE,
                              .turn = TRACE_NO_TURN};
}

/* Conversations are as many on every day: their share is small where much arrives. */
static void draw_log_type(struct generate *g, struct trace_rec *rec)
{
    struct log_types *t = &g->logs;
    double share = t->conversation / arrivals_surge(&g->arrivals);

    rec->slo_class = t->class_api;
    if (rng_unit(&t->by_type) < share) {
        rec->slo_class = t->class_conversation;
        rec->prompt_tokens = dist_count(&t->prompt, g->by_prompt, 1, TOKENS_MAX);
        rec->output_tokens = dist_count(&t->output, g->by_output, 1, TOKENS_MAX);
    }
    rec->failed = rng_unit(&t->by_failure) < t->failures;
    if (rec->failed)
        rec->output_tokens = 0;
}

static enum trace_status next_request(struct generate *g, struct trace_rec *rec)
{
    ns_t at = ns_from_s(arrivals_next(&g->arrivals));

    if (at >= g->end_at)
        return TRACE_END;
    begin_request(g, at, draw_tenant(g), rec);
    if (g->logs.on)
        draw_log_type(g, rec);
    if (g->n_groups > 0)
        record_prefix(rec, g->segment, draw_group(g), g->prefix_tokens,
                      content_private_stream(g->n_given));
    return TRACE_REC;
}

/* The first of every loop arrive as the rate says, the others follow. */
static enum trace_status next_of_client(struct generate *g, struct trace_rec *rec)
{
    bool first = g->n_given < g->clients.c.n_loops;
    ns_t at = first ? ns_from_s(arrivals_next(&g->arrivals)) : 0;

    if (at >= g->end_at)
        return TRACE_END;
    begin_request(g, at, tenant_id(g, clients_tenant(&g->clients, g->n_given)), rec);
    clients_place(&g->clients, g->n_given, rec);
    if (!first)
        rec->delay_ns = ns_from_s(dist_draw(&g->think, g->by_think));
    return TRACE_REC;
}

/* When the next session begins; NS_NEVER: none does. */
static ns_t begins_at(const struct generate *g)
{
    return g->next_at < g->end_at ? g->next_at : NS_NEVER;
}

static enum trace_status next_turn(struct generate *g, struct trace_rec *rec)
{
    do {
        while (!dialogue_goes_on(&g->dialogue, begins_at(g))) {
            struct dialogue_start start = {.at = begins_at(g)};

            if (start.at == NS_NEVER)
                return TRACE_END;
            start.tenant = draw_tenant(g);
            start.group = draw_group(g);
            dialogue_begin(&g->dialogue, &start);
            g->next_at = ns_from_s(arrivals_next(&g->arrivals));
        }
    } while (!dialogue_next(&g->dialogue, g->n_given, rec));
    return TRACE_REC;
}

static enum trace_status next(void *self, struct trace_rec *rec, struct err *e)
{
    struct generate *g = self;
    enum trace_status st;

    (void)e;
    if (g->n_given == g->n)
        return TRACE_END;
    st = g->talks ? next_turn(g, rec) : g->loops ? next_of_client(g, rec) : next_request(g, rec);
    if (st != TRACE_REC)
        return st;
    rec->seq = g->n_given++;
    rec->line = g->n_given;
    return TRACE_REC;
}

const struct trace_ops trace_generate = {
    .name = SPEC_OWNER,
    .doc = "made up: generate:NAME,key=value,...",
    .source = "traces/spec.c",
    .open = open_generate,
    .next = next,
    .close = close_generate,
};
