#!/usr/bin/env bash
# silicon.sh TANDEM PROFILES [SILICON.csv.gz]: the closed-loop points of aiconfigurator's
# silicon_sample (mode=agg) against the simulator, by group: TPOT and TTFT as mean |error| and bias
# in percent. Nothing is fitted. PROFILES holds a folder for each system (h200_sxm, ...). POINTS of
# each group are run at most [8], evenly spaced; 0: all. LENGTHS=fixed: every request isl and osl long
# [uniform in 0.8..1 of it]. KEEP=FILE keeps the points.
set -euo pipefail
tandem=$1 profiles=$2 table=${3:-$2/silicon_sample.csv.gz} points=${POINTS:-8}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# engine model, and how each engine forms batches by default on these GPUs
settings() {
    case $1 in
    vllm) echo "engine=vllm-0.19 max_num_batched_tokens=8192 max_num_seqs=1024" ;;
    sglang) echo "engine=sglang max_num_batched_tokens=8192 max_num_seqs=1024" \
        "prefill_mode=separate" ;;
    trtllm) echo "engine=trtllm max_num_batched_tokens=8192 max_num_seqs=1024" ;;
    esac
}

# group|model|system|backend|dtype|isl|osl|concurrency|tp|ttft|tpot, by columns' names
zcat -f "$table" | awk -F, -v OFS='|' '
    NR == 1 { for (i = 1; i <= NF; i++) c[$i] = i; next }
    $c["mode"] == "agg" {
        m = $c["model_path"]; dtype = $c["gemm_quant_mode"]; if (dtype == "") dtype = "bfloat16"
        p = m ~ /Llama-3.1-8B/ ? "llama-3.1-8b" : m ~ /Llama-3.1-70B/ ? "llama-3.1-70b" : \
            m ~ /Qwen3-32B/ ? "qwen3-32b" : m ~ /Qwen3-30B-A3B/ ? "qwen3-30b-a3b" : "-"
        print $c["system"] " " m " " $c["backend"] " " $c["backend_version"] " " dtype, p,
            $c["system"], $c["backend"], dtype, $c["isl"], $c["osl"], $c["batch_size"],
            $c["tp_size"], $c["silicon_ttft_ms"], $c["silicon_tpot_ms"] }' | sort >"$work/rows"

awk -F'|' '$2 == "-" { n[$1]++ } END { for (g in n) print "skipped, no preset: " n[g] " rows of " g }' \
    "$work/rows" | sort

awk -F'|' -v most="$points" '
    $2 != "-" { row[$1, n[$1]++] = $0 }
    END { for (g in n) { k = most && n[g] > most ? most : n[g]
              for (i = 0; i < k; i++) print row[g, int((i + 0.5) * n[g] / k)] } }' \
    "$work/rows" | sort >"$work/chosen"

# Lengths as InferenceX draws them, or (LENGTHS=fixed) all the same.
tokens() {
    if [ "${LENGTHS:-uniform}" = fixed ]; then echo "fixed:$1"; else echo "uniform:$(($1 * 8 / 10)):$1"; fi
}

# One point: 10 C requests measured after 2 C, at most 3000 in all; the sums of its figures.
point() {
    local group=$1 model=$2 system=$3 backend=$4 dtype=$5 isl=$6 osl=$7 c=$8 tp=$9 ttft=${10} \
        tpot=${11} out="$work/p$BASHPID.db" n set=()
    n=$((12 * c < 3000 ? 12 * c : 3000))
    for s in $(settings "$backend") "dtype=$dtype" "tensor_parallel_size=$tp"; do
        set+=(--set "$s")
    done
    rm -f "$out"
    if ! "$tandem" run --quiet --db "$out" --profile "$profiles/$system" --model "$model" \
        --concurrency "$c" "${set[@]}" --trace "generate:poisson,n=$n,rate=1000000,prompt=$(tokens "$isl"),output=$(tokens "$osl")" \
        >/dev/null 2>"$work/err$BASHPID"; then
        echo "failed: $group isl $isl osl $osl C $c tp $tp: $(head -1 "$work/err$BASHPID")" >&2
        return
    fi
    sqlite3 -separator '|' "$out" "SELECT '$group', $isl, $osl, $c, $tp, $ttft, $tpot,
        avg(first_token_ns - arrived_ns) / 1e6,
        avg((done_ns - first_token_ns) / 1e6 / (output_tokens - 1))
        FROM requests WHERE seq >= 2 * $c AND done_ns IS NOT NULL AND output_tokens > 1"
    rm -f "$out"
}

while IFS='|' read -r -a f; do point "${f[@]}"; done <"$work/chosen" >"$work/points"
[ -n "${KEEP:-}" ] && cp "$work/points" "$KEEP"
awk -F'|' '
    { g = $1; n[g]++; a = 100 * ($9 / $7 - 1); b = 100 * ($8 / $6 - 1)
      ab[g] += a; am[g] += a < 0 ? -a : a; bb[g] += b; bm[g] += b < 0 ? -b : b }
    END { printf "%-66s %6s %10s %10s %10s %10s\n", "group", "points", "TPOT MAPE", "TPOT bias",
              "TTFT MAPE", "TTFT bias"
          for (g in n) printf "%-66s %6d %10.1f %+10.1f %10.1f %+10.1f\n", g, n[g], am[g] / n[g],
              ab[g] / n[g], bm[g] / n[g], bb[g] / n[g] }' "$work/points" | sort
