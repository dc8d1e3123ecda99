#include "experiments/tee.h"

#include <math.h>

void tee_init(struct tee *t, struct sink to)
{
    *t = (struct tee){.to = to, .summary = json_object(), .refused = json_object()};
}

void tee_release(struct tee *t)
{
    json_decref(t->summary);
    json_decref(t->refused);
    *t = (struct tee){0};
}

/* Hands on a call that can fail: true where the other sink does not want it. */
#define FORWARD(callback, ...)                                                                     \
    (t->to.ops->callback ? t->to.ops->callback(t->to.self, __VA_ARGS__) : true)

static bool begin(void *self, struct err *e)
{
    struct tee *t = self;
    return FORWARD(begin, e);
}

static void cost_model(void *self, const char *text)
{
    struct tee *t = self;
    if (t->to.ops->cost_model)
        t->to.ops->cost_model(t->to.self, text);
}

static bool request(void *self, const struct request_row *row, struct err *e)
{
    struct tee *t = self;
    if (t->replayed)
        recording_compare(t->replayed, row);
    if (t->on_request)
        t->on_request(t->on_request_self, row);
    if (row->status == STATUS_REFUSED) {
        json_int_t n = json_integer_value(json_object_get(t->refused, row->reason));
        json_object_set_new(t->refused, row->reason, json_integer(n + 1));
    }
    return FORWARD(request, row, e);
}

static bool step(void *self, const struct step_row *row, struct err *e)
{
    struct tee *t = self;
    return FORWARD(step, row, e);
}

static bool transfer(void *self, const struct transfer_row *row, struct err *e)
{
    struct tee *t = self;
    return FORWARD(transfer, row, e);
}

static bool tenant(void *self, const struct tenant_row *row, struct err *e)
{
    struct tee *t = self;
    return FORWARD(tenant, row, e);
}

static bool summary(void *self, const char *metric, double value, struct err *e)
{
    struct tee *t = self;
    json_object_set_new(t->summary, metric, isnan(value) ? json_null() : json_real(value));
    return FORWARD(summary, metric, value, e);
}

static bool timeline(void *self, ns_t at, const char *series, double value, struct err *e)
{
    struct tee *t = self;
    return FORWARD(timeline, at, series, value, e);
}

static bool histogram(void *self, const char *metric, const struct quantile_bucket *b,
                      struct err *e)
{
    struct tee *t = self;
    return FORWARD(histogram, metric, b, e);
}

static void decision(void *self, enum decision what, uint64_t seq, ns_t at, uint64_t number,
                     uint64_t digest_so_far)
{
    struct tee *t = self;
    if (t->to.ops->decision)
        t->to.ops->decision(t->to.self, what, seq, at, number, digest_so_far);
}

static bool end(void *self, bool ok, uint64_t digest, struct err *e)
{
    struct tee *t = self;
    bool same = !ok || !t->replayed || recording_check(t->replayed, digest, e);
    return FORWARD(end, ok && same, digest, e) && same;
}

struct sink tee_sink(struct tee *t)
{
    static const struct sink_ops ops = {
        .begin = begin,
        .cost_model = cost_model,
        .request = request,
        .step = step,
        .transfer = transfer,
        .tenant = tenant,
        .summary = summary,
        .timeline = timeline,
        .histogram = histogram,
        .decision = decision,
        .end = end,
    };
    return (struct sink){&ops, t};
}
