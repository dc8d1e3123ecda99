#!/bin/bash
# replay.sh TANDEM: measured runs that are kept in tests/data/replay come out again, decision for
# decision, without the machine that they were measured on; what is not the same run is refused by
# name; a run on the CPU engine is stored and replayed here; and an engine that cannot run leaves the
# database as it was. Run from the source root; needs the sqlite3 shell.
set -u
tandem=$(realpath "$1")
if ! command -v sqlite3 >/dev/null; then
    echo 'SKIP: no sqlite3 shell; apt-get install sqlite3'
    exit 77
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failures=0

fail() {
    echo "FAIL: $1"
    tail -n 5 "$dir/out" "$dir/err" 2>/dev/null | sed 's/^/  /'
    failures=$((failures + 1))
}
same() { [[ $2 == "$3" ]] || fail "$1: $3, not $2"; }
has() { grep -qF -- "$1" "$dir/$2" || fail "no \"$1\" in $2"; }
run() { "$tandem" run --quiet "$@" >"$dir/out" 2>"$dir/err"; }
# good WHAT ARGUMENT...: exit code 0 and nothing on stderr.
good() {
    local what=$1
    shift
    run "$@"
    same "exit code of $what" 0 $?
    same "stderr of $what" '' "$(<"$dir/err")"
}
# bad TEXT ARGUMENT...: exit code 2 and one line with TEXT.
bad() {
    local text=$1
    shift
    run "$@"
    same "exit code of run $*" 2 $?
    same "lines on stderr of run $*" 1 "$(wc -l <"$dir/err")"
    has "$text" err
}
# of DB SQL
of() { sqlite3 "$dir/$1" "$2"; }
summary='SELECT metric, value FROM summary ORDER BY metric'

# ---- kept runs ----

kept=0
for file in tests/data/replay/*.db.gz; do
    gzip -dc "$file" >"$dir/kept.db"
    rm -f "$dir/out.db"
    good "$file" --replay "$dir/kept.db" --db "$dir/out.db"
    same "digest of $file" "$(of kept.db 'SELECT digest FROM runs')" \
        "$(of out.db 'SELECT digest FROM runs')"
    same "backend of $file" replay "$(of out.db 'SELECT backend FROM runs')"
    times='SELECT seq, admitted_ns, first_token_ns, done_ns FROM requests ORDER BY seq'
    same "requests of $file" "$(of kept.db "$times" | md5sum)" "$(of out.db "$times" | md5sum)"
    kept=$((kept + 1))
done
[[ $kept -ge 3 ]] || fail "only $kept kept runs"

# ---- what is not the same run is named ----

gzip -dc tests/data/replay/cpu-mooncake-fcfs-swap.db.gz >"$dir/kept.db"
id=$(of kept.db 'SELECT id FROM runs')
replay=(--replay "$dir/kept.db" --db "$dir/out.db")
before=$(of out.db .dump)
bad 'the first decision that differs' "${replay[@]}" --scheduler vtc
bad 'the first decision that differs' "${replay[@]}" --set max_num_batched_tokens=100
bad 'is not the trace of the run' "${replay[@]}" --trace tests/data/replay/azure-code-500.csv.gz
bad 'no such run as --run says' "${replay[@]}" --run $((id + 1))
bad 'is no id of a run' "${replay[@]}" --run one
bad 'give --replay DB, too' --run 1
bad 'backend: replay plays a stored run back' --backend replay --trace generate:poisson,n=3,rate=5 \
    --db "$dir/out.db"
of kept.db 'UPDATE steps SET duration_ns = duration_ns + 1000000 WHERE step = 40'
bad 'replay: ' "${replay[@]}"
of kept.db 'DELETE FROM steps WHERE step = 7'
bad 'step 7 of replica 0 is not stored' "${replay[@]}"
of kept.db 'DELETE FROM steps'
bad 'was stored without --steps' "${replay[@]}"
same 'the database after runs that failed' "$before" "$(of out.db .dump)"

# ---- measured here and now ----

cat >"$dir/tiny.json" <<'JSON'
{"id": "tiny", "doc": "for tests", "source": "made up", "layers": 2, "hidden": 32, "heads": 4,
 "kv_heads": 2, "head_dim": 8, "intermediate": 64, "vocab": 100, "max_model_len": 256,
 "tied_embeddings": true, "weight_bytes_per_param": 2, "kv_bytes_per_elem": 2,
 "rms_norm_eps": 1e-5, "rope_theta": 10000}
JSON
printf '%s\n' '# prefix_block=16' arrival_s,prompt_tokens,output_tokens,prefix_hashes \
    '0,50,30,1 2 3 4' '0,60,30,1 2 5 6' '0,40,40,1 7 8' '0,64,25,1 2 3 9' '0,33,30,1 2 3' >"$dir/few.csv"
cpu=(--backend cpu --model "$dir/tiny.json" --trace "$dir/few.csv" --set num_gpu_blocks=10
    --set cpu.threads=1 --set scheduler_reserve_full_isl=false --steps --db "$dir/cpu.db")
good 'a run on the CPU' "${cpu[@]}"
good 'one with swap' "${cpu[@]}" --set preempt=swap --set host_memory_gb=0.001
good 'one by the wall clock' "${cpu[@]}" --clock paced
same 'runs' 3 "$(of cpu.db "SELECT count(*) FROM runs WHERE backend = 'cpu' AND status = 'done'
    AND gpu = 'cpu' AND cost_model LIKE 'measured on CPU%random, seed 1'")"
same 'all finished' 15 "$(of cpu.db "SELECT count(*) FROM requests WHERE status = 'finished'")"
[[ $(of cpu.db "SELECT min(value) FROM summary WHERE metric = 'preemptions'") != 0.0 ]] ||
    fail 'nothing was preempted'
same 'ways of swaps' 'in out' "$(of cpu.db "SELECT group_concat(direction, ' ') FROM
    (SELECT DISTINCT direction FROM transfers ORDER BY direction)")"
same 'steps by the wall clock do not overlap' 0 "$(of cpu.db 'SELECT count(*) FROM steps a JOIN steps b
    ON a.run_id = 3 AND b.run_id = 3 AND b.step = a.step + 1 AND b.at_ns < a.at_ns + a.duration_ns')"
for run_id in 1 2 3; do
    good "replay of run $run_id" --replay "$dir/cpu.db" --run $run_id --db "$dir/again$run_id.db"
    same "summary of run $run_id" "$(of cpu.db "SELECT metric, value FROM summary
        WHERE run_id = $run_id ORDER BY metric")" "$(of "again$run_id.db" "$summary")"
done
bad 'holds several runs' --replay "$dir/cpu.db" --db "$dir/out.db"

# ---- what cannot run says so in a line, and the database stays ----

before=$(of cpu.db .dump)
bad 'num_gpu_blocks: the CPU has no GPU memory to fill' --backend cpu --trace "$dir/few.csv" \
    --db "$dir/cpu.db"
bad 'engine=tandem' "${cpu[@]}" --set engine=vllm-0.19
bad 'tensor_parallel_size' "${cpu[@]}" --set tensor_parallel_size=2
bad 'kv_cache_dtype' "${cpu[@]}" --set kv_cache_dtype=fp8
bad 'nothere.gguf: No such file' "${cpu[@]}" --model ./nothere.gguf
head -c 100 tests/cli/replay.sh >"$dir/no.gguf"
bad 'no.gguf: ' "${cpu[@]}" --model "$dir/no.gguf"
bad 'engines run no other' "${cpu[@]}" --model qwen3-30b-a3b --set max_model_len=64
if ! nvidia-smi >/dev/null 2>&1; then
    bad 'cuda: ' --backend cuda --trace "$dir/few.csv" --db "$dir/cpu.db"
fi
bad 'cuda runs one replica' --backend cuda --replicas 2 --trace "$dir/few.csv" --db "$dir/cpu.db"
same 'the database after runs that failed' "$before" "$(of cpu.db .dump)"

# ---- real weights ----

smol=${TANDEM_MODELS:-${XDG_CACHE_HOME:-$HOME/.cache}/tandem}/SmolLM2-135M-Instruct.Q4_1.gguf
if [[ -e $smol ]]; then
    good 'a run of SmolLM2' --backend cpu --model "$smol" --trace "$dir/few.csv" \
        --set num_gpu_blocks=40 --set max_model_len=128 --set trace.limit=2 \
        --set trace.max_tokens=4 --db "$dir/smol.db"
    same 'model and weights' 'SmolLM2-135M-Instruct.Q4_1.gguf|1' \
        "$(of smol.db "SELECT model, cost_model LIKE '%weights: $smol' FROM runs")"
else
    echo 'SKIP: no SmolLM2 (scripts/get-model fetches it): real weights were not run'
fi

if [[ $failures -gt 0 ]]; then
    echo "$failures failures"
    exit 1
fi
echo "ok: $kept kept runs and 3 of this machine replayed"
