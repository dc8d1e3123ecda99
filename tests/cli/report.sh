#!/bin/bash
# report.sh TANDEM: `tandem report`: the page, its pictures and the timelines of a sweep whose names
# are hostile; what is wrong with the machine is one line and leaves nothing that looks whole; the
# examples of other people's scripts. Run from the source root; needs the sqlite3 shell; gnuplot,
# python3 and xmllint where they are installed.
set -u
plot=$(realpath scripts/plot)
# shellcheck source=tests/cli/lib.sh
. tests/cli/lib.sh "$1"

mkdir scripts && ln -s "$plot" scripts/plot # a program built elsewhere finds them here

installed() { command -v "$1" >/dev/null || { echo "SKIP: part of report.sh: no $1" && return 1; }; }

# ---- a sweep with names that a page could trip over ----
echo '{"name": "<i>", "claim": "vtc & fcfs: \"1 < 2\"", "base": {"trace": "t.csv", "num_gpu_blocks": 400},
    "axes": {"scheduler": ["fcfs", "vtc"], "trace.rate_scale": [1, 3]}, "seeds": [1, 2]}' >e.json
{
    echo arrival_s,prompt_tokens,output_tokens,tenant
    for i in {0..199}; do
        tenant='<script>alert(1)</script>'
        if ((i % 3 == 0)); then tenant=$'M\xfcller & S\xc3\xb6hne'; fi
        printf '%d.%02d,%d,%d,%s\n' $((i / 20)) $((i % 20 * 5)) $((i * 37 % 900 + 50)) \
            $((i * 13 % 200 + 5)) "$tenant"
    done
} >t.csv
"$tandem" sweep e.json --db e.db --quiet 2>err || fail 'sweep'
"$tandem" run --trace t.csv --steps --replicas 2 --set num_gpu_blocks=400 --db e.db --quiet 2>err ||
    fail 'run'
same 'the claim is stored' 'vtc & fcfs: "1 < 2"' "$(sqlite3 e.db 'SELECT claim FROM experiments')"

"$tandem" report e.db --out r --csv >out 2>err || fail 'report'
same 'nothing on stderr' '' "$(cat err)"
has 'Page     r/report.html' out
has '&lt;script&gt;alert(1)&lt;/script&gt;' r/report.html
has 'vtc &amp; fcfs: &quot;1 &lt; 2&quot;' r/report.html
same 'scripts, links and addresses on the page' '' \
    "$(grep -oE '<script|<link|<iframe|(src|href)="[^#d][^"]*"|@import|url\(' r/report.html)"
same 'files that are not whole' '' "$(find r -name '*.unfinished')"
if installed xmllint; then xmllint --noout r/report.html >out 2>&1 || fail 'well formed'; fi
run=$(sqlite3 e.db 'SELECT max(id) FROM runs')
same 'a slice a step' "$(sqlite3 e.db 'SELECT count(*) FROM steps')" \
    "$(grep -c '"ph":"X"' "r/trace-$run.json")"
if installed python3; then
    for trace in r/trace-*.json; do
        python3 -c 'import json, sys; json.load(open(sys.argv[1]))' "$trace" 2>err ||
            fail "$trace is JSON"
    done
fi
"$tandem" report e.db --experiment '<i>' --out one >out 2>err || fail 'one experiment'
has '<title>&lt;i&gt; ' one/report.html
[[ ! -e one/trace-$run.json ]] || fail 'a run of no experiment'

# ---- the same database gives the same page; what is there is replaced ----
cp one/report.html before.html
"$tandem" report e.db --experiment '<i>' --out one >out 2>err || fail 'again'
cmp -s before.html one/report.html || fail 'the same page again'

# ---- claims: merged; a database of an older program has none, and gets them ----
"$tandem" merge merged.db e.db >out 2>err || fail 'merge'
same 'the claim is merged' 'vtc & fcfs: "1 < 2"' "$(sqlite3 merged.db 'SELECT claim FROM experiments')"
sqlite3 merged.db 'DROP TABLE experiments; DROP VIEW pareto'
"$tandem" report merged.db --out old --csv >out 2>err || fail 'an older database'
same 'no claim on its page' 0 "$(grep -c 'class="claim"' old/report.html)"
"$tandem" merge again.db merged.db >out 2>err || fail 'merge an older database'
"$tandem" sweep e.json --db merged.db --quiet 2>err || fail 'sweep into an older database'
same 'then it has the claim' 1 "$(sqlite3 merged.db 'SELECT count(*) FROM experiments')"

# ---- the machine ----
PATH=/nonexistent "$tandem" report e.db --out bare >out 2>err || fail 'without gnuplot'
has 'gnuplot is not installed; apt-get install gnuplot-nox' out
has 'gnuplot was not installed when this page was made' bare/report.html
bad 'unwritable: Not a directory' report e.db --out /dev/null/unwritable/x
same 'nothing is said before that' '' "$(cat out)"
bad 'nothere.db' report nothere.db --out no
sqlite3 e.db '.backup other.db' && sqlite3 other.db 'PRAGMA user_version = 9'
bad 'made by a newer tandem (schema 9' report other.db --out no
echo 'no database, and longer than nothing' >plain.db
bad 'plain.db' report plain.db --out no
same 'no report of what is none' '' "$(ls no 2>/dev/null)"

# full KIB: a disk that takes no file of more than so many KiB.
full() {
    (
        trap '' XFSZ
        ulimit -f "$1"
        "$tandem" report e.db --out full >out 2>err
        echo $? >code
    )
    same "disk full at $1 KiB: exit code" 2 "$(cat code)"
    same "disk full at $1 KiB: lines on stderr" 1 "$(wc -l <err)"
    has 'space' err
    same "disk full at $1 KiB: no page" '' "$(ls full/report.html 2>/dev/null)"
    same "disk full at $1 KiB: nothing half" '' "$(find full -name '*.unfinished')"
}
if installed gnuplot; then
    full 8   # not even a picture
    full 200 # the pictures, not the page
    for picture in full/*.svg; do tail -c 16 "$picture" | grep -q '</svg>' || fail "$picture"; done
fi

# ---- a database that is being written to: as of the last run that was stored ----
# write SQL: another process carries it out and keeps its locks until `let_go`.
write() {
    rm -f fifo written
    mkfifo fifo
    sqlite3 e.db <fifo >/dev/null &
    exec 5>fifo
    printf '%s\n' "$1" '.shell touch written' >&5
    for _ in {1..100}; do [[ -e written ]] && return; sleep 0.1; done
    fail "$1"
}
let_go() {
    exec 5>&-
    wait
}
write 'PRAGMA journal_mode = WAL; BEGIN IMMEDIATE; DELETE FROM runs;'
"$tandem" report e.db --out live >out 2>err || fail 'beside a writer'
has '9 runs of 5 configurations' live/report.html
let_go
write 'PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE;'
bad 'e.db: database in use by another process' report e.db --out no
let_go

# ---- other people's scripts ----
if installed gnuplot; then
    gnuplot -c "$plot/examples/slo_by_load.gp" e.db slo.png >out 2>&1 || fail 'slo_by_load.gp'
    same 'slo_by_load.gp draws' PNG "$(head -c 4 slo.png | tail -c 3)"
fi
if installed python3; then
    python3 "$plot/examples/ttft.py" e.db >out 2>err || fail 'ttft.py'
    same 'ttft.py has every run' "$(runs e.db)" "$(grep -c 'p50 p90 p99' out)"
fi

finish report.sh
