#!/bin/bash
# powercut.sh TANDEM DEATHS: the power is cut at writes of `run`, `sweep` and `merge` to their
# database (deaths.c, the library DEATHS, to preload), which loses any part of what was not synced;
# a log is cut off at a byte; and a sweep's worker dies at a write: at the first few of them, and
# then at ever fewer. Whatever happens:
# what was promised is there, no run is there by half, and the sweep goes on to the rows of one that
# was left alone. Run from the source root; needs the sqlite3 shell.
set -u
deaths=$(realpath "$2")
[[ -w /dev/shm ]] && export TMPDIR=/dev/shm # its syncs take no time, and nothing here needs them
# shellcheck source=tests/cli/lib.sh
. tests/cli/lib.sh "$1"

trace=generate:poisson,n=20,rate=20,prompt=fixed:50,output=fixed:5
"$tandem" run --trace "$trace" --db base.db --quiet || fail 'the run before'
"$tandem" run --trace "$trace" --seed 2 --db other.db --quiet || fail 'the other run'
cat >x.json <<JSON
{"name": "x", "base": {"trace": "$trace"}, "axes": {"scheduler": ["vtc", "fcfs"]},
 "seeds": [3, 4, 5]}
JSON
points=6

# What a command makes of base.db when it is left alone.
make_sweep() { "$tandem" sweep x.json --db "$1" -j 1 --quiet; }
make_merge() { "$tandem" merge "$1" other.db; }
make_run() { "$tandem" run --trace "$trace" --seed 7 --db "$1" --quiet; }
make_fresh() { make_run "$1"; }
for what in run merge sweep; do
    cp base.db $what.db
    make_$what $what.db >out 2>err || fail "$what, left alone"
    rows $what.db >$what.rows
done
make_fresh fresh.db || fail 'a run into a new file'
rows fresh.db >fresh.rows
rows base.db >base.rows

# intact WHAT LEAST ROWS: the database of a cut is sound, has at least so many runs, and no row that
# ROWS has not: of a run that is there all of them.
intact() {
    local what=$1 n
    same "$what: integrity" ok "$(sqlite3 db 'PRAGMA integrity_check' 2>&1)"
    n=$(runs db)
    ((n >= $2)) || fail "$what: $n runs are left of $2 that were promised"
    rows db >now
    same "$what: rows of half a run" 0 "$(LC_ALL=C comm -23 now "$3" | wc -l)"
    # A run's rows are as many as there are in ROWS of its key, the first columns of each.
    same "$what: runs without some of their rows" "$(rows_of_runs "$3")" "$(wc -l <now)"
}
# The rows in ROWS of those runs that are in `now`. Lines are TABLE|HASH|SEED|REP|... or, of a run,
# HASH|SEED|REP|...
rows_of_runs() {
    awk -F'|' 'function key(first) { return $first "|" $(first + 1) "|" $(first + 2) }
        function own() { return key(length($1) == 64 ? 1 : 2) }
        NR == FNR { if (length($1) == 64) there[own()] = 1; next }
        own() in there { n++ } END { print n + 0 }' now "$1"
}

# keep_log: of the cuts that lost nothing, the longest log of which nothing is in the database yet.
keep_log() {
    local size
    size=$(stat -c %s db-wal 2>/dev/null || echo 0)
    [[ $size -gt $(stat -c %s log 2>/dev/null || echo 0) ]] || return
    [[ ! -e log ]] || cmp -s db log.db || return
    cp db-wal log && cp db log.db
}

cuts=0
# cut WHAT BASE: every write of WHAT to a copy of BASE, the first few and then ever fewer.
cut() {
    local what=$1 base=$2 n seed seeds least
    for ((n = 1; n < 3000; n += n < 6 ? 1 : 1 + n / 2)); do
        seeds="0 $((n + 1))"
        [[ $what == sweep ]] && seeds="0 1 $((n + 1))"
        for seed in $seeds; do
            rm -rf db db-* db.parts mark
            [[ $base ]] && cp "$base" db
            LD_PRELOAD=$deaths TANDEM_DEATH=cut:$n:$seed TANDEM_DEATH_MARK=mark \
                make_"$what" db >out 2>err </dev/null
            if [[ ! -e mark ]]; then
                same "$what, all $n writes: rows" "$(sha256sum <"$what.rows")" \
                    "$(rows db | sha256sum)"
                return
            fi
            cuts=$((cuts + 1))
            [[ $what$seed == sweep1 ]] && keep_log
            least=0
            [[ $base ]] && least=$(($(runs "$base") + $(cat mark)))
            if [[ $base || -s db && $(sqlite3 db '.tables' 2>&1) ]]; then
                intact "$what, write $n, seed $seed" "$least" "$what.rows"
            fi
            make_"$what" db >out 2>err || fail "$what after write $n, seed $seed"
            same "$what again after write $n, seed $seed: rows" "$(sha256sum <"$what.rows")" \
                "$(rows db | sha256sum)"
        done
    done
    fail "$what: writes without end"
}
cut run base.db
cut merge base.db
cut sweep base.db
cut fresh ''
[[ $cuts -gt 40 ]] || fail "only $cuts cuts"

# ---- a log that ends anywhere ----
# No sync was waited for here, so that any of its end may be lost: of the runs, too, but whole ones.
size=$(stat -c %s log)
before=1
places=0
for ((at = 0; ; at += size / 29)); do
    rm -rf db db-* db.parts
    cp log.db db
    head -c "$at" log >db-wal
    intact "log cut off at byte $at of $size" "$before" sweep.rows
    before=$(runs db)
    places=$((places + 1))
    if ((places % 8 == 1)); then
        make_sweep db >out 2>err || fail "a sweep after a log of $at bytes"
        same "log of $at bytes: rows" "$(sha256sum <sweep.rows)" "$(rows db | sha256sum)"
    fi
    ((at < size)) || break
done
((before > points / 2)) || fail "only $before runs were ever in the log"

# ---- a worker dies at a write ----
deaths_of_workers=0
# worker KIND: once and for all, or every time (deaths.c).
worker() {
    local n code failed
    for ((n = 1; n < 3000; n += n < 5 ? 1 : 1 + n / 2)); do
        rm -rf db db-* db.parts mark
        cp base.db db
        LD_PRELOAD=$deaths TANDEM_DEATH=$1:$n TANDEM_DEATH_MARK=mark make_sweep db >out 2>err
        code=$?
        [[ -e mark ]] || return
        deaths_of_workers=$((deaths_of_workers + 1))
        same "worker, $1, write $n: lines that are not its own" 0 "$(grep -vc '^tandem: ' err)"
        has 'its process was killed by signal 9 (Killed)' err
        failed=$(grep -c 'that was the second time' err)
        same "worker, $1, write $n: exit code" $((failed > 0 ? 2 : 0)) $code
        same "worker, $1, write $n: runs" $((1 + points - failed)) "$(runs db)"
        [[ $1 == worker ]] || same "worker dead once, write $n: lines" 1 "$(wc -l <err)"
        intact "worker, $1, write $n" 1 sweep.rows
        make_sweep db >out 2>err || fail "a sweep after workers died at write $n"
        same "worker, $1, write $n, and again: rows" "$(sha256sum <sweep.rows)" \
            "$(rows db | sha256sum)"
    done
    fail "$1: writes without end"
}
worker once
worker worker
[[ $deaths_of_workers -gt 10 ]] || fail "only $deaths_of_workers workers died"

echo "$cuts power cuts, $places ends of a log, $deaths_of_workers deaths of workers"
finish powercut.sh
