#!/bin/bash
# sweep.sh TANDEM [TRACE POINTS KILLS]: a sweep, and all that may happen to one: killed at any
# moment, a worker that dies, points that fail, shards, a full disk, somebody else at the database.
# Whatever it is: no point is lost, none is run twice, and in the end the database equals that of a
# sweep that was left alone, row for row. Run from the source root; needs the sqlite3 shell.
#
# By default a trace of 1,500 requests, 60 points and 8 kills: seconds. The bar of the design is the
# Azure hour, 1,000 points and 20 kills.
set -u
trace=${2:-generate:poisson,n=1500,rate=20,tenants=4}
points=${3:-60}
kills=${4:-8}
[[ -e $trace ]] && trace=$(realpath "$trace")
# shellcheck source=tests/cli/lib.sh
. tests/cli/lib.sh "$1"
sweep() { "$tandem" sweep "$@" >out 2>err; }

seeds=$(seq -s, 1 $((points / 6)))
points=$((points / 6 * 6))
cat >e.json <<JSON
{"name": "all", "base": {"trace": "$trace", "max_request_rows": 100, "max_num_seqs": 32},
 "axes": {"scheduler": ["fcfs", "vtc", "lcf"], "trace.rate_scale": [1, 1.5]}, "seeds": [$seeds]}
JSON

# ---- left alone ----
sweep e.json --db whole.db --dry-run
same 'dry run: exit code' 0 $?
same 'dry run: a line a point, and one' $((points + 1)) "$(wc -l <out)"
same 'dry run makes nothing' 'e.json err out' "$(echo *)"
started=$(date +%s%N)
sweep e.json --db whole.db || fail 'a sweep'
took_ms=$((($(date +%s%N) - started) / 1000000))
has "$points points run, 0 were there, 0 failed" out
same 'all points' $points "$(runs whole.db)"
same 'nothing beside the database' 'e.json err out whole.db' "$(echo *)"
rows whole.db >whole.rows
sweep e.json --db whole.db || fail 'again'
has "0 points run, $points were there" out
same 'one process gives the same rows' "$(sha256sum <whole.rows)" \
    "$(sweep e.json --db one.db -j 1 && rows one.db | sha256sum)"
same 'seeds are the same for every configuration' 1 "$(sqlite3 whole.db 'SELECT count(DISTINCT s)
    FROM (SELECT group_concat(seed) AS s FROM (SELECT config_hash, seed FROM runs
    ORDER BY config_hash, seed) GROUP BY config_hash)')"

# ---- killed again and again ----
# Moments spread over the sweep, the same in every run of this test but for the machine's speed.
before=0
for ((k = 1; k <= kills; k++)); do
    "$tandem" sweep e.json --db killed.db --quiet 2>err &
    pid=$!
    pause_ms=$((took_ms * 3 * ((k * 37 + 11) % 100) / (200 * kills) + 5))
    sleep "$((pause_ms / 1000)).$(printf '%03d' $((pause_ms % 1000)))"
    kill -KILL $pid 2>/dev/null
    wait $pid 2>/dev/null
    same "kill $k: not a word" '' "$(cat err)"
    now=$(runs killed.db)
    ((now >= before)) || fail "kill $k: $before runs were stored, $now are left"
    before=$now
done
same 'the database is sound' ok "$(sqlite3 killed.db 'PRAGMA integrity_check')"
sweep e.json --db killed.db || fail 'the last sweep'
has "$((points - before)) points run, $before were there" out
same 'killed and left alone give the same rows' "$(sha256sum <whole.rows)" \
    "$(rows killed.db | sha256sum)"
same 'nothing is left beside it' '' "$(ls -d killed.db?* 2>/dev/null)"
echo "killed $kills times, $before of $points points stored by then"

# ---- a worker dies ----
# Points that take their time whatever the machine: on the wall clock.
cat >slow.json <<JSON
{"name": "slow", "base": {"trace": "generate:poisson,n=8,rate=16", "clock": "paced"},
 "seeds": [1, 2, 3]}
JSON
# workers_of PID: the processes that it forked.
workers_of() { ps -o pid= --ppid "$1"; }
kill_a_worker() {
    local victim='' i
    for ((i = 0; i < 100; i++)); do
        victim=$(workers_of "$1" | head -1)
        if [[ $victim ]]; then
            sleep 0.1 # by then it has a point
            kill -KILL "$victim" 2>/dev/null && return
        fi
        sleep 0.02
    done
}
"$tandem" sweep slow.json --db slow.db -j 1 >out 2>err &
pid=$!
kill_a_worker $pid
wait $pid
same 'a worker that dies once: exit code' 0 $?
same 'a worker that dies once: one line' 1 "$(wc -l <err)"
has 'slow: seed 1, rep 0: its process was killed by signal 9 (Killed); trying once more' err
same 'a worker that dies once: all points' 3 "$(runs slow.db)"

"$tandem" sweep slow.json --db twice.db -j 1 >out 2>err &
pid=$!
kill_a_worker $pid
kill_a_worker $pid
wait $pid
same 'a point whose worker dies twice: exit code' 2 $?
has 'that was the second time' err
has 'sweep: 1 of 3 points failed, the others are stored' err
same 'the others are kept' 2 "$(runs twice.db)"
sweep slow.json --db twice.db || fail 'after the failure'
has '1 points run, 2 were there' out

# ---- points that fail ----
{ echo arrival_s,prompt_tokens,output_tokens; echo 0,10,5; echo 1,x,5; } >broken.csv
{ echo arrival_s,prompt_tokens,output_tokens; echo 0,10,5; } >fine.csv
echo '{"name": "some", "axes": {"trace": ["fine.csv", "broken.csv"]}}' >some.json
sweep some.json --db some.db
same 'a point that fails: exit code' 2 $?
has 'some: trace=broken.csv, seed 1, rep 0: broken.csv:3: column prompt_tokens' err
has 'sweep: 1 of 2 points failed' err
same 'each line says who says it' '' "$(grep -v '^tandem: ' err)"
same 'the other one is kept' 1 "$(runs some.db)"

# ---- shards and merging ----
printf 'not a database, and longer than nothing' >plain.db
for shard in 1 2 3 4; do sweep e.json --db s$shard.db --shard $shard/4 || fail "shard $shard"; done
"$tandem" merge merged.db s1.db s2.db s3.db >out 2>err || fail 'merge'
"$tandem" merge merged.db s4.db s2.db >out 2>err || fail 'merge again'
has "$(runs s2.db) left as they were" out
same 'shards give the same rows' "$(sha256sum <whole.rows)" "$(rows merged.db | sha256sum)"
bad 'both OUT and IN' merge merged.db merged.db
bad 'nothere.db' merge merged.db nothere.db
bad 'give OUT.db' merge merged.db
sqlite3 s1.db 'PRAGMA user_version = 7'
bad 's1.db: made by a newer tandem (schema 7' merge new.db s2.db s1.db
same 'what is refused makes nothing' '' "$(ls new.db 2>/dev/null)"

sweep e.json --db rest.db --have merged.db --dry-run || fail 'a dry run beside another database'
has "0 points to run, $points in rest.db or merged.db already" out
"$tandem" merge half.db s2.db s3.db >out 2>err || fail 'merge two'
sweep e.json --db rest.db --have half.db || fail 'what another database lacks'
same 'what the other one has is not run' "$((points - $(runs half.db)))" "$(runs rest.db)"
"$tandem" merge half.db rest.db >out 2>err || fail 'merge the rest'
same 'and the rest completes it' "$(sha256sum <whole.rows)" "$(rows half.db | sha256sum)"
bad 'plain.db' sweep e.json --db rest2.db --have plain.db

# ---- run again, other inputs, other names ----
sweep e.json --db s2.db --shard 2/4 --fresh || fail 'fresh'
has "$(runs s2.db) points run, 0 were there" out
"$tandem" run --trace fine.csv --db own.db --quiet
echo '{"name": "one", "base": {"trace": "fine.csv"}}' >one.json
sweep one.json --db own.db || fail 'a run of one'\''s own'
has '0 points run, 1 were there' out
same 'and it is the experiment'\''s' one "$(sqlite3 own.db 'SELECT experiment FROM runs')"
echo '{"name": "one", "base": {"trace": "fine.csv", "max_num_seqs": 7}}' >changed.json
sweep changed.json --db own.db || fail 'a changed experiment'
same 'runs of points that are no more keep no name' 'null|256 one|7' "$(sqlite3 own.db "SELECT
    group_concat(coalesce(experiment, 'null') || '|' || (config ->> '\$.max_num_seqs'), ' ')
    FROM (SELECT * FROM runs ORDER BY id)")"
sqlite3 own.db "UPDATE runs SET git_revision = 'other'"
sweep one.json --db own.db || fail 'another revision'
has '1 points run, 0 were there' out

# ---- the manners of the command line ----
bad 'give an EXPERIMENT.json' sweep
bad 'nothere.json: cannot be read' sweep nothere.json
for shard in 5/4 0/4 1 1/ /2 1/2x -1/2 1/0 a/b 99999999999999999999/2; do
    bad "--shard $shard: give I/N" sweep e.json --shard $shard
done
for jobs in 0 -1 x 2x 5000; do bad "-j $jobs: give a number" sweep e.json -j$jobs; done
bad 'unexpected argument' sweep e.json one.json
bad 'unknown option --shrad; the nearest is --shard' sweep e.json --shrad 1/2
echo '{"name": "x", "axes": {"schedulr": ["fcfs"]}}' >typo.json
bad 'typo.json:1:24: axes: schedulr: unknown key; the nearest is scheduler' sweep typo.json
bad '/nonexistent/t.db.parts: cannot be made' sweep one.json --db /nonexistent/t.db
bad 'plain.db' sweep one.json --db plain.db
mkdir held.db.parts
exec 4>held.db.parts/lock
flock 4
bad 'held.db: another sweep writes to it' sweep one.json --db held.db
same 'what others hold stays' held.db.parts/lock "$(ls held.db.parts/lock)"
exec 4>&-
sweep one.json --db held.db || fail 'what others left'
(
    trap '' XFSZ
    ulimit -f 64 # of 1 KiB: what a full disk looks like
    "$tandem" sweep e.json --db full.db >out 2>err
    echo $? >code
)
same 'disk full: exit code' 2 "$(cat code)"
grep -q '^tandem: .*disk' err || fail 'disk full: not said so'
sweep e.json --db full.db || fail 'after the full disk'
same 'after a full disk the rows are the same' "$(sha256sum <whole.rows)" \
    "$(rows full.db | sha256sum)"

finish sweep.sh
