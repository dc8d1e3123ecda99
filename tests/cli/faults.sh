#!/bin/bash
# faults.sh TANDEM FAULTS: each write, sync, open, rename and close of `run`, `sweep`, `merge` and
# `report --csv` fails in turn (faults.c, the library FAULTS, to preload). Whenever one does, the
# command either did not need it and all is as it should be, or it says so in one line (a sweep: one
# for each point, too), with exit code 2; and what was committed before is there, whole. Of many
# calls of a kind, the first dozen and then every few. Run from the source root; needs the sqlite3 shell.
set -u
faults=$(realpath "$2")
scripts=$(realpath scripts)
# shellcheck source=tests/cli/lib.sh
. tests/cli/lib.sh "$1"
ln -s "$scripts" scripts # the report's pictures; not drawn here: no gnuplot in PATH
injected=0
refused=0

trace=generate:poisson,n=20,rate=20,prompt=fixed:50,output=fixed:5
"$tandem" run --trace "$trace" --db base.db --quiet || fail 'the run before'
"$tandem" run --trace "$trace" --seed 2 --db other.db --quiet || fail 'the other run'
rows base.db >before
cat >x.json <<JSON
{"name": "x", "base": {"trace": "$trace"}, "axes": {"scheduler": ["vtc", "fcfs"]}, "seeds": [3]}
JSON

# The database is sound, has one of these numbers of runs, and every row that it had before.
expect_whole() {
    local what=$1 n
    shift
    same "$what: integrity" ok "$(sqlite3 db 'PRAGMA integrity_check' 2>&1)"
    n=$(runs db)
    [[ " $* " == *" $n "* ]] || fail "$what: $n runs, not one of: $*"
    same "$what: rows lost" 0 "$(rows db | LC_ALL=C comm -23 before - | wc -l)"
    same "$what: rows of no run" 0 "$(sqlite3 db 'SELECT count(*) FROM requests
        WHERE run_id NOT IN (SELECT id FROM runs)')"
}

# try RUNS-WHEN-DONE RUNS-WHEN-REFUSED ARGUMENT...: the command with every fault.
try() {
    local done=$1 else=$2 kind n code what
    shift 2
    for kind in write sync open rename close; do
        for ((n = 1; n < 3000; n += n < 12 ? 1 : n / 4)); do
            rm -rf db db-* mark csv
            cp base.db db
            what="tandem $1, $kind $n"
            PATH=/none LD_PRELOAD=$faults TANDEM_FAULT=$kind:$n TANDEM_FAULT_MARK=mark \
                "$tandem" "$@" >out 2>err </dev/null
            code=$?
            if [[ ! -e mark ]]; then
                [[ $code == 0 ]] || fail "tandem $1 without a fault: exit code $code"
                break
            fi
            injected=$((injected + 1))
            if [[ $code == 0 ]]; then
                expect_whole "$what" "$done"
            else
                refused=$((refused + 1))
                same "$what: exit code" 2 "$code"
                same "$what: lines that are not its own" 0 "$(grep -vc '^tandem: ' err)"
                [[ $(wc -l <err) -eq 1 || $1 == sweep && $(wc -l <err) -le 3 ]] ||
                    fail "$what: $(wc -l <err) lines on stderr"
                # shellcheck disable=SC2086
                expect_whole "$what" $else
            fi
        done
    done
}

# Without a fault all of them work: the loops above end. A run of another seed, one more in a merge,
# two in a sweep, of which some may be there before a later one fails.
try 2 '1 2' run --trace "$trace" --seed 5 --db db --quiet
try 2 '1 2' merge db other.db
try 3 '1 2 3' sweep x.json --db db -j 1
try 1 1 report db --csv --out csv
[[ $injected -gt 60 && $refused -gt 30 ]] || fail "only $injected faults, $refused refused"
echo "$injected faults, $refused of them reported"
finish faults
