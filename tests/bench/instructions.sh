#!/usr/bin/env bash
# Usage: tests/bench/instructions.sh TANDEM COMPILER [--update]
#
# Instructions that whole processes of the program take, counted by callgrind (they hardly depend
# on the machine or on what else it does), held against tests/bench/instructions.txt: more than 5 %
# above is a failure (exit 1). The counts are of one compiler; of another nothing is compared, and
# exit 77 says so. Prints which part of the program the instructions went to. --update writes the
# file anew.
set -euo pipefail
cd "$(dirname "$0")/../.."
[[ $# -ge 2 ]] || { sed -n '2,9s/^# \?//p' "$0"; exit 2; }
tandem=$1 compiler=$2 update=${3:-}
kept=tests/bench/instructions.txt
tolerance=5

if ! command -v valgrind >/dev/null; then
    echo "SKIP: valgrind is not installed: no instructions were counted"
    exit 77
fi
if [[ $update != --update ]] && ! grep -qxF "compiler $compiler" "$kept"; then
    echo "SKIP: $kept is of '$(sed -n 's/^compiler //p' "$kept")', this is '$compiler'"
    exit 77
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

spec=generate:poisson,n=2000
"$tandem" trace generate generate:burstgpt,n=20000,days=true,cv=1.6 --trace-format burstgpt \
    -o "$dir/burst.csv" >"$dir/log"

# NAME ARGUMENT...: counts; prints where the instructions went.
count() {
    local name=$1 n
    shift
    if ! valgrind --tool=callgrind --callgrind-out-file="$dir/$name" "$tandem" "$@" \
        >"$dir/log" 2>&1; then
        cat "$dir/log"
        exit 2
    fi
    n=$(sed -n 's/^\(summary\|totals\): *//p' "$dir/$name" | tail -1)
    echo "$name $n" >>"$dir/counts"
    printf '%-14s %12d' "$name" "$n"
    callgrind_annotate --threshold=100 --auto=no "$dir/$name" 2>/dev/null | awk '
        /^ *[0-9,]+ \(.*%\)/ && !/PROGRAM TOTALS/ {
            n = $1; gsub(/,/, "", n)
            part = "other"
            if (match($0, /(sim|policies|backend|traces|experiments)\/[a-z0-9_]+\.[ch]:/))
                part = substr($0, RSTART, index(substr($0, RSTART), "/") - 1)
            else if (match($0, /lib(sqlite3|z|jansson|nettle|c)\.so/))
                part = substr($0, RSTART, RLENGTH - 3)
            of[part] += n; all += n
        }
        END {
            for (p in of) printf "%.1f %s\n", 100 * of[p] / all, p
        }' | sort -rn | awk '$1 >= 1 { printf "  %s %s %%", $2, $1 } END { print "" }'
}

count start run --trace generate:poisson,n=1 --quiet --db "$dir/start.db"
count rows run --trace "$spec,rate=6" --quiet --db "$dir/rows.db"
count overload run --trace "$spec,rate=60,tenants=100" --scheduler vtc --no-requests --quiet \
    --db "$dir/overload.db"
count prefixes run --trace "$spec,rate=40,tenants=10,prefix_groups=50" --scheduler dlpm \
    --no-requests --quiet --db "$dir/prefixes.db"
count replicas run --trace "$spec,rate=200" --replicas 100 --router power_of_two --no-requests \
    --quiet --db "$dir/replicas.db"
count parse trace info "$dir/burst.csv"

if [[ $update == --update ]]; then
    {
        echo "# Instructions of whole processes (tests/bench/instructions.sh --update writes this)."
        echo "compiler $compiler"
        cat "$dir/counts"
    } >"$kept"
    exit 0
fi
awk -v tolerance=$tolerance '
    NR == FNR { if ($1 !~ /^(#|compiler)/) was[$1] = $2; next }
    !($1 in was) { printf "%s is not in the file; run with --update\n", $1; bad = 1; next }
    {
        change = 100 * ($2 / was[$1] - 1)
        verdict = change > tolerance ? "TOO MANY" : change < -tolerance ? "fewer: run with --update" : "ok"
        printf "%-14s %+6.1f %%  %s\n", $1, change, verdict
        bad = bad || change > tolerance
    }
    END { exit bad }' "$kept" "$dir/counts"
