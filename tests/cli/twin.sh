#!/bin/bash
# twin.sh TANDEM [--print]: our engine and its simulation, without the GPU that both were measured
# on: calibrates on the profile in tests/data/twin/h200 alone, simulates each run that was measured
# there, and fails where a latency's error (percent) or that of SLO attainment (points) is more than
# a point larger than tests/data/twin/expected says. --print: prints that file as it is now instead.
# Run from the source root; needs the sqlite3 shell.
set -u
tandem=$(realpath "$1")
print=${2:-}
if ! command -v sqlite3 >/dev/null; then
    echo 'SKIP: no sqlite3 shell; apt-get install sqlite3'
    exit 77
fi
data=tests/data/twin
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

give_up() {
    echo "FAIL: $1"
    tail -n 5 "$dir/err"
    exit 1
}
# of DB KEY: a key of the run's configuration.
of() { sqlite3 "$1" "SELECT json_extract(config, '\$.\"$2\"') FROM runs"; }

# attainment DB TTFT_MS TPOT_MS: percent of the requests within both.
attainment() {
    sqlite3 "$1" "SELECT 100.0 * avg(status = 'finished' AND first_token_ns - arrived_ns <= $2 * 1e6
        AND (output_tokens = 1 OR (done_ns - first_token_ns) <= $3 * 1e6 * (output_tokens - 1)))
        FROM requests"
}

# errors FIT: a line "run metric error measured" for each figure of each run.
errors() {
    local file run ttft tpot
    for file in "$data"/*.db.gz; do
        run=$(basename "$file" .db.gz)
        rm -f "$dir/measured.db" "$dir/simulated.db"
        gzip -dc "$file" >"$dir/measured.db"
        "$tandem" validate "$dir/measured.db" --backend fitted --profile "$1" --json --quiet \
            --trace "$(of "$dir/measured.db" trace)" --db "$dir/simulated.db" \
            --set trace.limit="$(of "$dir/measured.db" trace.limit)" \
            --set trace.rate_scale="$(of "$dir/measured.db" trace.rate_scale)" \
            >"$dir/json" 2>"$dir/err" || give_up "validate $file"
        sqlite3 -separator ' ' :memory: "SELECT '$run', metric, printf('%+.2f %.2f', error_percent,
            measured) FROM (SELECT json_extract(value, '\$.metric') metric, json_extract(value,
            '\$.error_percent') error_percent, json_extract(value, '\$.measured') measured
            FROM json_each(readfile('$dir/json'), '\$.all.cells')) WHERE metric NOT LIKE '%p95' AND error_percent IS NOT NULL"
        read -r ttft tpot < <(awk -v r="${run%-*}" '$1 == r { print $5, $6 }' "$data/slices")
        awk -v r="$run" -v m="$(attainment "$dir/measured.db" "$ttft" "$tpot")" \
            -v s="$(attainment "$dir/simulated.db" "$ttft" "$tpot")" \
            'BEGIN { if (m != "" && s != "") printf "%s slo_attainment %+.2f %.2f\n", r, s - m, m }'
    done
}

# grown ERRORS: what is worse than expected by more than a point, or was not expected at all.
grown() {
    awk 'function abs(x) { return x < 0 ? -x : x }
        /^#/ { next }
        NR == FNR { old[$1, $2] = $3; n++; next }
        !(($1, $2) in old) { print $1, $2 ": not expected"; next }
        { seen++ }
        abs($3) > abs(old[$1, $2]) + 1 { print $1, $2 ": error", $3 ", was", old[$1, $2] }
        END { if (seen != n) print n - seen, "figures are missing" }' "$data/expected" "$1"
}

"$tandem" calibrate "$data/h200" --out "$dir/fit.json" >"$dir/err" 2>&1 || give_up calibrate
errors "$dir/fit.json" >"$dir/errors"
if [[ $print ]]; then
    echo '# Errors of the simulation (tests/cli/twin.sh TANDEM --print): percent of the measured'
    echo '# value (ms), of slo_attainment points. run metric error measured'
    cat "$dir/errors"
    exit 0
fi
worse=$(grown "$dir/errors")
if [[ $worse ]]; then
    echo "$worse"
    echo 'FAIL: the simulation has moved away from what was measured'
    exit 1
fi
# Negative control: an engine that is 5 % slower is noticed.
awk '/"of": "step"/ { sub(/"ns": [0-9.]+/, "\"ns\": 4900000") } { print }' "$dir/fit.json" >"$dir/slow.json"
cmp -s "$dir/fit.json" "$dir/slow.json" && give_up 'the slower engine is not slower'
errors "$dir/slow.json" >"$dir/slow"
[[ $(grown "$dir/slow" | wc -l) -gt 20 ]] || give_up 'a slower engine passes'

# ---- a profile of this machine's CPU ----

cat >"$dir/tiny.json" <<'JSON'
{"id": "tiny", "doc": "for tests", "source": "made up", "layers": 2, "hidden": 32, "heads": 4,
 "kv_heads": 2, "head_dim": 8, "intermediate": 64, "vocab": 100, "max_model_len": 256,
 "tied_embeddings": true, "weight_bytes_per_param": 2, "kv_bytes_per_elem": 2,
 "rms_norm_eps": 1e-5, "rope_theta": 10000}
JSON
profile() {
    "$tandem" profile --backend cpu --model "$dir/tiny.json" --set max_num_seqs=8 --quiet \
        --set max_num_batched_tokens=64 --set num_gpu_blocks=100 --set cpu.threads=1 "$@" \
        >"$dir/out" 2>"$dir/err"
}
# bad TEXT COMMAND...: exit code 2 and one line with TEXT.
bad() {
    local text=$1
    shift
    "$@" >"$dir/out" 2>"$dir/err"
    [[ $? == 2 && $(wc -l <"$dir/err") == 1 ]] || give_up "not refused in a line: $*"
    grep -qF -- "$text" "$dir/err" || give_up "no \"$text\" from $*"
}
profile --out "$dir/cpu" --batches 20 --note 'a test' || give_up 'profile on the CPU'
for part in fill decode prefill 'several prompts' 'any mixed'; do
    grep -q ",$part," "$dir/cpu/steps.csv" || give_up "no $part in steps.csv"
done
[[ $(sqlite3 :memory: "SELECT json_array_length(readfile('$dir/cpu/profile.json'), '\$.swaps')") -ge 4 ]] ||
    give_up 'no swaps in profile.json'
run=(run --profile "$dir/cpu" --model "$dir/tiny.json" --trace "generate:poisson,n=40,rate=50" --quiet
    --set max_num_seqs=8 --set max_num_batched_tokens=64 --set num_gpu_blocks=100)
"$tandem" "${run[@]}" --db "$dir/run.db" >"$dir/out" 2>"$dir/err" || give_up 'a run with the profile'
[[ $(sqlite3 "$dir/run.db" "SELECT backend || json_extract(config, '\$.engine') FROM runs") == fittedtandem ]] ||
    give_up 'the profile does not bring its backend and engine along'
bad 'give --out DIR' "$tandem" profile --backend cpu
bad 'measures nothing' "$tandem" profile --backend roofline --out "$dir/no"
bad 'raise num_gpu_blocks' profile --out "$dir/no" --set num_gpu_blocks=10
bad 'max_num_batched_tokens is 8' profile --out "$dir/no" --set max_num_batched_tokens=8
bad 'fill no block' profile --out "$dir/no" --set max_model_len=16
profile --out "$dir/few" --batches 3 --set max_num_batched_tokens=16 --set max_num_seqs=24 ||
    give_up 'a profile with more sequences than tokens in a step'
bad 'No such file' profile --out "$dir/not/there"
echo '{"format": "tandem-profile", "version": 2}' >"$dir/cpu/profile.json"
bad 'not a profile of version 1' "$tandem" calibrate "$dir/cpu" --out "$dir/no.json"
rm "$dir/cpu/fitted.json"
bad 'fitted.json' "$tandem" "${run[@]}" --db "$dir/run.db"

echo "ok: $(wc -l <"$dir/errors") figures of $(find "$data" -name '*.db.gz' | wc -l) measured runs"
