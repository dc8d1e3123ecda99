#!/bin/bash
# check_trial.sh TANDEM [REPLICATIONS RATE]: how often does `tandem check` err? Each replication is
# 80 real runs of 2,000 Poisson requests on one simulated H200: 20 seeds for a baseline, 20 others
# for a candidate, both of this program, and the same again with a batch too small for the load.
#
#   same       the candidate as it is: must not be a regression
#   planted    20 of the 2,000 requests of every run of it, met before, now missed their limits (one
#              point of attainment): must be a regression
#   slower     a real change: the runs with max_num_seqs=52, passed off as the baseline's
#              configuration: how often that is a regression depends on what it costs, which is
#              printed
#   paired     the baseline's own seeds: nothing changed, one request of 40,000 planted, slower
#
# By default 100 replications (the bar: 98 of 100 pass, 95 of 100 planted ones are found): three
# minutes on two idle cores; a few of them are a test. Run from the source root; needs the sqlite3 shell.
set -u
tandem=$(realpath "$1")
replications=${2:-100}
rate=${3:-30}
if ! command -v sqlite3 >/dev/null; then
    echo 'SKIP: no sqlite3 shell; apt-get install sqlite3'
    exit 77
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1

# runs DB FIRST-SEED KEYS: 20 seeds of the workload into a new database.
runs() {
    cat >e.json <<JSON
{"name": "trial", "base": {"trace": "generate:poisson,n=2000,rate=$rate,tenants=4",
  "model": "llama-3.1-8b", "gpu": "h200", $3
  "slo": [{"class": "chat", "tenants": ["*"], "ttft_ms": 500, "tpot_ms": 25}]},
 "seeds": [$(seq -s, "$2" $(($2 + 19)))]}
JSON
    rm -f "$1"
    "$tandem" sweep e.json --db "$1" --quiet || exit 1
}

# plant FROM TO REQUESTS RUNS: in the first RUNS runs so many requests that met their limits miss.
plant() {
    cp "$1" "$2"
    sqlite3 "$2" "
        CREATE TEMP TABLE lost AS SELECT run_id, seq FROM (
            SELECT run_id, seq, row_number() OVER (PARTITION BY run_id
                   ORDER BY seq * 7919 % 2003) AS place
            FROM requests WHERE met_slo AND run_id <= $4) WHERE place <= $3;
        UPDATE requests SET met_slo = 0 WHERE (run_id, seq) IN (SELECT run_id, seq FROM lost);
        UPDATE summary SET value = value * (SELECT sum(met_slo) FROM requests AS q
                   WHERE q.run_id = summary.run_id)
                   / (SELECT sum(met_slo) + $3.0 FROM requests AS q WHERE q.run_id = summary.run_id)
            WHERE metric IN ('slo_attainment', 'goodput_rps') AND run_id <= $4"
}

# verdict CANDIDATE: counts it under the candidate's name.
declare -A count
verdict() {
    "$tandem" check "$1.db" --baseline baseline.json >out 2>err
    local code=$? word
    word=$(tail -n 1 out | sed 's/:.*//')
    case $code$word in
    0pass | 0improvement | 0inconclusive | 1regression) ;;
    *)
        cat out err
        exit 1
        ;;
    esac
    count[$1 $word]=$((${count[$1 $word]:-0} + 1))
}
attainment() {
    sqlite3 "$1" "SELECT avg(value) FROM summary WHERE metric = 'slo_attainment'"
}

costs=()
for ((i = 0; i < replications; i++)); do
    runs base.db $((40 * i + 1)) ''
    runs same.db $((40 * i + 21)) ''
    runs slower.db $((40 * i + 21)) '"max_num_seqs": 52,'
    runs paired_slower.db $((40 * i + 1)) '"max_num_seqs": 52,'
    hash=$(sqlite3 base.db 'SELECT config_hash FROM runs LIMIT 1')
    for name in slower paired_slower; do
        sqlite3 $name.db "UPDATE runs SET config_hash = '$hash'"
    done
    plant same.db planted.db 20 20
    cp base.db paired_same.db
    plant base.db paired_planted.db 1 1
    rm -f baseline.json
    "$tandem" check base.db --baseline baseline.json --update >out 2>err || { cat err; exit 1; }
    for name in same planted slower paired_same paired_planted paired_slower; do verdict $name; done
    costs+=("$(attainment base.db) $(attainment paired_slower.db)")
done

printf '%d replications at %s requests/s\n' "$replications" "$rate"
printf '%s\n' "${costs[@]}" | awk '{ a += $1; b += $2 } END {
    printf "attainment %.4f; slower %.4f: it costs %.2f points\n", a / NR, b / NR, 100 * (a - b) / NR }'
for name in same planted slower paired_same paired_planted paired_slower; do
    printf '%-15s' $name
    for word in pass improvement inconclusive regression; do
        printf ' %4d %s' "${count[$name $word]:-0}" $word
    done
    echo
done

# of NAME: regressions. A share of the replications, but one of a few may err.
of() { echo "${count[$1 regression]:-0}"; }
share() { echo $((replications * $1 / 100 > 1 ? replications * $1 / 100 : 1)); }
(($(of same) <= $(share 2))) || { echo 'FAIL: false regressions'; exit 1; }
((replications - $(of planted) <= $(share 5))) || { echo 'FAIL: losses not found'; exit 1; }
(($(of paired_same) == 0)) || { echo 'FAIL: a regression of the same runs'; exit 1; }
for name in paired_planted paired_slower; do
    (($(of $name) == replications)) || { echo "FAIL: $name not always found"; exit 1; }
done
