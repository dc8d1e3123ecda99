#!/usr/bin/env bash
# Usage: bsc.sh [BUILD] (default: build): calibrates on half of the BSC H100 runs and simulates all
# of them. Needs ../shared/profiles/bsc-h100-vllm, or $TANDEM_SHARED. Writes, beside this script,
#   bsc_fitted.json   the fit
#   bsc.md            how far off it is, step by step and in what the client saw
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$(cd "${1:-$root/build}" && pwd)
data=${TANDEM_SHARED:-$root/../shared}/profiles/bsc-h100-vllm
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$here"

# ---- calibration ----

"$build/bsc-steps" "$data" >"$work/bsc_steps.csv"
"$build/bsc-steps" "$data" runs >"$work/match.csv"
"$build/tandem" calibrate "$work/bsc_steps.csv" --out bsc_fitted.json --gpu h100-bsc-64g \
    >"$work/calibrate.txt"
"$build/bsc-steps" "$data" bsc_fitted.json >"$work/errors.csv"

# The client opens its connections before it sends the first prompt, and counts that as latency:
# seconds a prompt, of the runs that are fitted.
delay=$(awk -F, 'NR > 1 && !$2 { s += $8; n += $4 } END { printf "%.9f", s / n }' \
    "$work/match.csv")

# ---- simulation ----

# Two runs' logs lack the KV capacity: that of other runs with the same max_num_seqs.
awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
    { k = $at["kv_cache_tokens"]; s = $at["max_num_seqs"]; if (k) kv[s] = k; line[++n] = $0 }
    END { for (j = 1; j <= n; j++) {
        split(line[j], f, ",")
        print f[at["run"]], f[at["max_num_seqs"]], f[at["num_prompts"]], kv[f[at["max_num_seqs"]]],
              int(f[at["total_input_tokens"]] / f[at["num_prompts"]] + 0.5),
              int(f[at["total_output_tokens"]] / f[at["num_prompts"]] + 0.5) } }' \
    "$data/calib_runs.csv" >"$work/runs.txt"

# Prompts reach the engine at about 3,000 a second: 2,000 to 4,000 in the runs that are fitted. It
# matters to the first ten steps or so.
simulate() { # RUN SEQS PROMPTS KV INPUT OUTPUT
    awk -v n="$3" -v input="$5" -v output="$6" 'BEGIN {
        print "arrival_s,prompt_tokens,output_tokens"
        for (i = 0; i < n; i++) printf "%.9f,%d,%d\n", i / 3000, input, output }' \
        >"$work/trace_$1.csv"
    "$build/tandem" run --quiet --db "$work/runs.db" --trace "$work/trace_$1.csv" \
        --model llama-3.1-8b --gpu bsc_gpu.json --profile bsc_fitted.json \
        --set engine=vllm-0.8 --set max_num_seqs="$2" --set max_num_batched_tokens=2048 \
        --set num_gpu_blocks=$(($4 / 16)) --set enable_prefix_caching=false \
        --set scheduler_reserve_full_isl=false --set exact_quantiles=10000000
}
while read -r run seqs prompts kv input output; do
    simulate "$run" "$seqs" "$prompts" "$kv" "$input" "$output"
done <"$work/runs.txt"

# ---- the tables ----

# A request's clock starts when the client comes to it: `clock` seconds a request, so that one-token
# runs that are fitted have the TTFT they had.
sqlite3 "$work/runs.db" >"$work/table.txt" <<SQL
.mode csv
.import '$data/calib_runs.csv' measured
.import '$work/match.csv' matched
CREATE VIEW simulated AS
SELECT CAST(substr(trace, instr(trace, 'trace_') + 6) AS INTEGER) AS run,
    (SELECT value FROM summary WHERE run_id = id AND metric = 'tpot_ms_mean') AS tpot_ms,
    (SELECT value FROM summary WHERE run_id = id AND metric = 'preemptions') AS preemptions,
    (SELECT avg(first_token_ns) / 1e9 + $delay * count(*) FROM requests WHERE run_id = id)
        AS first_token_s,
    (SELECT max(done_ns) / 1e9 + $delay * count(*) FROM requests WHERE run_id = id) AS duration_s
FROM runs;
CREATE TABLE both AS
SELECT CAST(m.run AS INTEGER) AS run, CAST(m.num_prompts AS REAL) AS n, m.kind AS kind,
    CASE t.held_out WHEN '0' THEN 'fitted' WHEN '1' THEN 'left out' ELSE 'no steps' END AS part,
    m.max_num_seqs AS seqs, m.total_input_tokens / m.num_prompts AS input,
    round(1.0 * m.total_output_tokens / m.num_prompts) AS output, s.preemptions AS preemptions,
    CAST(m.mean_ttft_ms AS REAL) AS ttft, 1e3 * s.first_token_s AS sim_ttft,
    nullif(CAST(m.mean_tpot_ms AS REAL), 0) AS tpot, s.tpot_ms AS sim_tpot,
    CAST(m.request_throughput AS REAL) AS rps, m.num_prompts / s.duration_s AS sim_rps
FROM measured m JOIN simulated s ON s.run = CAST(m.run AS INTEGER)
    LEFT JOIN matched t ON t.run = m.run;
CREATE TABLE client AS
SELECT avg(2 * (sim_ttft - ttft) / (n - 1)) AS clock_ms FROM both
WHERE part = 'fitted' AND kind = 'input';
UPDATE both SET sim_ttft = sim_ttft - (n - 1) / 2 * (SELECT clock_ms FROM client);
.mode list
SELECT printf('| %d | %s | %s | %d | %d | %.0f | %.0f | %+.1f | %s | %.1f | %.1f | %+.1f | %d |', run,
    part, seqs, input, output, ttft, sim_ttft, 100 * (sim_ttft / ttft - 1),
    CASE WHEN tpot IS NULL THEN '| |'
         ELSE printf('%.2f | %.2f | %+.1f', tpot, sim_tpot, 100 * (sim_tpot / tpot - 1)) END,
    rps, sim_rps, 100 * (sim_rps / rps - 1), preemptions)
FROM both ORDER BY run;
SELECT '';
SELECT printf('Client: %.3f ms a prompt before the first step, a request''s clock %.3f ms after another''s.',
    1e3 * $delay, clock_ms) FROM client;
SELECT '';
SELECT printf('Mean absolute error of %d runs %s: TTFT %.1f %%, TPOT %.1f %%, requests/s %.1f %%.  ',
    count(*), part, 100 * avg(abs(sim_ttft / ttft - 1)), 100 * avg(abs(sim_tpot / tpot - 1)),
    100 * avg(abs(sim_rps / rps - 1))) FROM both GROUP BY part;
SQL

{
    cat <<'TEXT'
# vLLM 0.8.5 on BSC's H100: simulated against measured

Written by `experiments/truth/bsc.sh`. 33 runs of Llama-3.1-8B (`../shared/profiles/bsc-h100-vllm`):
all prompts sent at once, prompts and outputs of a run all of one length, no prefix caching. The log
has when each engine step began and the scheduler's CPU time in it, not what was in its batch: that
comes from simulating the run, each step lasting what it lasted (`experiments/truth/bsc.h`).

The coefficients (`bsc_fitted.json`, backend `fitted`) and the host time of engine `vllm-0.8` are
fitted to the runs with `max_num_seqs` 50, 200, 600 and 1000; those with 100, 400 and 800 are left
out. The form they are the coefficients of (`backend/calibrate.c`) was chosen among three, differing
in the breakpoints of tokens, with both parts in view; each of them held 5 % with either part left
out, but for run 32. Runs 14 and 26 have no whole log ("no steps"): simulated with the KV capacity of
other runs with their `max_num_seqs`, and never fitted.

What stays apart:

- Run 32 is slower than runs 30 and 31 at equal batches: 800 decodes of about 15 tokens of context
  take 39.0 ms in it, 35.2 ms in run 30 and 35.1 ms in run 31. Nothing in the batch tells why, so no
  cost model of batches is right for all three; its 8 to 10 % are between machines or their clocks.
- Mixed steps (prompts of 5 tokens beside decodes) are the few in which a wave of requests gives way
  to the next. How many prompts each holds is inferred, from the scheduler's CPU time when the first
  wave came in: their errors are mostly those of that inference, and cancel within a wave (bias).
- In the larger runs the engine halts for 0.3 to 0.4 s now and then, as when Python collects garbage
  (three times in the 36 s of run 12). Not modelled: simulated runs are up to 3 % faster for it.
- What the client does before its first prompt is sent, and when it starts each request's clock, are
  two constants taken from the runs that are fitted; without them TTFT would be 3 to 7 s short.
TEXT
    echo
    echo '## Batches'
    echo
    awk -F, 'NR > 1 { n++; if ($6 == $7) same++; else off = off sprintf(" Run %s: %d logged, %d simulated.", $1, $6, $7) }
        END { printf "Of %d runs, simulation and log have the same number of steps in %d.%s\n", n, same, off }' \
        "$work/match.csv"
    cat <<'TEXT'
Nothing is adjusted to the number in the 12 runs of one-token outputs (0 to 11). In the others, the
900 to 16,402 steps come in waves of `max_num_seqs` requests; how far into the first wave a request
came in, 0 to 10 steps, is in part known from that number, so it agrees there up to those few steps
by construction. The constants of that inference move mixed steps only and were set with all runs in
view.
TEXT
    echo
    echo '## Steps of the calibration'
    echo
    echo '```'
    cat "$work/calibrate.txt"
    echo '```'
    echo
    echo "Step times against the log, run by run; the engine's host time is modelled, too. Mean"
    echo 'absolute error (bias), %:'
    echo
    echo '| run | | max_num_seqs | prompt | output | decode steps | prefill steps | mixed steps | all |'
    echo '|---|---|---|---|---|---|---|---|---|'
    awk -F, 'function cell(n, mean, bias) {
            return n ? sprintf("%s (%+.1f) of %d", mean, bias, n) : "" }
        NR > 1 { printf "| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", $1,
            $2 ? "left out" : "fitted", $3, $4, $5, cell($6, $7, $9), cell($10, $11, $13),
            cell($14, $15, $17), cell($18, $19, $21) }' "$work/errors.csv"
    echo
    echo '## What the client saw'
    echo
    echo '| run | | max_num_seqs | prompt | output | TTFT ms | simulated | % | TPOT ms | simulated | % | requests/s | simulated | % | preemptions |'
    echo '|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|'
    cat "$work/table.txt"
} >"$here/bsc.md"
