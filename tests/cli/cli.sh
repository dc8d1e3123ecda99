#!/bin/bash
# cli.sh TANDEM: the program's manners. Whatever is wrong with the input or the machine: exit code
# 2, exactly one line on stderr that begins with "tandem: " and says what and where, nothing on
# stdout, and what was stored before stays. Run from the source root; needs the sqlite3 shell.
set -u
tandem=$(realpath "$1")
if ! command -v sqlite3 >/dev/null; then
    echo 'SKIP: no sqlite3 shell; apt-get install sqlite3'
    exit 77
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
failures=0

fail() {
    echo "FAIL: $1"
    sed 's/^/  stdout: /' out | head -5
    sed 's/^/  stderr: /' err | head -5
    failures=$((failures + 1))
}

# bad TEXT ARGUMENT...: is refused, and the message contains TEXT.
bad() {
    local text=$1
    shift
    "$tandem" "$@" >out 2>err
    local code=$?
    if [ $code -ne 2 ]; then
        fail "exit code $code, not 2: tandem $*"
    elif [ "$(wc -l <err)" -ne 1 ] || [ "$(head -c 8 err)" != "tandem: " ]; then
        fail "not one line that begins with 'tandem: ': tandem $*"
    elif ! grep -qF -- "$text" err; then
        fail "no \"$text\" in the message: tandem $*"
    elif [ -s out ]; then
        fail "something on stdout: tandem $*"
    fi
}

# good TEXT ARGUMENT...: exit code 0, TEXT on stdout, nothing on stderr.
good() {
    local text=$1
    shift
    "$tandem" "$@" >out 2>err
    local code=$?
    if [ $code -ne 0 ]; then
        fail "exit code $code, not 0: tandem $*"
    elif ! grep -qF -- "$text" out; then
        fail "no \"$text\" on stdout: tandem $*"
    elif [ -s err ]; then
        fail "something on stderr: tandem $*"
    fi
}

# same WHAT EXPECTED GOT
same() {
    if [ "$2" != "$3" ]; then
        echo "FAIL: $1: expected $2, got $3"
        failures=$((failures + 1))
    fi
}

header=arrival_s,prompt_tokens,output_tokens
trace() { # trace FILE ROW...
    local file=$1
    shift
    printf '%s\n' "$header" "$@" >"$file"
}
trace ok.csv 0,10,5
run=(run --trace ok.csv --db t.db)

# ---- usage ----
bad 'no subcommand'
bad 'rum: unknown subcommand; the nearest is run' rum
bad 'quality: give --model FILE' quality
bad 'unknown option --sheduler; the nearest is --scheduler' run --sheduler fcfs
bad '--db needs a value' run --db
bad '--json takes no value' run --json=1
bad 'unexpected argument ok.csv' run ok.csv
bad 'there is no trace' run
bad 'give KEY=VALUE' "${run[@]}" --set seed
bad 'x: ' "${run[@]}" --replay x
bad 'profile: x: No such file or directory; give the folder of a profile' "${run[@]}" --profile x
bad 'give the folder of a profile' "${run[@]}" --profile .
bad 'unknown kind schedulrs; the nearest is schedulers' list schedulrs
bad 'unknown option --cvs; the nearest is --csv' report --cvs t.db
good 'Usage: tandem run' run --help
good 'Usage: tandem list' list --help
good '--no-requests' run --help
good 'Usage: tandem SUBCOMMAND' --help
good 'tandem ' --version
good '"id": "vtc"' list schedulers --json
good 'vtc.wq' list keys
good 'goodput_rps' list metrics

# ---- configuration ----
bad 'max_num_seq: unknown key; the nearest is max_num_seqs' "${run[@]}" --set max_num_seq=1
bad 'max_num_seqs: "x" is not a whole number' "${run[@]}" --set max_num_seqs=x
bad 'seed: "x" is not a whole number' "${run[@]}" --seed x
bad 'block_size: 0 is out of range' "${run[@]}" --set block_size=0
bad 'scheduler: unknown value "fsfc"; the nearest is fcfs' "${run[@]}" --scheduler fsfc
bad 'backend roofline knows no times of fp8' "${run[@]}" --set dtype=fp8
bad 'the nearest is "llama-3.1-8b"' "${run[@]}" --model llama-3.1-8
bad 'h20' "${run[@]}" --gpu h20
bad 'nothere.json' "${run[@]}" --model ./nothere.json
bad 'nothere.json' "${run[@]}" --config nothere.json
printf '{\n "seed": 1,\n "rep" 1\n}\n' >syntax.json
bad 'syntax.json:3:' "${run[@]}" --config syntax.json
printf '{"seed": 1, "rap": 1}\n' >key.json
bad 'key.json: rap: unknown key; the nearest is rep' "${run[@]}" --config key.json

# ---- traces ----
trace letter.csv 0,10,5 1,x2,5
trace negative.csv 0,10,5 1,-2,5
trace nan.csv 0,10,5 nan,2,5
trace back.csv 1,10,5 0,10,5
trace narrow.csv 0,10,5 1,2
trace zero.csv 0,10,0
printf 'arrival_s,prompt_tokens\n0,10\n' >column.csv
: >empty.csv
for _ in {1..8}; do printf '%b' "$(printf '\\0%03o' {255..0})"; done >bytes.csv
{ echo $header; for i in {1..2000}; do echo "$i,$((i % 97 + 1)),5"; done; } | gzip >whole.csv.gz
head -c $(($(wc -c <whole.csv.gz) - 100)) whole.csv.gz >cut.csv.gz
head -c 5 whole.csv.gz >stub.csv.gz
while read -r file text; do
    bad "$text" run --trace "$file" --trace-format csv --db t.db
done <<'CASES'
nothere.csv nothere.csv: cannot be read
. .: cannot be read
letter.csv letter.csv:3: column prompt_tokens
negative.csv negative.csv:3: column prompt_tokens
nan.csv nan.csv:3: column arrival_s
back.csv back.csv:3: column arrival_s: time goes back
narrow.csv narrow.csv:3:
zero.csv zero.csv:2: column output_tokens
column.csv column.csv:1: column output_tokens is missing
empty.csv empty.csv
bytes.csv bytes.csv:1:
cut.csv.gz cut.csv.gz
stub.csv.gz stub.csv.gz
CASES
bad 'bytes.csv' run --trace bytes.csv --db t.db
bad 'empty.csv' run --trace empty.csv --db t.db
same 'bad input makes no database, or an empty one' 0 \
    "$(sqlite3 t.db 'SELECT count(*) FROM runs' 2>/dev/null || echo 0)"

# ---- a run, and what must not happen to it ----
good 'run 1' "${run[@]}"
good 'replaced the run' "${run[@]}"
good '"replaced": true' "${run[@]}" --json
stored() { sqlite3 t.db 'SELECT count(*), min(digest), min(status) FROM runs'; }
before=$(stored)
same 'one run is stored' 1 "${before%%|*}"
same 'every stored metric is listed' '' \
    "$(comm -23 <(sqlite3 t.db 'SELECT metric FROM summary' | sort) \
        <("$tandem" list metrics | cut -d' ' -f1 | sort))"

bad 'back.csv:3' run --trace back.csv --db t.db
same 'a run that fails midway leaves the stored one' "$before" "$(stored)"

printf 'not a database, and longer than nothing' >plain.db
bad 'plain.db' run --trace ok.csv --db plain.db
same 'a foreign file is left alone' 'not a database, and longer than nothing' "$(cat plain.db)"
bad '/nonexistent/t.db' run --trace ok.csv --db /nonexistent/t.db
bad '/dev/full' run --trace ok.csv --db /dev/full

# No file may grow beyond 128 KiB: what a full disk looks like.
(
    trap '' XFSZ
    ulimit -f 128
    "$tandem" run --trace whole.csv.gz --steps --db t.db >out 2>err
    echo $? >code
)
same 'disk full: exit code' 2 "$(cat code)"
same 'disk full: one line' 1 "$(wc -l <err)"
grep -q '^tandem: .*t\.db: .*disk' err || fail 'disk full: not said so'
same 'a full disk leaves the stored run' "$before" "$(stored)"
same 'a full disk leaves a sound database' ok "$(sqlite3 t.db 'PRAGMA integrity_check')"

# Somebody else writes: held by a shell that waits for the end of its input.
mkfifo hold
sqlite3 t.db <hold >/dev/null 2>&1 &
holder=$!
exec 3>hold
printf '.timeout 5000\nBEGIN IMMEDIATE;\n' >&3 # the probes below take the lock for a moment, too
for _ in {1..100}; do
    sqlite3 t.db 'BEGIN IMMEDIATE' >/dev/null 2>&1 || break
    sleep 0.05
done
bad 't.db' run --trace ok.csv --db t.db --seed 9
grep -qE 'lock|busy|use' err || fail 'database in use: not said so'
exec 3>&-
wait $holder
same 'a database in use keeps its run' "$before" "$(stored)"
good 'run 2' run --trace ok.csv --db t.db --seed 9

if [ -c /dev/full ]; then
    "$tandem" list keys >/dev/full 2>err
    same 'stdout is full: exit code' 2 $?
    grep -q '^tandem: stdout' err || fail 'stdout is full: not said so'
fi

# ---- refusals are results ----
trace long.csv 0,10,5 1,200000,5
good '1: prompt_too_long' run --trace long.csv --db t.db
same 'the reason is stored' 'refused|prompt_too_long' \
    "$(sqlite3 t.db "SELECT status, reason FROM requests WHERE reason IS NOT NULL")"

# ---- other columns ----
printf 'when,in,out\n0,10,5\n' >other.csv
bad 'other.csv' run --trace other.csv --db t.db
good 'finished' run --trace other.csv --db t.db \
    --map arrival_s=when,prompt_tokens=in,output_tokens=out

good 'requests' trace info other.csv --map arrival_s=when,prompt_tokens=in,output_tokens=out

# ---- validate ----
printf 'arrival_s,prompt_tokens,output_tokens,ttft_ms,e2e_ms\n0,10,5,1e9,2e9\n' >slow.csv
bad 'validate: give what was measured' validate
bad 'nothere.csv' validate nothere.csv
bad 'give METRIC=PERCENT' validate slow.csv --bound all
bad 'give COLUMN=VALUE' validate slow.csv --where run
bad 'unknown option --bund; the nearest is --bound' validate slow.csv --bund all=1
bad 'unknown option --sheduler; the nearest is --scheduler' validate slow.csv --sheduler fcfs
bad 'unexpected argument ok.csv' validate slow.csv ok.csv
bad 'the nearest that was is ttft_ms_p9' validate slow.csv --bound ttft_ms_p96=1
bad 'no such run' validate t.db --run 99
bad 'holds several runs' validate t.db
good 'Usage: tandem validate' validate --help
good 'mean |error|' validate slow.csv
good '"passed": true' validate slow.csv --json --bound all=100
"$tandem" validate slow.csv --quiet --bound all=10 >out 2>err
same 'a missed bound: exit code' 1 $?
same 'a missed bound is no error' '' "$(cat err)"
printf 'silicon_ttft_ms,silicon_tpot_ms\n1,2\n' >points.csv
bad 'points.csv:1: column system is missing' validate points.csv
printf '%s\n' 'system,model_path,backend,isl,osl,batch_size,tp_size,silicon_ttft_ms,silicon_tpot_ms' \
    'h200_sxm,Qwen/Qwen3-32B,vllm,100,10,4,1,50,20' >points.csv
bad 'none of 1 points could be simulated' validate points.csv
bad 'concurrency: every point has its own' validate points.csv --concurrency 4
bad 'the nearest is backend' validate points.csv --where bakend=vllm

# ---- capacity ----
poisson=generate:poisson,n=2000,rate=20
bad 'capacity: --attainment 2: give a number from 0 to 1' capacity --attainment 2
bad 'capacity: --tolerance 0: give a number from 0.0001 to 1' capacity --tolerance 0
bad 'unknown option --atainment; the nearest is --attainment' capacity --atainment 1
bad 'there is no trace' capacity
bad 'no rate to measure; give a longer trace' capacity --trace ok.csv
bad 'a closed loop has no rate to search' capacity --trace $poisson --concurrency 4
bad 'the limits are met even at' capacity --trace $poisson --attainment 0
good 'capacity_rps' capacity --trace $poisson
good '"capacity_rps": 0.0' capacity --trace $poisson --json \
    --set 'slo=[{"class":"c","tenants":["*"],"ttft_ms":0.001}]'
# What it found holds: the rate that met, and the lowest that did not, as runs of their own.
good '"rate_scale"' capacity --trace $poisson --json --db found.db
same 'each rate is a run' "$(grep -o '"runs": [0-9]*' out | tr -dc 0-9)" \
    "$(sqlite3 found.db 'SELECT count(*) FROM runs')"
same 'met below, missed above' "$(grep '"rate_scale"' out | tr -dc 0-9.)|1" "$(sqlite3 found.db "
    SELECT max(iif(value >= 0.9, scale, 0)), max(iif(value >= 0.9, scale, 0)) * 1.02 >=
        min(iif(value < 0.9, scale, 1e9))
    FROM (SELECT value, config ->> '\$.\"trace.rate_scale\"' AS scale
        FROM summary JOIN runs ON id = run_id WHERE metric = 'slo_attainment')")"

# ---- trace info, trace cache ----
good 'requests' trace info ok.csv
good '"requests"' trace info ok.csv --json
bad 'hash' trace cache ok.csv
printf '%s\n' '# prefix_block=16' arrival_s,prompt_tokens,output_tokens,prefix_hashes \
    '0,32,1,1 2' '1,32,1,1 3' >hashed.csv
good '"block_hit_rate": 0.25' trace cache hashed.csv --json
good 'lru' trace cache hashed.csv --flat --blocks 1,2,inf
bad 'sharing' trace cache hashed.csv --prefix sharing

# ---- trace convert, scale, generate; a SPEC in place of a file ----
good 'conv.csv: 1 requests' trace convert ok.csv -o conv.csv
same 'what is converted is the same' "$(cat ok.csv)" "$(cat conv.csv)"
good '"requests": 2000' trace convert whole.csv.gz -o conv.csv.gz --json
good '1999 requests' trace scale whole.csv.gz -o half.csv --set trace.rate_scale=2 \
    --set trace.start_s=2
same 'scaled by two' '0,3,5|0.5,4,5' "$(sed -n 2,3p half.csv | paste -sd'|')"
bad 'where to? give -o FILE' trace convert ok.csv
bad '--trace-format azure cannot be written' trace convert ok.csv -o x.csv --trace-format azure
bad 'nothing to change' trace scale ok.csv -o x.csv
bad 'ok.csv is no SPEC' trace generate ok.csv -o x.csv
bad 'unknown key "rte"; did you mean rate?' trace generate generate:poisson,rte=5 -o x.csv
bad 'cannot be written' trace convert ok.csv -o /nonexistent/x.csv
bad 'max_num_seqs changes nothing here' trace convert ok.csv -o x.csv --set max_num_seqs=1
same 'what is refused writes nothing' '' "$(ls x.csv* 2>/dev/null)"
good 'made.csv: 50 requests' trace generate generate:poisson,n=50,rate=5 -o made.csv
good 'requests         50' trace info generate:poisson,n=50,rate=5
good 'finished' run --trace generate:poisson,n=50,rate=5 --db t.db
good 'synthetic: generate:poisson seed 1' run --trace generate:poisson,n=50,rate=5 --db t.db
digest() { "$tandem" run --db t.db --quiet --json --trace "$1" | grep '"digest"'; }
same 'a SPEC and the file made of it run alike' "$(digest generate:poisson,n=50,rate=5)" \
    "$(digest made.csv)"
bad 'did you mean poisson?' run --trace generate:poison --db t.db
good 'generate:multiturn' list traces
good 'generate:NAME,tenant_skew=' list traces

# ---- lossy KV ----
lossy=(run --trace ok.csv --db kv.db --kv h2o)
good 'latency of a lossy KV policy: quality not measured' "${lossy[@]}"
bad 'kv: cpu holds the full cache' "${lossy[@]}" --backend cpu --model smollm2-135m \
    --set num_gpu_blocks=100
bad 'has no figures of h2o with kv.budget 0.2' "${lossy[@]}" --set quality_ref=kv.db

# A thousand lines of anybody's log.
{ echo 'user,when,in,out,host'; for i in {1..1000}; do
    echo "u$((i % 7)),$((i / 5)).$((i % 5 * 2)),$((i % 900 + 1)),$((i % 60 + 1)),h$i"; done; } >log.csv
good 'requests         1000' trace info log.csv \
    --map arrival_s=when,prompt_tokens=in,output_tokens=out,tenant=user
good 'finished                                          1000' run --trace log.csv --db t.db \
    --map arrival_s=when,prompt_tokens=in,output_tokens=out,tenant=user

if [ $failures -ne 0 ]; then
    echo "cli.sh: $failures failed"
    exit 1
fi
echo 'cli.sh: all well'
