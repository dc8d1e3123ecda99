/* test_generate.c: `generate:NAME,...`: arrivals, lengths, tenants, shared prefixes and sessions
 * are what was asked for; every random stream is its own; what is asked wrongly is refused. */
#include "tests/support/trace_world.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "traces/arrivals.h"

#define N 20000u
#define N_TEXT "20000"

/* What a SPEC gave: columns of it. */
struct drawn {
    size_t n;
    double at_s[N], prompt[N], output[N]; /* arrivals of timed records, else the delay */
    uint64_t after[N], stream[N];
    uint32_t tenant[N], turn[N], session[N];
};

static struct drawn *draw(const char *spec, uint64_t seed)
{
    struct drawn *d = mem_alloc(sizeof(*d));
    struct trace_check check = {0};
    struct trace_world w;
    struct trace_source src;
    struct trace_rec r;

    trace_world_init(&w);
    w.env.seed = seed;
    ck_assert_msg(trace_open(spec, NULL, &w.env, &src, &w.err), "%s", w.err.text);
    ck_assert_str_eq(src.format, "generate");
    while (d->n < N && src.ops->next(src.self, &r, &w.err) == TRACE_REC) {
        const char *tenant = names_text(&w.tenants, r.tenant);
        size_t i = d->n++;

        trace_check(&check, &src, &w.env, &r);
        ck_assert_uint_eq(r.seq, i);
        d->at_s[i] = (double)(r.after == TRACE_NO_PARENT ? r.arrival_at : r.delay_ns) / 1e9;
        d->prompt[i] = r.prompt_tokens;
        d->output[i] = r.output_tokens;
        d->after[i] = r.after;
        d->stream[i] = r.n_segments > 0 ? r.segment[0].stream : 0;
        d->tenant[i] = tenant[0] == 't' ? (uint32_t)strtoul(tenant + 1, NULL, 10) : NAMES_NONE;
        d->turn[i] = r.turn;
        d->session[i] = r.session ? (uint32_t)strtoul(r.session + 1, NULL, 10) : NAMES_NONE;
    }
    src.ops->close(src.self);
    trace_world_release(&w);
    return d;
}

struct moments {
    double mean, cv;
};

static struct moments moments(const double *v, size_t n)
{
    double sum = 0, squares = 0;

    for (size_t i = 0; i < n; i++)
        sum += v[i];
    for (size_t i = 0; i < n; i++)
        squares += (v[i] - sum / (double)n) * (v[i] - sum / (double)n);
    return (struct moments){sum / (double)n, sqrt(squares / (double)n) / (sum / (double)n)};
}

/* ---- arrivals ---- */

/* Gaps are independent: their mean within 5 standard errors. Their cv: 2 %, 10 % where the tail is
 * heavy. */
static const struct {
    const char *spec;
    double rate, cv, cv_tolerance;
} processes[] = {
    {"generate:poisson,n=" N_TEXT, 1, 1, 0.02},
    {"generate:poisson,n=" N_TEXT ",rate=250", 250, 1, 0.02},
    {"generate:gamma,n=" N_TEXT ",rate=4", 4, 2, 0.05},
    {"generate:gamma,n=" N_TEXT ",rate=4,cv=0.5", 4, 0.5, 0.02},
    {"generate:gamma,n=" N_TEXT ",rate=0.1,cv=4", 0.1, 4, 0.1},
    {"generate:gamma,n=" N_TEXT ",rate=2,shape=0.25", 2, 2, 0.05},
    {"generate:weibull,n=" N_TEXT ",rate=4,cv=0.5", 4, 0.5, 0.02},
    {"generate:weibull,n=" N_TEXT ",rate=4,cv=3", 4, 3, 0.1},
    {"generate:weibull,n=" N_TEXT ",rate=2,shape=1", 2, 1, 0.02},
    {"generate:burstgpt,n=" N_TEXT ",rate=3,cv=0.5,hours=false", 3, 0.5, 0.02},
    {"generate:onoff,n=" N_TEXT ",rate=5,idle=1", 5, 1, 0.02}, /* no difference: Poisson */
};

START_TEST(gaps)
{
    struct drawn *d = draw(processes[_i].spec, 1);
    struct moments m;
    double mean = 1 / processes[_i].rate;

    ck_assert_uint_eq(d->n, N);
    for (size_t i = N - 1; i > 0; i--)
        d->at_s[i] -= d->at_s[i - 1];
    m = moments(d->at_s, N);
    ck_assert_msg(fabs(m.mean - mean) < 5 * processes[_i].cv * mean / sqrt(N), "%s: mean gap %g",
                  processes[_i].spec, m.mean);
    ck_assert_msg(fabs(m.cv / processes[_i].cv - 1) < processes[_i].cv_tolerance, "%s: cv %g",
                  processes[_i].spec, m.cv);
    mem_free(d);
}
END_TEST

START_TEST(weibull_shapes)
{
    for (double shape = 0.2; shape < 10; shape *= 1.7) {
        double a = tgamma(1 + 1 / shape), b = tgamma(1 + 2 / shape);

        ck_assert_double_eq_tol(weibull_shape(sqrt(b / (a * a) - 1)), shape, 1e-6 * shape);
    }
}
END_TEST

/* In seconds of bursts and pauses, 2 s and 6 s on average: nothing but bursts, the mean rate kept,
 * and gaps of a burst's rate where no pause lies between. */
START_TEST(bursts)
{
    struct drawn *d = draw("generate:onoff,n=" N_TEXT ",rate=10,on=2,off=6", 3);
    double inside = 0, pauses = 0;

    for (size_t i = N - 1; i > 0; i--) {
        double gap = d->at_s[i] - d->at_s[i - 1];

        if (gap > 0.5)
            pauses++;
        else
            inside += gap;
    }
    ck_assert_double_eq_tol(d->at_s[N - 1], N / 10.0, 0.15 * N / 10.0);
    ck_assert_double_eq_tol((N - 1 - pauses) / inside, 40, 2);
    ck_assert_double_gt(pauses, 150);
    mem_free(d);
}
END_TEST

/* The share of each hour, within 5 standard deviations; hour 12 is 11 times hour 7. */
START_TEST(hours)
{
    const double rate = 0.05, mean_requests = 980.7; /* of the 24 hours */
    struct drawn *d = draw("generate:burstgpt,n=" N_TEXT ",rate=0.05,cv=1,start_hour=2.5", 3);
    double count[24] = {0}, days = d->at_s[N - 1] / 86400;

    for (size_t i = 0; i < N; i++)
        count[(size_t)(d->at_s[i] / 3600 + 2.5) % 24]++;
    for (size_t i = 0; i < 3; i++) {
        static const struct {
            size_t hour;
            double requests;
        } known[] = {{7, 153.3}, {12, 1744.3}, {0, 940.3}};
        double expect = days * 3600 * rate * known[i].requests / mean_requests;

        ck_assert_double_eq_tol(count[known[i].hour], expect, 5 * sqrt(expect) + expect / days);
    }
    mem_free(d);
    /* day 9 has 149,520 of the 1,429,737 requests of 61 days, day 0 has 3,389 */
    d = draw("generate:burstgpt,n=" N_TEXT ",rate=0.01,cv=1,hours=false,days=true", 3);
    count[0] = count[1] = 0;
    for (size_t i = 0; i < N; i++) {
        count[0] += d->at_s[i] < 86400;
        count[1] += d->at_s[i] >= 9 * 86400.0 && d->at_s[i] < 10 * 86400.0;
    }
    ck_assert_double_eq_tol(count[0], 864.0 * 3389 * 61 / 1429737.0, 60);
    ck_assert_double_eq_tol(count[1], 864.0 * 149520 * 61 / 1429737.0, 400);
    mem_free(d);
}
END_TEST

START_TEST(duration)
{
    struct drawn *d = draw("generate:poisson,rate=100,duration=50", 1);

    ck_assert_double_lt(d->at_s[d->n - 1], 50);
    ck_assert_double_eq_tol((double)d->n, 5000, 5 * sqrt(5000));
    mem_free(d);
    d = draw("generate:poisson,rate=100,duration=50,n=7", 1);
    ck_assert_uint_eq(d->n, 7);
    mem_free(d);
    d = draw("generate:poisson", 1);
    ck_assert_uint_eq(d->n, 1000);
    mem_free(d);
}
END_TEST

/* ---- lengths ---- */

/* Mean of whole numbers, its tolerance, and bounds. */
static const struct {
    const char *text;
    double mean, tolerance, min, max;
} lengths[] = {
    {"fixed:77", 77, 0, 77, 77},
    {"fixed:0", 1, 0, 1, 1}, /* a prompt has a token */
    {"uniform:10:20", 15, 5 * 3.17 / 141, 10, 20},
    {"uniform:5:5", 5, 0, 5, 5},
    {"exponential:300", 300, 5 * 300 / 141.0, 1, 1e5},
    {"lognormal:600:1", 600, 5 * 600 * 1.32 / 141, 1, 1e6},
    {"lognormal:600:0", 600, 0, 600, 600},
    {"zipf:1:3", 3 / (1 + 1 / 2.0 + 1 / 3.0), 0.03, 1, 3},
    {"zipf:0:100", 50.5, 5 * 28.9 / 141, 1, 100},
};

START_TEST(length)
{
    char spec[128];
    struct drawn *d;
    struct moments m;

    snprintf(spec, sizeof(spec), "generate:poisson,n=" N_TEXT ",prompt=%s", lengths[_i].text);
    d = draw(spec, 1);
    m = moments(d->prompt, N);
    ck_assert_msg(fabs(m.mean - lengths[_i].mean) <= lengths[_i].tolerance + 1e-9, "%s: mean %g",
                  lengths[_i].text, m.mean);
    for (size_t i = 0; i < N; i++)
        ck_assert(d->prompt[i] >= lengths[_i].min && d->prompt[i] <= lengths[_i].max);
    mem_free(d);
}
END_TEST

/* uniform reaches both ends equally often. */
START_TEST(uniform_ends)
{
    struct drawn *d = draw("generate:poisson,n=" N_TEXT ",output=uniform:1:4", 1);
    double count[5] = {0};

    for (size_t i = 0; i < N; i++)
        count[(size_t)d->output[i]]++;
    for (size_t i = 1; i <= 4; i++)
        ck_assert_double_eq_tol(count[i], N / 4.0, 5 * sqrt(N * 3 / 16.0));
    mem_free(d);
}
END_TEST

START_TEST(empirical)
{
    static const char file[] = "num_prefill_tokens,x\n10,1\n10,1\n30,7\n";
    char spec[256];
    struct trace_world w;
    struct drawn *d;
    struct moments m;

    trace_world_init(&w);
    trace_world_gzip(&w, file, sizeof(file) - 1);
    snprintf(spec, sizeof(spec),
             "generate:poisson,n=" N_TEXT ",prompt=empirical:%s,output=empirical:%s:x", w.path,
             w.path);
    d = draw(spec, 1);
    m = moments(d->prompt, N);
    ck_assert_double_eq_tol(m.mean, 50 / 3.0, 0.35);
    m = moments(d->output, N);
    ck_assert_double_eq_tol(m.mean, 3, 0.11);
    for (size_t i = 0; i < N; i++)
        ck_assert((d->prompt[i] == 10 || d->prompt[i] == 30) &&
                  (d->output[i] == 1 || d->output[i] == 7));
    mem_free(d);
    trace_world_release(&w);
}
END_TEST

/* ---- streams ---- */

#define SAME(a, b, column) ck_assert_mem_eq((a)->column, (b)->column, sizeof((a)->column))
#define OTHER(a, b, column) ck_assert_mem_ne((a)->column, (b)->column, sizeof((a)->column))

/* What is changed changes, and nothing else does. */
START_TEST(streams)
{
    struct drawn *base = draw("generate:poisson,n=" N_TEXT ",tenants=3,prefix_groups=2", 7), *d;

    d = draw("generate:poisson,n=" N_TEXT ",tenants=3,prefix_groups=2", 7);
    ck_assert_mem_eq(base, d, sizeof(*d));
    mem_free(d);
    d = draw("generate:poisson,n=" N_TEXT ",tenants=3,prefix_groups=2,seed=7", 99);
    ck_assert_mem_eq(base, d, sizeof(*d));
    mem_free(d);

    d = draw("generate:poisson,n=" N_TEXT ",tenants=3,prefix_groups=2", 8);
    OTHER(base, d, at_s);
    OTHER(base, d, prompt);
    OTHER(base, d, output);
    OTHER(base, d, tenant);
    OTHER(base, d, stream);
    mem_free(d);
    d = draw("generate:gamma,n=" N_TEXT ",tenants=3,prefix_groups=2,prompt=zipf:1:50", 7);
    OTHER(base, d, at_s);
    OTHER(base, d, prompt);
    SAME(base, d, output);
    SAME(base, d, tenant);
    mem_free(d);
    d = draw("generate:poisson,n=" N_TEXT ",prefix_groups=2,output=fixed:9", 7);
    SAME(base, d, at_s);
    SAME(base, d, prompt);
    SAME(base, d, stream);
    OTHER(base, d, output);
    OTHER(base, d, tenant);
    mem_free(d);
    mem_free(base);
}
END_TEST

START_TEST(tenants_and_prefixes)
{
    struct drawn *d = draw("generate:poisson,n=" N_TEXT ",tenants=3,tenant_skew=2,prefix_groups=4,"
                           "prompt=uniform:1:600,prefix_tokens=100",
                           1);
    double count[3] = {0}, sum = 1 + 1 / 4.0 + 1 / 9.0;
    uint64_t stream[8] = {0};
    size_t n_streams = 0;

    for (size_t i = 0; i < N; i++) {
        size_t k = 0;

        count[d->tenant[i]]++;
        if (d->prompt[i] <= 1) { /* a prompt of one token has no room for a prefix */
            ck_assert_uint_eq(d->stream[i], 0);
            continue;
        }
        while (k < n_streams && stream[k] != d->stream[i])
            k++;
        if (k == n_streams) {
            ck_assert_uint_lt(n_streams, 4);
            stream[n_streams++] = d->stream[i];
        }
    }
    ck_assert_uint_eq(n_streams, 4);
    for (size_t i = 0; i < 3; i++) {
        double p = 1 / ((double)(i + 1) * (double)(i + 1)) / sum;

        ck_assert_double_eq_tol(count[i], N * p, 5 * sqrt(N * p * (1 - p)));
    }
    mem_free(d);
}
END_TEST

/* ---- sessions ---- */

/* Every turn follows the one before, which lies directly before it, and holds its history. */
START_TEST(turns_follow)
{
    struct drawn *d = draw("generate:multiturn,n=5000,turns=uniform:2:5,think=fixed:3,tenants=4,"
                           "max_context=4000",
                           1);
    size_t full = 0, cut = 0;

    ck_assert_uint_eq(d->n, 5000);
    for (size_t i = 0; i < d->n; i++) {
        ck_assert_double_le(d->prompt[i], 4000);
        if (d->turn[i] == 0) {
            ck_assert_uint_eq(d->after[i], TRACE_NO_PARENT);
            full += i > 0 && d->turn[i - 1] >= 1;
            cut += i > 0 && d->turn[i - 1] == 0;
            continue;
        }
        ck_assert_uint_eq(d->after[i], i - 1);
        ck_assert_uint_eq(d->turn[i], d->turn[i - 1] + 1);
        ck_assert_uint_lt(d->turn[i], 5);
        ck_assert_uint_eq(d->session[i], d->session[i - 1]);
        ck_assert_uint_eq(d->tenant[i], d->tenant[i - 1]);
        ck_assert_double_gt(d->prompt[i], d->prompt[i - 1] + d->output[i - 1]);
        ck_assert_double_eq(d->at_s[i], 3);
    }
    ck_assert_uint_gt(full, 500);
    ck_assert_uint_gt(cut, 0); /* the context ends some early */
    mem_free(d);
}
END_TEST

/* With times of their own, sessions interleave and stay what they are. */
START_TEST(turns_interleave)
{
    struct drawn *a = draw("generate:multiturn,duration=400,turns=fixed:3,think=fixed:5", 1);
    struct drawn *b =
        draw("generate:multiturn,duration=400,turns=fixed:3,think=fixed:5,after=false", 1);
    size_t switches = 0;

    ck_assert_uint_eq(a->n, b->n);
    ck_assert_uint_gt(a->n, 900);
    for (size_t i = 0, k; i < b->n; i++) {
        ck_assert_uint_eq(b->after[i], TRACE_NO_PARENT);
        switches += i > 0 && b->session[i] != b->session[i - 1];
        for (k = 0; k < a->n; k++)
            if (a->session[k] == b->session[i] && a->turn[k] == b->turn[i])
                break;
        ck_assert_uint_lt(k, a->n);
        ck_assert_double_eq(a->prompt[k], b->prompt[i]);
        ck_assert_double_eq(a->output[k], b->output[i]);
        ck_assert_double_eq_tol(b->at_s[i], a->at_s[k - a->turn[k]] + 5 * b->turn[i], 1e-6);
    }
    ck_assert_uint_gt(switches, a->n / 2);
    mem_free(a);
    mem_free(b);
}
END_TEST

/* A shared prefix lies before the session's own stream, and the output goes on in that. */
START_TEST(turns_share_a_prefix)
{
    struct trace_world w;
    char out[2048] = "";
    uint64_t n;

    trace_world_init(&w);
    ck_assert_int_eq(trace_world_read(&w,
                                      "generate:multiturn,n=3,prompt=fixed:50,output=fixed:7,"
                                      "turns=fixed:2,think=fixed:1,prefix_groups=1,"
                                      "prefix_tokens=20,rate=1e-6",
                                      NULL, out, sizeof(out), &n),
                     TRACE_END);
    char *at = strchr(out, '@');
    ck_assert_ptr_nonnull(at);
    ck_assert_ptr_nonnull(strstr(out, " p50 o7 session=s0 turn=0 [0:0+20 1:0+30] continues\n"
                                      "1 after 0+1 p107 o7 session=s0 turn=1 [0:0+20 1:0+87] "
                                      "continues\n2 @"));
    ck_assert_ptr_nonnull(strstr(at, " p50 o7 session=s1 turn=0 [0:0+20 2:0+30] continues\n"));
    trace_world_release(&w);
}
END_TEST

/* ---- clients ---- */

/* Every loop is one tenant's, whose next request follows the loop's last; each tenant's requests
 * share a prefix with the next few of its own and with nobody else's. */
static void check_clients(const char *spec, size_t loops, const size_t *of_tenant, size_t n_tenants,
                          size_t alike, size_t n_prefixes)
{
    struct drawn *d = draw(spec, 1);
    uint64_t prefix[3][N] = {{0}};
    size_t sent[3] = {0}, in_loops[3] = {0};

    ck_assert_uint_eq(d->n, N);
    for (size_t i = 0; i < d->n; i++) {
        uint32_t t = d->tenant[i];

        ck_assert_uint_lt(t, n_tenants);
        prefix[t][sent[t]++] = d->stream[i];
        if (i < loops) {
            ck_assert_uint_eq(d->after[i], TRACE_NO_PARENT);
            in_loops[t]++;
            continue;
        }
        ck_assert_uint_eq(d->after[i], i - loops);
        ck_assert_uint_eq(t, d->tenant[i - loops]);
        ck_assert_double_eq(d->at_s[i], 2);
    }
    for (size_t t = 0; t < n_tenants; t++) {
        ck_assert_uint_eq(in_loops[t], of_tenant[t]);
        for (size_t i = 0; i < sent[t]; i++) {
            size_t now = i / alike, before = i > 0 ? (i - 1) / alike : 0;
            bool comes_again = n_prefixes > 0 && now >= n_prefixes;

            if (now == before)
                ck_assert_uint_eq(prefix[t][i], prefix[t][0 + before * alike]);
            else if (comes_again)
                ck_assert_uint_eq(prefix[t][i], prefix[t][(now % n_prefixes) * alike]);
            else
                ck_assert_uint_ne(prefix[t][i], prefix[t][i - 1]);
        }
    }
    ck_assert_uint_ne(prefix[0][0], prefix[1][0]);
    mem_free(d);
}

START_TEST(clients)
{
#define CLIENTS "generate:clients,n=" N_TEXT ",prompt=fixed:300,think=fixed:2,prefix_tokens=200,"
    check_clients(CLIENTS "tenants=3,tenant_skew=0,inflight=4,alike=5", 12, (size_t[]){4, 4, 4}, 3,
                  5, 0);
    check_clients(CLIENTS "tenants=3,tenant_skew=1,inflight=22,alike=7,prefix_groups=2", 66,
                  (size_t[]){36, 18, 12}, 3, 7, 2);
    check_clients(CLIENTS "tenants=2,tenant_skew=0,inflight=1,alike=1,prefix_groups=1", 2,
                  (size_t[]){1, 1}, 2, 1, 1);
#undef CLIENTS
}
END_TEST

/* The order in which they come depends on the seed; with more loops than requests all are timed,
 * and a duration does not make it endless. */
START_TEST(clients_are_shuffled)
{
    struct drawn *a = draw("generate:clients,tenants=40,tenant_skew=0,inflight=30,duration=1e6", 1);
    struct drawn *b = draw("generate:clients,tenants=40,tenant_skew=0,inflight=30", 2);
    size_t equal = 0;

    ck_assert_uint_eq(a->n, 1000);
    ck_assert_uint_eq(b->n, 1000);
    for (size_t i = 0; i < a->n; i++) {
        ck_assert_uint_eq(a->after[i], TRACE_NO_PARENT);
        equal += a->tenant[i] == b->tenant[i];
    }
    ck_assert_uint_lt(equal, 100);
    mem_free(a);
    mem_free(b);
}
END_TEST

/* Near the table in ../shared/traces/README.md, whose characters are four to a token. */
static const struct {
    const char *agent;
    double calls, context, output, gap_s; /* means */
} agents[] = {
    {"miniswe", 20.1, 29639, 455, 1.21},
    {"magagent", 29.8, 7910, 2483, 9.56},
    {"taubench", 19.6, 663, 86, 0.37},
};

static void check_agent(const char *spec, size_t i, double tolerance)
{
    struct drawn *d = draw(spec, 1);
    double sessions = 0, gap = 0;

    for (size_t k = 0; k < d->n; k++) {
        sessions += d->turn[k] == 0;
        gap += d->turn[k] == 0 ? 0 : d->at_s[k];
    }
    ck_assert_uint_eq(d->n, N);
    ck_assert_double_eq_tol((double)d->n / sessions, agents[i].calls, tolerance * agents[i].calls);
    ck_assert_double_eq_tol(moments(d->prompt, N).mean, agents[i].context / 4,
                            tolerance * agents[i].context / 4);
    ck_assert_double_eq_tol(moments(d->output, N).mean, agents[i].output / 4,
                            tolerance * agents[i].output / 4);
    ck_assert_double_eq_tol(gap / (N - sessions), agents[i].gap_s, tolerance * agents[i].gap_s);
    mem_free(d);
}

START_TEST(agent_quantiles)
{
    char spec[128];

    snprintf(spec, sizeof(spec), "generate:agent,n=" N_TEXT ",max_context=100000,agent=%s",
             agents[_i].agent);
    check_agent(spec, (size_t)_i, 0.2);
}
END_TEST

START_TEST(agent_file)
{
    const char *shared = getenv("TANDEM_SHARED");
    char spec[4200];

    if (!shared) {
        printf("SKIP: TANDEM_SHARED is not set: recorded agent sessions were not checked\n");
        return;
    }
    snprintf(spec, sizeof(spec),
             "generate:agent,n=" N_TEXT ",max_context=100000,agent=%s,"
             "calls=%s/traces/lmcache-agent/agent_calls.csv.gz",
             agents[_i].agent, shared);
    check_agent(spec, (size_t)_i, 0.1);
}
END_TEST

START_TEST(agent_small_file)
{
    static const char file[] =
        "agent,session,call,input_chars,output_chars,full_context_chars,gap_to_next_s\n"
        "taubench,z,0,1,1,,1\nminiswe,a,0,400,40,800,2.5\nminiswe,a,1,500,0,1000,\n";
    char spec[256], out[1024] = "";
    struct trace_world w;
    uint64_t n;

    trace_world_init(&w);
    trace_world_file(&w, file, sizeof(file) - 1);
    snprintf(spec, sizeof(spec), "generate:agent,n=2,calls=%s", w.path);
    ck_assert_int_eq(trace_world_read(&w, spec, NULL, out, sizeof(out), &n), TRACE_END);
    ck_assert_ptr_nonnull(strstr(out, " p200 o10 session=s0 turn=0 [0:0+200] continues\n"
                                      "1 after 0+2.5 p250 o1 session=s0 turn=1 [0:0+250]"));
    snprintf(spec, sizeof(spec), "generate:agent,n=2,agent=magagent,calls=%s", w.path);
    ck_assert_int_eq(trace_world_read(&w, spec, NULL, NULL, 0, &n), TRACE_ERR);
    ck_assert_ptr_nonnull(strstr(w.err.text, "no call of the agent magagent"));
    trace_world_release(&w);
}
END_TEST

/* ---- what is refused ---- */

static const struct {
    const char *spec, *message;
} bad[] = {
    {"generate:", "generate:: unknown generator"},
    {"generate:poison,n=5", "generate:poison: unknown generator; did you mean poisson?"},
    {"generate:poisson,nn=5", "unknown key \"nn\"; did you mean n?"},
    {"generate:poisson,promt=fixed:1", "unknown key \"promt\"; did you mean prompt?"},
    {"generate:poisson,cv=2", "unknown key \"cv\""}, /* of others */
    {"generate:agent,prompt=fixed:1", "unknown key \"prompt\""},
    {"generate:poisson,n", "\"n\" is not key=value"},
    {"generate:poisson,", "\"\" is not key=value"},
    {"generate:poisson,=5", "is not key=value"},
    {"generate:poisson,n=", "is not key=value"},
    {"generate:poisson,n=5,n=6", "n is given twice"},
    {"generate:poisson,n=1.5", "n=1.5 is not a whole number"},
    {"generate:poisson,n=x", "n=x is not a whole number"},
    {"generate:poisson,n=0", "n=0 is out of range; give 1 to"},
    {"generate:poisson,rate=-1", "rate=-1 is out of range"},
    {"generate:poisson,rate=nan", "rate=nan is not a number"},
    {"generate:poisson,rate=1e400", "rate=1e400 is not a number"},
    {"generate:poisson,rate=0x10", "rate=0x10 is not a number"},
    {"generate:poisson,seed=-1", "seed=-1 is out of range"},
    {"generate:gamma,cv=2,shape=1", "cv and shape say the same"},
    {"generate:clients,inflight=0", "inflight=0 is out of range"},
    {"generate:clients,think=x", "generate:clients: think: unknown distribution"},
    {"generate:poisson,alike=3", "unknown key \"alike\""},
    {"generate:burstgpt,hours=yes", "hours=yes is neither true nor false"},
    {"generate:agent,agent=me", "agent=me is not one of miniswe|magagent|taubench"},
    {"generate:agent,calls=/nowhere.csv", "/nowhere.csv: cannot be opened"},
    {"generate:poisson,prompt=600", "unknown distribution \"600\""},
    {"generate:poisson,prompt=lognorm:5:1", "did you mean lognormal?"},
    {"generate:poisson,prompt=lognormal:5", "a number is missing; write lognormal:MEAN:SIGMA"},
    {"generate:poisson,prompt=lognormal:5:x", "\"x\" does not belong there"},
    {"generate:poisson,prompt=lognormal:5:1:2", "\"2\" does not belong there"},
    {"generate:poisson,prompt=lognormal:0:1", "MEAN must be above 0"},
    {"generate:poisson,prompt=fixed:-5", "0 to 1e9 is allowed"},
    {"generate:poisson,prompt=uniform:9:8", "LO may not be above HI"},
    {"generate:poisson,prompt=zipf:1:1.5", "MAX a whole number"},
    {"generate:poisson,prompt=empirical", "there is no file"},
    {"generate:poisson,output=empirical:/nowhere.csv", "/nowhere.csv: cannot be opened"},
    {"generate:multiturn,turns=fixed", "generate:multiturn: turns: fixed: a number is missing"},
};

START_TEST(refused)
{
    struct trace_world w;
    uint64_t n;

    trace_world_init(&w);
    ck_assert_int_eq(trace_world_read(&w, bad[_i].spec, NULL, NULL, 0, &n), TRACE_ERR);
    ck_assert_msg(strstr(w.err.text, bad[_i].message) != NULL, "%s: %s", bad[_i].spec, w.err.text);
    ck_assert_ptr_null(strchr(w.err.text, '\n'));
    trace_world_release(&w);
}
END_TEST

START_TEST(no_format_of_a_spec)
{
    struct trace_world w;
    uint64_t n;

    trace_world_init(&w);
    ck_assert_int_eq(trace_world_read(&w, "generate:poisson", "csv", NULL, 0, &n), TRACE_ERR);
    ck_assert_ptr_nonnull(strstr(w.err.text, "has no format"));
    trace_world_release(&w);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("generators");
    TCase *t = tcase_create("all");
    SRunner *r;
    int failed;

    tcase_add_loop_test(t, gaps, 0, (int)ARRAY_LEN(processes));
    tcase_add_test(t, weibull_shapes);
    tcase_add_test(t, bursts);
    tcase_add_test(t, hours);
    tcase_add_test(t, duration);
    tcase_add_loop_test(t, length, 0, (int)ARRAY_LEN(lengths));
    tcase_add_test(t, uniform_ends);
    tcase_add_test(t, empirical);
    tcase_add_test(t, streams);
    tcase_add_test(t, tenants_and_prefixes);
    tcase_add_test(t, turns_follow);
    tcase_add_test(t, turns_interleave);
    tcase_add_test(t, turns_share_a_prefix);
    tcase_add_test(t, clients);
    tcase_add_test(t, clients_are_shuffled);
    tcase_add_loop_test(t, agent_quantiles, 0, (int)ARRAY_LEN(agents));
    tcase_add_loop_test(t, agent_file, 0, (int)ARRAY_LEN(agents));
    tcase_add_test(t, agent_small_file);
    tcase_add_loop_test(t, refused, 0, (int)ARRAY_LEN(bad));
    tcase_add_test(t, no_format_of_a_spec);
    suite_add_tcase(s, t);
    r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
