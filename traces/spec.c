/* spec.c: see spec.h. */
#include "traces/spec.h"

#include <math.h>
#include <string.h>

#include "sim/nearest.h"
#include "traces/text.h"

#define KEYS_MAX 32u

/* Lengths by default: lognormal, as conversations are; together the 734 tokens of BurstGPT's mean
 * request (1.049e9 tokens in 1,429,737 requests), the split between them assumed.
 *
 * The log types of BurstGPT, from its daily counts: its first week has 2,776 requests a day of 888
 * tokens that did not fail, before bulk use begins on day 9; so many a day are 12 % of all in its
 * 61 days. Of the first 31 requests, all conversation, 34 % of the tokens are output; standard
 * deviation / mean is 0.83 and 0.79, which a lognormal has at 0.7. 25.4 of 1,429.7 thousand
 * requests failed. What is left for the API is 734 tokens on average; its split and deviation are
 * assumed. cv=1.6 gives that week's share of minutes without a request (0.37) and its deviation of
 * tokens a minute (1.32 of the mean); both are in tests/unit/test_burstgpt.c. */
const struct param_desc spec_params[] = {
    {"n", PARAM_INT, "", "records [1000; no limit where duration is given]", 1, 1e15, NULL},
    {"rate", PARAM_REAL, "1",
     "requests a second on average; of multiturn and agent: sessions; of clients: first requests",
     1e-6, 1e6, NULL},
    {"duration", PARAM_REAL, "", "s in which requests, or sessions, begin", 1e-9, 1e9, NULL},
    {"seed", PARAM_INT, "", "of its random streams [the run's]", 0, 9007199254740992.0, NULL},
    {"prompt", PARAM_STR, "lognormal:600:1",
     "tokens: fixed:N, uniform:LO:HI, exponential:MEAN, lognormal:MEAN:SIGMA, zipf:S:MAX, "
     "empirical:FILE:COLUMN [num_prefill_tokens]; of multiturn: what each turn adds",
     0, 0, NULL},
    {"output", PARAM_STR, "lognormal:134:1", "tokens, likewise [column num_decode_tokens]", 0, 0,
     NULL},
    {"tenants", PARAM_INT, "1", "t0, t1, ...; one: no name", 1, 1e6, NULL},
    {"tenant_skew", PARAM_REAL, "1", "Zipf exponent of their shares; 0: equal", 0, 100, NULL},
    {"prefix_groups", PARAM_INT, "0", "so many groups of requests, or sessions, share a prefix", 0,
     1e9, NULL},
    {"prefix_tokens", PARAM_INT, "512", "tokens of that prefix, at most the prompt's less one", 1,
     TOKENS_MAX, NULL},
    {"cv", PARAM_REAL, "2", "of the gaps: standard deviation / mean", 0.1, 100, NULL},
    {"shape", PARAM_REAL, "", "of the gaps' distribution, instead of cv", 0.01, 100, NULL},
    {"on", PARAM_REAL, "10", "mean s of a burst", 1e-3, 1e9, NULL},
    {"off", PARAM_REAL, "10", "mean s between bursts", 1e-3, 1e9, NULL},
    {"idle", PARAM_REAL, "0", "rate between bursts / in them", 0, 1, NULL},
    {"start_hour", PARAM_REAL, "0", "hour of the day at time 0", 0, 24, NULL},
    {"hours", PARAM_BOOL, "true", "the rate follows the hour of the day", 0, 0, NULL},
    {"days", PARAM_BOOL, "false", "the rate follows the 61 days, too", 0, 0, NULL},
    {"conversation", PARAM_REAL, "0.12",
     "share of requests from conversations, the rest is of the API; with days=true conversations "
     "are equally many each day",
     0, 1, NULL},
    {"conv_prompt", PARAM_STR, "lognormal:585:0.7", "of conversations; prompt is of the API", 0, 0,
     NULL},
    {"conv_output", PARAM_STR, "lognormal:303:0.7", "of conversations; output is of the API", 0, 0,
     NULL},
    {"failures", PARAM_REAL, "0.018", "share of requests that failed: counted, not replayed", 0, 1,
     NULL},
    {"turns", PARAM_STR, "uniform:1:8", "turns of a session, a distribution as for prompt", 0, 0,
     NULL},
    {"think", PARAM_STR, "lognormal:20:1",
     "s from a turn's answer (after=false: from its arrival) to the next turn", 0, 0, NULL},
    {"after", PARAM_BOOL, "true",
     "later turns follow the turn before; false: they arrive at times of their own", 0, 0, NULL},
    {"max_context", PARAM_INT, "32768", "tokens; a session ends before a longer prompt", 1,
     TOKENS_MAX, NULL},
    {"agent", PARAM_STR, "miniswe", "whose calls", 0, 0, "miniswe|magagent|taubench"},
    {"inflight", PARAM_INT, "2", "requests that a tenant keeps in flight, on average", 1, 1e6,
     NULL},
    {"alike", PARAM_INT, "8", "requests in a row of a tenant that share a prefix", 1, 1e9, NULL},
    {"calls", PARAM_STR, "", "FILE of recorded sessions to draw from [quantiles of the same]", 0, 0,
     NULL},
    {0},
};

/* Of every generator; the others' are in their `keys`. */
static const char common_keys[] =
    "n|rate|duration|seed|tenants|tenant_skew|prefix_groups|prefix_tokens";

static const struct generator generators[] = {
    {"poisson", "gaps of an exponential distribution", "the memoryless process", "prompt|output"},
    {"gamma", "gaps of a Gamma distribution: bursts by cv above 1", "as in arXiv 2401.17644",
     "prompt|output|cv|shape"},
    {"weibull", "gaps of a Weibull distribution", "as in arXiv 2505.09999",
     "prompt|output|cv|shape"},
    {"onoff", "Poisson arrivals in bursts, fewer or none between them",
     "Markov-modulated Poisson process of two states", "prompt|output|on|off|idle"},
    {"burstgpt",
     "Gamma gaps around the hours, and days, of BurstGPT, of which 10.31 million are "
     "n=10310000,rate=0.5602,cv=1.6,days=true; class conversation or api",
     "HPMLL/BurstGPT, arXiv 2401.17644",
     "prompt|output|cv|shape|start_hour|hours|days|conversation|conv_prompt|conv_output|failures"},
    {"multiturn", "Poisson arrivals of sessions, whose turns carry their history",
     "our own; a prompt includes all turns before it",
     "prompt|output|turns|think|after|max_context"},
    {"agent", "Poisson arrivals of agent sessions: calls, growing context, gaps of tools and model",
     "LMCache/lmcache-agent-trace, 4 characters a token", "agent|calls|after|max_context"},
    {"clients",
     "a closed loop: tenants that keep requests in flight, each with prefixes of its own",
     "our own, shaped as the workloads of arXiv 2501.14312; prefix_groups: of a tenant [new ones]",
     "prompt|output|think|inflight|alike"},
};

const struct generator *generator_at(size_t i)
{
    return i < ARRAY_LEN(generators) ? &generators[i] : NULL;
}

static bool has_word(const char *list, const char *word, size_t len)
{
    for (const char *p = list; *p; p += *p == '|') {
        size_t n = strcspn(p, "|");

        if (n == len && memcmp(p, word, n) == 0)
            return true;
        p += n;
    }
    return false;
}

bool generator_has(const struct generator *g, const char *key)
{
    return has_word(common_keys, key, strlen(key)) || has_word(g->keys, key, strlen(key));
}

/* ---- parsing ---- */

bool spec_is(const char *trace)
{
    return strncmp(trace, SPEC_PREFIX, sizeof(SPEC_PREFIX) - 1) == 0;
}

static const struct generator *find_generator(const char *name, struct err *e)
{
    const char *names[ARRAY_LEN(generators)];

    for (size_t i = 0; i < ARRAY_LEN(generators); i++) {
        names[i] = generators[i].name;
        if (strcmp(name, names[i]) == 0)
            return &generators[i];
    }
    err_set(e, SPEC_PREFIX "%.40s: unknown generator; did you mean %s? (`tandem list traces`)",
            name, nearest_word(name, names, ARRAY_LEN(names)));
    return NULL;
}

static const struct param_desc *find_key(const struct generator *g, const char *key, struct err *e)
{
    const char *names[KEYS_MAX];
    size_t n = 0;

    for (const struct param_desc *d = spec_params; d->name; d++) {
        if (!generator_has(g, d->name))
            continue;
        if (strcmp(d->name, key) == 0)
            return d;
        CHECK(n < ARRAY_LEN(names), "spec: the keys fit", "%zu", n);
        names[n++] = d->name;
    }
    err_set(e, SPEC_PREFIX "%s: unknown key \"%.40s\"; did you mean %s? (`tandem list traces`)",
            g->name, key, nearest_word(key, names, n));
    return NULL;
}

static bool set_number(const struct generator *g, const struct param_desc *d, const char *full,
                       const char *value, struct params *p, struct err *e)
{
    double x;

    if (!parse_real(value, &x) || (d->type == PARAM_INT && x != floor(x)))
        return err_set(e, SPEC_PREFIX "%s: %s=%.60s is not a %snumber; write one", g->name, d->name,
                       value, d->type == PARAM_INT ? "whole " : "");
    if (x < d->min || x > d->max)
        return err_set(e, SPEC_PREFIX "%s: %s=%.60s is out of range; give %.16g to %.16g", g->name,
                       d->name, value, d->min, d->max);
    params_set_num(p, full, d->type, x);
    return true;
}

static bool set_value(const struct generator *g, const struct param_desc *d, const char *value,
                      struct params *p, struct err *e)
{
    char full[64] = SPEC_OWNER ".";

    strncat(full, d->name, sizeof(full) - sizeof(SPEC_OWNER "."));
    if (params_find(p, full))
        return err_set(e, SPEC_PREFIX "%s: %s is given twice; give it once", g->name, d->name);
    if (d->type == PARAM_INT || d->type == PARAM_REAL)
        return set_number(g, d, full, value, p, e);
    if (d->type == PARAM_BOOL) {
        if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
            return err_set(e, SPEC_PREFIX "%s: %s=%.60s is neither true nor false", g->name,
                           d->name, value);
        params_set_num(p, full, d->type, *value == 't');
        return true;
    }
    if (d->choices && !has_word(d->choices, value, strlen(value)))
        return err_set(e, SPEC_PREFIX "%s: %s=%.60s is not one of %s", g->name, d->name, value,
                       d->choices);
    params_set_str(p, full, value);
    return true;
}

static bool set_pair(const struct generator *g, char *pair, struct params *p, struct err *e)
{
    const char *key = strsep(&pair, "=");
    const struct param_desc *d;

    if (!pair || *key == '\0' || *pair == '\0')
        return err_set(e, SPEC_PREFIX "%s: \"%.60s\" is not key=value; write n=100", g->name, key);
    d = find_key(g, key, e);
    return d && set_value(g, d, pair, p, e);
}

const struct generator *spec_parse(const char *spec, struct params *p, struct err *e)
{
    char *copy = mem_strdup(spec + sizeof(SPEC_PREFIX) - 1), *rest = copy, *pair;
    const struct generator *g = find_generator(strsep(&rest, ","), e);

    while (g && (pair = strsep(&rest, ",")) != NULL)
        if (!set_pair(g, pair, p, e))
            g = NULL;
    mem_free(copy);
    return g;
}

const char *spec_file(const char **at, size_t *len)
{
    static const char calls[] = "calls=", empirical[] = "empirical:";

    for (const char *p = *at; (p = strpbrk(p, ",=")) != NULL;) {
        const char *file = NULL;

        p++;
        if (p[-1] == ',' && strncmp(p, calls, sizeof(calls) - 1) == 0)
            file = p + sizeof(calls) - 1;
        if (p[-1] == '=' && strncmp(p, empirical, sizeof(empirical) - 1) == 0)
            file = p + sizeof(empirical) - 1;
        if (!file)
            continue;
        *len = strcspn(file, ",:");
        *at = file + *len;
        return file;
    }
    return NULL;
}
