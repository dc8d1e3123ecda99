#!/bin/bash
# experiment_errors.sh TANDEM: whatever is wrong with an experiment file, its database, the disk or a
# worker, `tandem sweep` says it in one line, and what was stored stays. (What a right file means is
# in tests/unit/test_experiment.c; sweeps that are killed, in sweep.sh.) Run from the source root;
# needs the sqlite3 shell.
set -u
# shellcheck source=tests/cli/lib.sh
. tests/cli/lib.sh "$1"
mkdir folder.json

# ---- bad experiment files: each with the line and column, and what is meant ----
# What begins with ':' follows the file's name.
kinds=0
while IFS='|' read -r text json; do
    printf '%b' "$json" >x.json
    bad "x.json$text" sweep x.json --db x.db
    kinds=$((kinds + 1))
done <<'CASES'
:1:0: '[' or '{' expected near end of file|
:3:7: '}' expected near '"base"'|{\n "name": "x"\n "base": {}}
:1:13: string or '}' expected near end of file|{"name": "x",
:2:10: unexpected newline near '"x'|{\n"name": "x\n}
:1:10: invalid token near 'x'|{"name": x}
:1:0: unable to decode byte 0xff|\0377\0376{\0000}
:1:13: NUL byte in object key not supported|{"na\\u0000me": "x"}
:1:11: unable to decode byte 0xc3 near '"x'|{"name": "x\0303"}
:1:15: end of file expected near 'x'|{"name": "x"} x
:1:20: duplicate object key near '"name"'|{"name": "x", "name": "y"}
:1:1: an experiment is a JSON object|[{"name": "x"}]
:1:1: name: an experiment needs one|{"base": {"trace": "generate:poisson,n=9"}}
:1:10: name: give a string|{"name": 7}
:2:1: axis: an experiment has no such member; the nearest is axes|{"name": "x",\n"axis": {}}
:2:9: base: give an object of configuration keys|{"name": "x",\n"base": [1]}
:3:2: schedulr: unknown key; the nearest is scheduler|{"name": "x",\n"base": {\n "schedulr": "vtc"}}
:1:24: scheduler: unknown value "vct"; the nearest is vtc|{"name": "x", "base": {"scheduler": "vct"}}
:1:24: max_num_seqs: 0 is out of range|{"name": "x", "base": {"max_num_seqs": 0}}
:1:24: max_num_seqs: "many" is not a whole number|{"name": "x", "base": {"max_num_seqs": "many"}}
:1:24: vtc.wqq: unknown key; the nearest is vtc.wq|{"name": "x", "base": {"vtc.wqq": 2}}
:1:15: seed: it is the same for every configuration; use the member seeds|{"name": "x", "base": {"seed": 3}}
:1:23: axes: give an object|{"name": "x", "axes": ["scheduler"]}
:1:24: axes: scheduler: give an array of values|{"name": "x", "axes": {"scheduler": "vtc"}}
:1:24: axes: scheduler: give an array of values|{"name": "x", "axes": {"scheduler": []}}
:1:24: axes: routr: unknown key; the nearest is router|{"name": "x", "axes": {"routr": ["random"]}}
:2:2: axes: scheduler: scheduler=vtc is there twice|{"name": "x", "axes": {"scheduler": ["vtc",\n "vtc"]}}
:2:1: axes: mine: another axis sets scheduler, too|{"name": "x", "axes": {"scheduler": ["vtc"],\n"mine": [{"scheduler": "fcfs"}]}}
:1:33: axes: mine: a label is a string|{"name": "x", "axes": {"mine": [{"label": 3}]}}
:1:24: seeds: give an array of whole numbers|{"name": "x", "seeds": 5}
:1:28: seeds: give whole numbers from 0|{"name": "x", "seeds": [1, "2"]}
:1:31: seeds: 1 is there twice|{"name": "x", "seeds": [1, 2, 1]}
:1:23: reps: give a whole number from 1|{"name": "x", "reps": 1e9}
:1:24: claim: give a string|{"name": "x", "claim": 1}
: run: there is no trace|{"name": "x"}
CASES
((kinds >= 30)) || fail "only $kinds kinds of files"
bad 'folder.json: cannot be read: Is a directory' sweep folder.json --db x.db
bad 'nowhere.json: cannot be read: No such file' sweep nowhere.json --db x.db
head -c 4096 /dev/urandom >noise.json
bad 'noise.json:1:' sweep noise.json --db x.db
{ printf '{"name": "x", "base": '; printf '[%.0s' {1..5000}; } >deep.json
bad 'deep.json:1:' sweep deep.json --db x.db
seq -s, 100 >hundred
echo "{\"name\": \"x\", \"axes\": {\"max_num_seqs\": [$(<hundred)], \"block_size\": [$(<hundred)]," \
    "\"max_num_batched_tokens\": [$(<hundred)]}}" >many.json
bad 'many.json:1:15: axes: more than 100000 configurations' sweep many.json --db x.db
same 'a bad file makes nothing' '' "$(ls -d x.db* 2>/dev/null)"

# ---- a database that somebody else writes ----
cat >e.json <<'JSON'
{"name": "all", "base": {"trace": "generate:poisson,n=400,rate=20,tenants=4"},
 "axes": {"scheduler": ["fcfs", "vtc", "lcf"]}, "seeds": [1, 2, 3, 4]}
JSON
"$tandem" sweep e.json --db whole.db --quiet || fail 'a sweep'
whole=$(rows whole.db | sha256sum)
"$tandem" sweep e.json --db some.db --shard 1/2 --quiet || fail 'half a sweep'
half=$(rows some.db)
coproc writer { sqlite3 some.db; }
writer_pid=${writer_PID:?} # unset as soon as it has ended
echo 'BEGIN EXCLUSIVE; SELECT 1;' >&"${writer[1]}"
read -r _ <&"${writer[0]}" # by then it has the database
bad 'some.db: database in use by another process; wait until that has finished' \
    sweep e.json --db some.db
"$tandem" sweep e.json --db other.db --shard 2/2 --quiet || fail 'the other half'
bad 'some.db: database in use by another process' merge some.db other.db
echo .quit >&"${writer[1]}"
wait "$writer_pid" || true
same 'in use: nothing is lost' "$half" "$(rows some.db)"
"$tandem" sweep e.json --db some.db --quiet || fail 'when it is free again'
same 'when it is free again: all points' "$whole" "$(rows some.db | sha256sum)"

# ---- a full disk: a file system of our own where we may, else a limit on the size of files ----
# in_full_disk COMMAND...: in a folder with room for a little.
in_full_disk() {
    # shellcheck disable=SC2016 # expanded over there
    unshare --mount bash -c 'mount -t tmpfs -o size=900k tandem_test "$0" && cd "$0" && "$@"' \
        "$dir/small" "$@"
}
mkdir small
if in_full_disk true 2>/dev/null; then
    # shellcheck disable=SC2016 # expanded over there
    in_full_disk bash -c '
        "$0" sweep ../e.json --db full.db -j 1 >../out 2>../err
        echo $? >../code
        ls >../left
        sqlite3 full.db "PRAGMA integrity_check; SELECT count(*) FROM runs" >../sound
        cp full.db* ..' "$tandem"
    same 'disk full: exit code' 2 "$(cat code)"
    same 'disk full: one line' 1 "$(wc -l <err)"
    grep -q '^tandem: .*full.db.*disk is full' err || fail 'disk full: not said so'
    same 'disk full: only its own log is left beside it' full.db \
        "$(grep -vE '^full.db-(wal|shm)$' left)"
    same 'disk full: the database is sound' ok "$(head -1 sound)"
    ((0 < $(tail -1 sound) && $(tail -1 sound) < 12)) || fail "disk full: $(tail -1 sound) runs"
    "$tandem" sweep e.json --db full.db --quiet || fail 'on a disk with room'
    same 'on a disk with room: all points' "$whole" "$(rows full.db | sha256sum)"
else
    echo 'SKIP: no tmpfs may be mounted here; sweep.sh tests a limit on the size of files'
fi

# ---- a worker that is killed ----
cat >slow.json <<'JSON'
{"name": "slow", "base": {"trace": "generate:poisson,n=8,rate=16", "clock": "paced"},
 "seeds": [1, 2, 3]}
JSON
"$tandem" sweep slow.json --db slow.db -j 2 >out 2>err &
pid=$!
victim=''
for _ in {1..100}; do
    victim=$(ps -o pid= --ppid $pid | head -1)
    [[ $victim ]] && break
    sleep 0.02
done
sleep 0.1
kill -KILL "$victim"
wait $pid
same 'a worker is killed: exit code' 0 $?
same 'a worker is killed: one line' 1 "$(wc -l <err)"
has 'its process was killed by signal 9 (Killed); trying once more' err
has '3 points run, 0 were there, 0 failed' out

finish experiment_errors.sh
