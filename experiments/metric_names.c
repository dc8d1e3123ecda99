#include "experiments/metric_names.h"

#include <stdio.h>

static const char *const points[] = {"mean", "p50", "p90", "p95", "p99", "max"};

/* Over finished requests of the window. */
static const struct {
    const char *name, *unit, *doc;
} distributions[] = {
    {"ttft_ms", "ms", "first token - arrival"},
    {"tpot_ms", "ms", "(last token - first) / (output tokens - 1), two tokens or more"},
    {"itl_ms", "ms", "gap between tokens, all gaps of all requests pooled"},
    {"e2el_ms", "ms", "last token - arrival"},
    {"queue_ms", "ms", "first admission - arrival"},
    {"norm_latency_ms", "ms per token", "(last token - arrival) / output tokens"},
};

static const struct metric_name plain[] = {
    {"duration_s", "s", "length of the window"},
    {"requests", "requests", "arrived in the window"},
    {"finished", "requests", "with all their tokens"},
    {"refused", "requests", "at arrival or later, with a reason"},
    {"unfinished", "requests", "still there when the run stopped"},
    {"failed_in_trace", "requests", "failed when recorded; counted, not replayed"},
    {"preemptions", "times", "a running request lost its place"},
    {"recomputed_tokens", "tokens", "computed again after a preemption"},
    {"swapped_bytes", "bytes", "to the host and back"},
    {"packed_bytes", "bytes", "of those, copies of fewer bits: lossy; absent: none"},
    {"request_throughput_rps", "1/s", "finished / duration"},
    {"output_throughput_tps", "1/s", "output tokens / duration"},
    {"total_throughput_tps", "1/s", "(prompt tokens admitted + output tokens) / duration"},
    {"slo_attainment", "share", "requests that meet every limit of their class"},
    {"slo_attainment_ttft", "share", "requests that meet their TTFT limit"},
    {"slo_attainment_tpot", "share", "requests that meet their TPOT limit"},
    {"goodput_rps", "1/s", "requests that meet every limit / duration"},
    {"cache_hit_rate", "share", "cached prompt tokens / prompt tokens, at first admission"},
    {"kv_utilisation_mean", "share", "KV capacity held by requests, over time"},
    {"batch_size_mean", "requests", "in a step, over the time of steps"},
    {"idle_fraction", "share", "replica time without a step"},
    {"service_diff_max", "service", "largest difference of two tenants while both are backlogged"},
    {"service_diff_tenants", "tenants", "service_diff_max covers only so many; absent: all"},
    {"service_diff_all", "service", "most and least served tenant at the end"},
    {"jain_index", "1/n to 1", "of service per tenant while all tenants send; 1 = equal"},
    {"extend_diff_max", "service",
     "service_diff_max, where of prompts only what was not cached counts"},
    {"extend_jain_index", "1/n to 1",
     "jain_index, where of prompts only what was not cached counts"},
    {"jain_window_all", "0 or 1",
     "1: there is no such time; Jain's indices are over the whole run"},
    {"quantiles_exact", "0 or 1", "0: some percentiles are of a histogram (error below 0.05 %)"},
    {"cost_model_error", "share", "calibration error of what gave the step times"},
    {"extrapolated_share", "share", "steps outside the calibrated range"},
    {"predictor_mape", "share", "mean |predicted - true| / true output length, as of arrival"},
    {"predictor_bucket_accuracy", "share", "predictions in the right length class (they double)"},
    {"predictor_coverage", "share", "finished requests of which the predictor knew something"},
    {"request_rows_dropped", "requests", "have no row (max_request_rows); absent: none"},
};

bool metric_name_at(size_t i, struct metric_name *out)
{
    size_t n = ARRAY_LEN(distributions) * ARRAY_LEN(points);
    if (i >= n + ARRAY_LEN(plain))
        return false;
    if (i >= n) {
        *out = plain[i - n];
        return true;
    }
    size_t d = i / ARRAY_LEN(points);
    out->unit = distributions[d].unit;
    out->doc = distributions[d].doc;
    snprintf(out->name, sizeof out->name, "%s_%s", distributions[d].name,
             points[i % ARRAY_LEN(points)]);
    return true;
}
