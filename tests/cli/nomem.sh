#!/bin/bash
# nomem.sh TANDEM NOMEM [STRIDE]: the n-th allocation of `run` from main on, the program's and its
# libraries', fails (nomem.c, the library NOMEM, to preload), for the first 20 n and then each STRIDE-th [97].
# Either the run did without and is whole, or it says so in one line, with exit code 2; what was
# committed before is there in both cases, and the run whole or not at all. Run from the source
# root; needs the sqlite3 shell.
set -u
nomem=$(realpath "$2")
stride=${3:-97}
# shellcheck source=tests/cli/lib.sh
. tests/cli/lib.sh "$1"

trace=generate:poisson,n=20,rate=20,prompt=fixed:50,output=fixed:5
# shellcheck disable=SC2154
"$tandem" run --trace "$trace" --db base.db --quiet || fail 'the run before'
run() { "$tandem" run --trace "$trace" --seed 5 --db db --quiet; }
cp base.db db
run || fail 'the run'
rows db >whole.rows
rows base.db >base.rows

failed=0
refused=0
for ((n = 1; ; n += n < 20 ? 1 : stride)); do
    rm -f db db-* mark
    cp base.db db
    LD_PRELOAD=$nomem TANDEM_NOMEM=$n TANDEM_NOMEM_MARK=mark run >out 2>err </dev/null
    code=$?
    [[ -e mark ]] || break
    failed=$((failed + 1))
    rows db >now
    if [[ $code == 0 ]]; then
        cmp -s now whole.rows || fail "allocation $n: done, with other rows"
    else
        refused=$((refused + 1))
        same "allocation $n: exit code" 2 $code
        same "allocation $n: lines" 1 "$(wc -l <err)"
        same "allocation $n: lines that are not its own" 0 "$(grep -vc '^tandem: ' err)"
        # The last ones are those of closing what is stored already.
        cmp -s now base.rows || cmp -s now whole.rows ||
            fail "allocation $n: refused, with other rows"
    fi
done
same 'without a failure: exit code' 0 "$code"
[[ $refused -gt 60 ]] || fail "only $failed allocations failed, $refused were reported"
echo "$failed allocations failed, $refused of them reported"
finish nomem.sh
