/* azure.c: Azure LLM inference traces, 2023 and 2024 (github.com/Azure/AzurePublicDataset).
 *
 * TIMESTAMP,ContextTokens,GeneratedTokens. The stamps are wall clock, "2023-11-16 18:17:03.9799600"
 * in 2023 and with a zone ("+00:00") in 2024; time 0 is the first record. Nothing is said about
 * clients, sessions or shared prefixes. */
#include "traces/record.h"
#include "traces/rows.h"

static const char *const columns[] = {"TIMESTAMP", "ContextTokens", "GeneratedTokens"};
enum { STAMP, PROMPT, OUTPUT };

#define CLOCK_END_S (NS_NEVER / NS_PER_S - 1)

struct azure {
    struct rows rows;
    struct recorder rec;
    bool started;
    int64_t first_s; /* the first record's stamp: seconds since the year 1, and ns */
    ns_t first_ns;
};

static int detect(const char *head)
{
    return rows_detect(head, columns, ARRAY_LEN(columns));
}

static void close_azure(void *self)
{
    struct azure *a = self;

    rows_close(&a->rows);
    recorder_release(&a->rec);
    mem_free(a);
}

static void *open_azure(const char *path, const struct trace_env *env, struct trace_traits *traits,
                        struct err *e)
{
    struct azure *a = mem_alloc(sizeof(*a));

    (void)env;
    if (!rows_open(&a->rows, path, columns, ARRAY_LEN(columns), ARRAY_LEN(columns), e)) {
        mem_free(a);
        return NULL;
    }
    recorder_init(&a->rec, "azure", 0);
    *traits = (struct trace_traits){.wall_clock = true};
    return a;
}

/* Exactly `n` digits, then `end` (0: anything). Moves *p past them; false leaves it anywhere. */
static bool number(const char **p, unsigned n, char end, int64_t min, int64_t max, int64_t *out)
{
    *out = 0;
    for (; n > 0; n--, (*p)++) {
        if (**p < '0' || **p > '9')
            return false;
        *out = *out * 10 + (**p - '0');
    }
    if (end != '\0' && *(*p)++ != end)
        return false;
    return *out >= min && *out <= max;
}

static bool leap_year(int64_t y)
{
    return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
}

/* Days from 1 January of the year 1; false if there is no such day (Gregorian calendar). */
static bool day_number(int64_t year, int64_t month, int64_t day, int64_t *out)
{
    static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};
    bool leap = leap_year(year);
    int64_t y = year - 1, length = before[month] - before[month - 1] + (leap && month == 2);

    *out = 365 * y + y / 4 - y / 100 + y / 400 + before[month - 1] + (leap && month > 2) + day - 1;
    return day <= length;
}

/* "Z", "+HH:MM", "-HH:MM" or nothing, up to the end of the token. */
static bool zone(const char *p, int64_t *offset_s)
{
    int64_t sign = *p == '-' ? -1 : 1, h, m;

    *offset_s = 0;
    if (*p == '\0' || (*p == 'Z' && p[1] == '\0'))
        return true;
    if (*p != '+' && *p != '-')
        return false;
    p++;
    if (!number(&p, 2, ':', 0, 14, &h) || !number(&p, 2, '\0', 0, 59, &m) || *p)
        return false;
    *offset_s = sign * (h * 3600 + m * 60);
    return true;
}

/* "YYYY-MM-DD HH:MM:SS[.fraction][zone]", up to 9 digits of fraction. */
static bool stamp(const char *p, int64_t *s, ns_t *ns)
{
    int64_t year, month, day, hour, minute, second, days, offset_s, unit = NS_PER_S / 10;

    if (!number(&p, 4, '-', 1, 9999, &year) || !number(&p, 2, '-', 1, 12, &month) ||
        !number(&p, 2, '\0', 1, 31, &day) || (*p != ' ' && *p != 'T'))
        return false;
    p++;
    if (!number(&p, 2, ':', 0, 23, &hour) || !number(&p, 2, ':', 0, 59, &minute) ||
        !number(&p, 2, '\0', 0, 59, &second) || !day_number(year, month, day, &days))
        return false;
    *ns = 0;
    if (*p == '.') {
        for (p++; *p >= '0' && *p <= '9' && unit > 0; p++, unit /= 10)
            *ns += (*p - '0') * unit;
    }
    if (!zone(p, &offset_s))
        return false;
    *s = ((days * 24 + hour) * 60 + minute) * 60 + second - offset_s;
    return true;
}

static bool arrival(struct azure *a, struct trace_rec *rec, struct err *e)
{
    const struct text *t = &a->rows.text;
    const char *token = rows_cell(&a->rows, STAMP);
    int64_t s;
    ns_t ns, at;

    if (!stamp(token, &s, &ns))
        return text_fail(t, e, "column TIMESTAMP: %s is not a time; write YYYY-MM-DD HH:MM:SS.fff",
                         text_quote(token).s);
    if (!a->started) {
        a->started = true;
        a->first_s = s;
        a->first_ns = ns;
    }
    s -= a->first_s;
    if (s >= CLOCK_END_S)
        return text_fail(t, e, "column TIMESTAMP: %s is 292 years after the first; correct it",
                         text_quote(token).s);
    at = MAX(s, -CLOCK_END_S) * NS_PER_S + ns - a->first_ns;
    return record_arrival(&a->rec, t, columns[STAMP], at, rec, e);
}

static enum trace_status next(void *self, struct trace_rec *rec, struct err *e)
{
    struct azure *a = self;
    const struct text *t = &a->rows.text;
    enum trace_status st = rows_next(&a->rows, e);

    if (st != TRACE_REC)
        return st;
    record_begin(&a->rec, t, rec);
    if (arrival(a, rec, e) &&
        field_u32(t, columns[PROMPT], rows_cell(&a->rows, PROMPT), 1, TOKENS_MAX,
                  &rec->prompt_tokens, e) &&
        field_u32(t, columns[OUTPUT], rows_cell(&a->rows, OUTPUT), 1, TOKENS_MAX,
                  &rec->output_tokens, e))
        return TRACE_REC;
    return TRACE_ERR;
}

const struct trace_ops trace_azure = {
    .name = "azure",
    .doc = "Azure LLM inference traces 2023 and 2024: TIMESTAMP,ContextTokens,GeneratedTokens",
    .source = "github.com/Azure/AzurePublicDataset, CC-BY-4.0 (Splitwise, ISCA 2024; DynamoLLM, "
              "HPCA 2025)",
    .detect = detect,
    .open = open_azure,
    .next = next,
    .close = close_azure,
};
