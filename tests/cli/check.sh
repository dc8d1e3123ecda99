#!/bin/bash
# check.sh TANDEM: the gate: every verdict and exit code, what it writes, and what it refuses. Run
# from the source root; needs the sqlite3 shell. How often it errs: tests/bench/check_trial.sh.
set -u
tandem=$(realpath "$1")
if ! command -v sqlite3 >/dev/null; then
    echo 'SKIP: no sqlite3 shell; apt-get install sqlite3'
    exit 77
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
out=$dir/out err=$dir/err
failures=0

fail() {
    echo "FAIL: $1"
    tail -n 8 "$out" "$err" 2>/dev/null | sed 's/^/  /'
    failures=$((failures + 1))
}
same() { [[ $2 == "$3" ]] || fail "$1: $3, not $2"; }
# has TEXT [FILE]
has() { grep -qF -- "$1" "${2:-$out}" || fail "no \"$1\" in ${2:-$out}"; }
# gives CODE VERDICT ARGUMENT...: `tandem check`, whose last line begins with the verdict.
gives() {
    local code=$1 verdict=$2
    shift 2
    "$tandem" check "$@" >"$out" 2>"$err"
    same "exit code of check $*" "$code" $?
    same "verdict of check $*" "$verdict" "$(tail -n 1 "$out" | sed 's/:.*//')"
}
# bad TEXT ARGUMENT...: exit code 2, one line with TEXT, nothing on stdout.
bad() {
    local text=$1
    shift
    "$tandem" check "$@" >"$out" 2>"$err"
    same "exit code of check $*" 2 $?
    same "lines on stderr of check $*" 1 "$(wc -l <"$err")"
    has "$text" "$err"
    [[ ! -s $out ]] || fail "check $* printed something"
}
db() { sqlite3 "$@" || fail "sqlite3 $*"; }

# ---- the baseline that is committed: it holds, or `check --update` and look at the difference ----
demo=experiments/demo
gives 0 pass $demo/check.json --baseline $demo/baseline.json
has 'paired: the same 1 seed, simulated again: differences are exact'
"$tandem" check $demo/check.json --baseline "$dir/demo.json" --update >"$out" 2>"$err"
same 'a first baseline: exit code' 0 $?
cmp "$dir/demo.json" $demo/baseline.json >"$err" || fail 'the committed baseline is written anew alike'
same 'nothing is left in TMPDIR' 0 "$(mkdir "$dir/tmp" && TMPDIR=$dir/tmp "$tandem" check \
    $demo/check.json --baseline $demo/baseline.json >"$out" 2>"$err"; find "$dir/tmp" -mindepth 1 | wc -l)"

# ---- runs of our own ----
cd "$dir" || exit 1
# experiment SEEDS [KEYS]
experiment() {
    cat <<JSON
{"name": "mine", "base": {"trace": "generate:poisson,n=1000,rate=20,tenants=3", ${2:-}
  "slo": [{"class": "any", "tenants": ["*"], "ttft_ms": 300, "tpot_ms": 15}]},
 "axes": {"scheduler": ["fcfs", "vtc"]}, "seeds": [$1]}
JSON
}
experiment '1, 2, 3, 4, 5, 6' >e.json
experiment "$(seq -s, 11 30)" >other.json
for name in e other; do
    "$tandem" sweep $name.json --db $name.db --quiet 2>"$err" || fail "sweep of $name"
done
"$tandem" check e.db --baseline base.json --update >"$out" 2>"$err" || fail 'update'
has 'base.json: 2 points, 17 metrics, 6 seeds'
same 'one line a figure' 34 "$(grep -c '": {"1": .*"2": ' base.json)"

gives 0 pass e.db --baseline base.json
gives 0 pass e.json --baseline base.json --strict
gives 0 pass other.db --baseline base.json
has 'unpaired: 6 seeds against 20 others'
has 'found 95 %'
cp "$out" first
gives 0 pass other.db --baseline base.json
cmp -s first "$out" || fail 'the same figures give the same table'

# ---- verdicts ----
# planted NAME SQL: a copy of e.db with other figures.
planted() { cp e.db "$1.db" && db "$1.db" "$2"; }
planted worse "UPDATE summary SET value = value - 1 / 1000.0
    WHERE metric = 'slo_attainment' AND run_id =
    (SELECT id FROM runs WHERE scheduler = 'fcfs' AND seed = 2)"
gives 1 regression worse.db --baseline base.json
has '1 regression, 33 pass'
planted better "UPDATE summary SET value = value * 0.9 WHERE metric = 'ttft_ms_p99'"
gives 0 improvement better.db --baseline base.json
has '2 improvement'
planted mixed "UPDATE summary SET value = value *
    (SELECT CASE seed % 2 WHEN 0 THEN 1.2 ELSE 0.9 END FROM runs WHERE id = run_id) WHERE metric = 'ttft_ms_p99'"
gives 0 inconclusive mixed.db --baseline base.json
has '(fails with --strict only)'
gives 1 inconclusive mixed.db --baseline base.json --strict
cp other.db other_worse.db
db other_worse.db "UPDATE summary SET value = value - 0.5 WHERE metric = 'slo_attainment'"
gives 1 regression other_worse.db --baseline base.json
cp mixed.db measured.db
db measured.db "UPDATE runs SET backend = 'cpu'"
gives 0 pass measured.db --baseline base.json
has 'measured again: differences are subject to chance'

# A tolerance in the file is obeyed, and survives --update; so does a metric that was taken out.
sed -e 's/\("slo_attainment": .*"tolerance": \)0/\10.01/' -e '/jain_index/d' \
    -e 's/\(service_diff_all.*}\),$/\1/' base.json >tolerant.json
gives 0 pass worse.db --baseline tolerant.json
cp tolerant.json kept.json
"$tandem" check e.db --baseline kept.json --update >"$out" 2>"$err"
cmp -s tolerant.json kept.json || fail 'update keeps what is compared, and how'

# ---- what it writes ----
gives 1 regression worse.db --baseline base.json --junit j.xml --markdown m.md
has '<testsuite name="scheduler=fcfs" tests="17" failures="1" errors="0" skipped="0">' j.xml
has '<failure message="regression: baseline' j.xml
has "| scheduler=fcfs | \`slo_attainment\` |" m.md
has '**regression**' m.md
gives 0 inconclusive mixed.db --baseline base.json --junit j.xml
has '<skipped message="inconclusive: baseline' j.xml
"$tandem" check worse.db --baseline base.json --json >j.json 2>"$err"
same 'exit code with --json' 1 $?
same 'JSON' 'regression|1|paired|34|regression' "$(db :memory: "
    SELECT j ->> 'verdict', j ->> 'failed', j ->> 'mode', json_array_length(j, '\$.figures'),
           j ->> '\$.figures[0].verdict' FROM (SELECT CAST(readfile('j.json') AS TEXT) AS j)")"

# ---- refused ----
cp base.json intact.json
bad 'give a DB or an EXPERIMENT.json' e.db
bad 'give a DB or an EXPERIMENT.json' --baseline base.json
bad 'unknown option --strikt; the nearest is --strict' e.db --baseline base.json --strikt
bad 'unexpected argument' e.db other.db --baseline base.json
bad 'a first baseline is written with --update' e.db --baseline absent.json
bad 'absent.db: cannot be read' absent.db --baseline base.json
head -c 60 base.json >garbled.json
bad 'garbled.json:' e.db --baseline garbled.json
bad 'garbled.json:' e.db --baseline garbled.json --update
sed 's/"1": [0-9.]*/"1": NaN/' base.json >nan.json
bad 'nan.json:' e.db --baseline nan.json
sed 's/"schema": 1/"schema": 2/' base.json >schema.json
bad 'a baseline of version 1, schema 2' e.db --baseline schema.json
bad 'is no baseline' e.db --baseline e.json

cp e.db newer.db
db newer.db 'PRAGMA user_version = 7'
bad 'schema' newer.db --baseline base.json
cp e.db writing.db
db writing.db 'PRAGMA journal_mode = WAL' >"$out"
bad 'is being written, or its writer was killed' writing.db --baseline base.json
bad 'is being written, or its writer was killed' writing.db --baseline new.json --update
: >empty.db
bad 'the database is empty' empty.db --baseline base.json
planted infinite "UPDATE summary SET value = 9e999 WHERE metric = 'ttft_ms_p50' AND run_id = 1"
bad 'ttft_ms_p50 is not finite' infinite.db --baseline base.json
planted default "UPDATE runs SET slo_source = 'default'"
bad 'slo_source=default' default.db --baseline base.json
bad 'slo_source=default' default.db --baseline new.json --update

planted lacks "DELETE FROM runs WHERE scheduler = 'vtc'"
bad 'no longer applies: lacks.db has no run of point "scheduler=vtc"' lacks.db --baseline base.json
experiment '1, 2, 3, 4, 5, 6' '"max_num_seqs": 100,' >changed.json
bad 'no longer applies: changed.json has no run of point "scheduler=fcfs"' changed.json \
    --baseline base.json
planted uneven "DELETE FROM runs WHERE scheduler = 'vtc' AND seed = 3"
bad 'have not got the same seeds' uneven.db --baseline base.json
planted overlap "UPDATE runs SET seed = -seed; UPDATE runs SET seed = 3 - seed"
bad '3 of its 6 seeds are among the 6 of the baseline' overlap.db --baseline base.json
planted few "DELETE FROM runs WHERE seed > 3; UPDATE runs SET seed = seed + 30"
bad 'give either at least 4' few.db --baseline base.json
echo '{"name": "x", "base": {"schedular": "vtc"}}' >broken.json
bad 'schedular' broken.json --baseline base.json
bad 'cannot be written' e.db --baseline base.json --junit absent/j.xml
bad 'cannot be written' e.db --baseline absent/base.json --update
cmp -s base.json intact.json || fail 'the baseline is as it was'

planted more "UPDATE runs SET config_hash = 'more', point = 'more' WHERE scheduler = 'vtc'"
"$tandem" merge e.db more.db >"$out" 2>"$err" || fail merge
gives 0 pass e.db --baseline base.json
has 'Not in the baseline, and not compared: 1 points'

[[ $failures == 0 ]] && echo 'check: as it should be'
exit $((failures > 0))
