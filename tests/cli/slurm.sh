#!/bin/bash
# slurm.sh TANDEM: scripts/slurm-sweep on a Slurm of one node and our own: munged, slurmctld and
# slurmd as processes of this test, on loopback, with keys, ports and files in its folder. A sweep in
# four shards, one of them killed, must make the rows of an ordinary sweep. Run from the source root;
# needs the sqlite3 shell and, for all but the manners of the command line, slurm-wlm and munge.
set -u
slurm_sweep=$(realpath scripts/slurm-sweep)
# shellcheck source=tests/cli/lib.sh
. tests/cli/lib.sh "$1"
build=$(dirname "$tandem")

# refused TEXT ARGUMENT...: exit code 2 and one line, with TEXT. With the programs in $path only.
refused() {
    local text=$1
    shift
    PATH=${path:-$PATH} "$slurm_sweep" --build "$build" "$@" >out 2>err
    same "exit code of slurm-sweep $*" 2 $?
    same "lines on stderr of slurm-sweep $*" 1 "$(wc -l <err)"
    has "slurm-sweep: $text" err
}
sweep_there() { "$slurm_sweep" --build "$build" --poll 1 "$@" >out 2>err; }
# The same, while something else goes on here.
sweep_behind() {
    "$slurm_sweep" --build "$build" --poll 1 "$@" >behind.out 2>behind.err &
    behind=$!
}
wait_for_it() {
    local code
    wait $behind
    code=$?
    mv behind.out out
    mv behind.err err
    return $code
}

# ---- without a cluster ----
trace='generate:poisson,n=1500,rate=20,tenants=4'
cat >e.json <<JSON
{"name": "all", "base": {"trace": "$trace"},
 "axes": {"scheduler": ["fcfs", "vtc"]}, "seeds": [1]}
JSON
refused 'give an EXPERIMENT.json' --db s.db
refused 'give --db OUT.db' e.json
refused '--shards 0: give a whole number from 1' e.json --db s.db --shards 0
refused '--cpus x: give a whole number' e.json --db s.db --cpus x
refused '--retries -1: give a whole number from 0' e.json --db s.db --retries -1
refused '--shards needs a value' e.json --db s.db --shards
refused '--shrads: unknown option' e.json --shrads 3
refused 'two.json: one experiment at a time' e.json two.json --db s.db
refused "nowhere/tandem: not there; run scripts/build" e.json --db s.db --build nowhere
mkdir bin
for program in bash env dirname basename realpath; do
    ln -s "$(command -v $program)" bin/
done
path=$dir/bin refused 'sbatch: not there; run this where jobs are submitted' e.json --db s.db
same 'nothing is made' 'bin e.json err out' "$(echo *)"

PATH=$PATH:/usr/sbin
for program in munged slurmctld slurmd sbatch squeue scancel; do
    command -v $program >/dev/null || {
        echo "SKIP: no $program; apt-get install slurm-wlm munge"
        ((failures == 0)) || finish slurm.sh
        exit 77
    }
done

# ---- a cluster ----

# Everything started here, and by what was started here, has the path of this slurm.conf.
kill_all() { # kill_all SIGNAL
    local environ
    for environ in /proc/[0-9]*/environ; do
        if grep -qsz "^SLURM_CONF=$dir/" "$environ"; then
            kill "-$1" "$(cut -d/ -f3 <<<"$environ")" 2>/dev/null
        fi
    done
}
clean_up() {
    trap '' INT TERM
    timeout 5 scancel --state=RUNNING,PENDING,SUSPENDED 2>/dev/null
    kill_all TERM
    sleep 0.5
    kill_all KILL
    rm -rf "$dir"
}
trap clean_up EXIT
trap 'exit 1' INT TERM

free_port() { # free_port FROM: the first that nobody listens on
    local port=$1
    while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
    echo "$port"
}

start_slurm() {
    local host me port
    host=$(hostname -s)
    me=$(id -un)
    port=$(free_port $((20000 + $$ % 20000)))
    chmod 711 "$dir" # munged insists that its socket can be reached
    mkdir -p slurm/state slurm/spool tmp
    (umask 077 && head -c 128 /dev/urandom >slurm/munge.key)
    cat >slurm/slurm.conf <<CONF
ClusterName=tandem
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$(free_port $((port + 1)))
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$dir/slurm/munge.sock
SlurmUser=$me
SlurmdUser=$me
StateSaveLocation=$dir/slurm/state
SlurmdSpoolDir=$dir/slurm/spool
SlurmctldPidFile=$dir/slurm/slurmctld.pid
SlurmdPidFile=$dir/slurm/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SwitchType=switch/none
KillWait=2
SchedulerParameters=sched_min_interval=0,sched_interval=1,bf_interval=1
SlurmdParameters=config_overrides
NodeName=tandem NodeHostname=$host NodeAddr=127.0.0.1 CPUs=4
PartitionName=main Nodes=tandem Default=YES State=UP
CONF
    export SLURM_CONF=$dir/slurm/slurm.conf TMPDIR=$dir/tmp
    munged --foreground --force --num-threads=1 --key-file=slurm/munge.key \
        --socket="$dir/slurm/munge.sock" --pid-file="$dir/slurm/munge.pid" \
        --log-file="$dir/slurm/munge.log" --seed-file="$dir/slurm/munge.seed" \
        >slurm/munged.out 2>&1 &
    for _ in {1..50}; do [[ -S slurm/munge.sock ]] || sleep 0.1; done
    slurmctld -D -c >slurm/slurmctld.out 2>&1 &
    slurmd -D -N tandem -c >slurm/slurmd.out 2>&1 &
    for _ in {1..75}; do
        [[ $(timeout 5 sinfo --noheader --format=%t 2>/dev/null) == idle ]] && return
        sleep 0.2
    done
    return 1
}

if ! start_slurm; then
    echo 'SKIP: a Slurm of our own does not start here; the last words of its daemons:'
    tail -qn 3 slurm/*.out
    ((failures == 0)) || finish slurm.sh
    exit 77
fi

# ---- an experiment that takes some seconds, on this machine, with this build ----
experiment() { # experiment SEEDS
    cat >e.json <<JSON
{"name": "all", "base": {"trace": "$trace", "max_request_rows": 100},
 "axes": {"scheduler": ["fcfs", "vtc"], "trace.rate_scale": [1, 1.5]}, "seeds": [$1]}
JSON
}
experiment 1,2,3,4
started=$(date +%s%N)
"$tandem" sweep e.json --db warm.db --quiet || fail 'a sweep'
took_ms=$((($(date +%s%N) - started) / 1000000 + 1))
seeds=$((4 * 4000 / took_ms))
seeds=$((seeds < 8 ? 8 : seeds > 400 ? 400 : seeds))
points=$((4 * seeds))
experiment "$(seq -s, $seeds)"
"$tandem" sweep e.json --db whole.db --quiet || fail 'a sweep'
rows whole.db >whole.rows
whole=$(sha256sum <whole.rows)
same 'all points' $points "$(runs whole.db)"

# running_shard I DB: the id of the sweep of that shard, once it has stored a run.
running_shard() {
    local pid db
    for _ in {1..300}; do
        for pid in $(pgrep -f -- "--have $dir/$2 --shard $1/4"); do
            db=$(tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null | grep '/all.db$')
            if [[ $db && $(runs "$db") -gt 0 ]]; then
                pgrep -o -f -- "--have $dir/$2 --shard $1/4" # not one of its workers
                return
            fi
        done
        sleep 0.1
    done
    fail "shard $1 of $2 does not run"
    return 1
}

# ---- one shard killed, and no second chance ----
sweep_behind e.json --db killed.db --shards 4 --retries 0
victim=$(running_shard 2 killed.db) && kill -KILL "$victim"
refused "$dir/killed.db: another slurm-sweep waits" e.json --db killed.db
wait_for_it
same 'a shard that is killed for good: exit code' 2 $?
same 'a shard that is killed for good: one line' 1 "$(wc -l <err)"
has 'killed.db: shard 2 of 4 failed 1 times: ' err
has "see $dir/killed.db.slurm/shard-2.log; what finished is stored" err
[[ -s killed.db.slurm/shard-2.log ]] || fail 'the log that it names is there'
stored=$(runs killed.db)
((stored > points - points / 4 && stored < points)) ||
    fail "$stored of $points points are stored: not what the killed shard had, too"

sweep_there e.json --db killed.db --shards 4 --detach -- --hold
same 'detached: exit code' 0 $?
has "$((points - stored)) points in 4 shards" out
has 'round 1: 4 waiting, 0 running, 0 ended of 4 shards' out
has 'waiting: JobHeldUser' out
timeout --foreground --signal=INT 2 "$slurm_sweep" --build "$build" --poll 1 e.json --db killed.db \
    >out 2>err
same 'interrupted: one line' 1 "$(wc -l <err)"
has 'goes on: run this again to collect it, or scancel ' err
cp e.json other.json
echo >>other.json
refused "$dir/killed.db.slurm: job " other.json --db killed.db
scontrol release "$(cut -d' ' -f1 killed.db.slurm/job)"
sweep_there e.json --db killed.db
same 'collected: exit code' 0 $?
has 'going on with job' out
has "all points are in $dir/killed.db" out
same 'killed, detached and collected: the same rows' "$whole" "$(rows killed.db | sha256sum)"
same 'nothing is left beside it' '' "$(ls -d killed.db?* 2>/dev/null)"

# ---- a task cancelled, and tried again ----
sweep_behind e.json --db again.db --shards 4
if running_shard 3 again.db >/dev/null; then
    scancel "$(cut -d' ' -f1 again.db.slurm/job)_3"
fi
wait_for_it
same 'a task that is cancelled: exit code' 0 $?
has 'trying again: shard 3 of 4: ' out
has "all points are in $dir/again.db" out
same 'cancelled and tried again: the same rows' "$whole" "$(rows again.db | sha256sum)"
same 'nothing is left on the node' '' "$(ls tmp)"
sweep_there e.json --db again.db
same 'once more: exit code' 0 $?
same 'once more: nothing to do' "all points are in $dir/again.db" "$(cat out)"

# ---- what cannot be done ----
{ echo arrival_s,prompt_tokens,output_tokens; echo 0,10,5; echo 1,x,5; } >broken.csv
{ echo arrival_s,prompt_tokens,output_tokens; echo 0,10,5; } >fine.csv
echo '{"name": "some", "axes": {"trace": ["fine.csv", "broken.csv"]}}' >some.json
sweep_there some.json --db some.db --retries 1
same 'a point that fails: exit code' 2 $?
has 'trying again: shard 2 of 2: ' out
has 'shard 2 of 2 failed 2 times: tandem: sweep: 1 of 1 points failed' err
has 'broken.csv:3: column prompt_tokens' some.db.slurm/shard-2.log
same 'the other one is stored' 1 "$(runs some.db)"
refused 'sbatch refused the job: ' e.json --db none.db --partition nowhere
has 'nvalid partition' err
refused 'sbatch refused the job: ' e.json --db none.db -- --nonsense
echo '{"name": "x", "axes": {"schedulr": ["fcfs"]}}' >typo.json
refused 'typo.json:1:24: axes: schedulr: unknown key; the nearest is scheduler' typo.json --db t.db
printf 'not a database, and longer than nothing' >plain.db
refused "$dir/plain.db: " e.json --db plain.db
same 'what is refused makes nothing' '' "$(ls t.db* none.db 2>/dev/null)"

finish slurm.sh
