# shellcheck shell=bash
# lib.sh PROGRAM: what tests of sweeps share. Sourced from the source root; goes into a folder of its
# own, gone at the end. Needs the sqlite3 shell.
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
    tail -n 5 out err 2>/dev/null | sed 's/^/  /'
    failures=$((failures + 1))
}
# same WHAT EXPECTED GOT
same() { [[ $2 == "$3" ]] || fail "$1: $3, not $2"; }
# has TEXT FILE
has() { grep -qF -- "$1" "$2" || fail "no \"$1\" in $2"; }

# bad TEXT ARGUMENT...: exit code 2 and one line, with TEXT.
bad() {
    local text=$1
    shift
    "$tandem" "$@" >out 2>err
    same "exit code of tandem $*" 2 $?
    same "lines on stderr of tandem $*" 1 "$(wc -l <err)"
    has "$text" err
}

# rows DB: every row of a database, with the key of its run in place of ids, without wall times.
rows() { all_rows "$1" | LC_ALL=C sort; }
all_rows() {
    local table columns
    sqlite3 "$1" "SELECT config_hash, seed, rep, experiment, point, config, digest, trace_sha256,
        inputs_sha256, scheduler, slo_source, cost_model, git_revision, dirty, status FROM runs"
    for table in summary requests tenants timeline histograms; do
        columns=$(sqlite3 "$1" "SELECT group_concat('t.' || name) FROM
            pragma_table_info('$table') WHERE name <> 'run_id'")
        sqlite3 "$1" "SELECT '$table', config_hash, seed, rep, $columns FROM $table AS t
            JOIN runs AS r ON r.id = t.run_id"
    done
}
runs() { sqlite3 "$1" 'SELECT count(*) FROM runs' 2>/dev/null || echo 0; }

# finish NAME: the last line, and the exit code.
finish() {
    if [[ $failures != 0 ]]; then
        echo "$1: $failures failed"
        exit 1
    fi
    echo "$1: all well"
}
