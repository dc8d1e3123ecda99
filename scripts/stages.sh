# shellcheck shell=bash
# Stages of scripts/check and scripts/test-long: each prints one line with its seconds, failures
# with what they said, and all are counted. Sourced after lib.sh, from the repository root.

passed=0
failed=0
skipped=0
log_dir=build-check
mkdir -p "$log_dir"

# report NAME STARTED VERDICT
report() {
    printf '%-46s %4d s  %s\n' "$1" $((SECONDS - $2)) "$3"
}

# stage NAME COMMAND...: counts as one test.
stage() {
    local name=$1 started=$SECONDS log
    log=$log_dir/${name//[^A-Za-z0-9]/-}.log
    shift
    if "$@" >"$log" 2>&1 </dev/null; then
        passed=$((passed + 1))
        report "$name" "$started" ok
        return 0
    fi
    failed=$((failed + 1))
    report "$name" "$started" "FAILED: the end of $log"
    tail -n 40 "$log" | sed 's/^/    /'
    return 1
}

# ctest_stage NAME ARGUMENTS-OF-CTEST...: counts every test that ran. A program that passed but
# printed a line "SKIP: why" left something out, and counts as skipped.
ctest_stage() {
    local name=$1 started=$SECONDS log counts status=0 ok bad left_out
    log=$log_dir/${name//[^A-Za-z0-9]/-}.log
    shift
    ctest -j "$(nproc)" --verbose "$@" >"$log" 2>&1 </dev/null || status=$?
    counts=$(awk '
        /^[0-9]+: SKIP: / { skip[$1 + 0] = 1 }
        /^ *[0-9]+\/[0-9]+ Test +#[0-9]+: / {
            match($0, /#[0-9]+:/)
            number = substr($0, RSTART + 1, RLENGTH - 2)
            if (/ Passed /)
                if (number in skip) skipped++; else passed++
            else if (/\*\*\*Skipped/)
                skipped++
            else
                failed++
        }
        END { print passed + 0, failed + 0, skipped + 0 }' "$log")
    read -r ok bad left_out <<<"$counts"
    if [[ $status != 0 && $bad == 0 ]]; then bad=1; fi
    passed=$((passed + ok))
    failed=$((failed + bad))
    skipped=$((skipped + left_out))
    if [[ $bad == 0 ]]; then
        report "$name" "$started" "ok: $ok passed, $left_out skipped"
    else
        report "$name" "$started" "FAILED: $bad of $((ok + bad + left_out)); see $log"
        show_failures "$log"
    fi
    sed -nE 's/^[0-9]+: (SKIP: )/    \1/p' "$log" | sort -u
    [[ $bad == 0 ]]
}

# The output of the tests that failed, the last 25 lines of each; all of a log without any.
show_failures() {
    awk '
        /^[0-9]+: / { number = $1 + 0; line[number, n[number]++] = $0 }
        /^ *[0-9]+\/[0-9]+ Test +#[0-9]+: / && !/ Passed / && !/\*\*\*Skipped/ {
            match($0, /#[0-9]+:/)
            number = substr($0, RSTART + 1, RLENGTH - 2)
            print "    " $0
            for (i = n[number] > 25 ? n[number] - 25 : 0; i < n[number]; i++)
                print "    " line[number, i]
            any = 1
        }
        { last[NR % 15] = $0 }
        END { if (!any) for (i = NR - 14; i <= NR; i++) if (i > 0) print "    " last[i % 15] }' "$1"
}

# closing_line: the last line of a script's output, which CI reads; its status says the same.
closing_line() {
    echo "$passed passed, $failed failed, $skipped skipped"
    [[ $failed == 0 ]]
}

# compile PRESET: configures and builds one of CMakePresets.json.
compile() {
    cmake --preset "$1" && cmake --build --preset "$1"
}

# The program's sources, what changed last first: so a budget of time is spent on what is new. Not
# the tests, in clang-tidy and cppcheck both: they take Check's assertions for functions that return.
# Where CUDA is not installed, not what includes its headers.
recent_first() {
    local left_out='^tests/'
    if ! command -v nvcc >/dev/null; then
        left_out='^tests/|^backend/cuda/(blas|copies|device_cuda|forward|load|open)\.c$'
    fi
    {
        git status --porcelain 2>/dev/null | cut -c4-
        git log --format= --name-only -n 20 2>/dev/null
        c_sources
    } | grep '\.c$' | grep -vE "$left_out" | awk '!seen[$0]++' |
        while IFS= read -r file; do if [[ -e $file ]]; then echo "$file"; fi; done
}

tidy_one() {
    if [[ $(date +%s) -ge $1 ]]; then return 0; fi
    echo "$2"
    clang-tidy -p build-clang --quiet "$2" 2>/dev/null
}

# tidy SECONDS: clang-tidy over the sources, starting none after that time; says how far it came.
tidy() {
    local until=$(($(date +%s) + $1)) status=0 list=$log_dir/tidy.txt
    export -f tidy_one
    recent_first | xargs -P "$(nproc)" -I '{}' bash -c "tidy_one $until '{}'" >"$list" || status=$?
    cat "$list"
    echo "analysed $(grep -c '^[a-z]*/.*\.c$' "$list") of $(recent_first | wc -l) sources"
    return "$status"
}

# An index that is read before another condition on it (arrayIndexThenCheck) is what ASan is for.
run_cppcheck() {
    recent_first |
        xargs cppcheck -q -j "$(nproc)" --std=c11 --language=c -I . -D_GNU_SOURCE --inline-suppr \
            --enable=warning,performance,portability --error-exitcode=1 \
            --suppress=missingIncludeSystem --suppress=arrayIndexThenCheck
}

run_shellcheck() {
    grep -lE '^#!.*bash|shellcheck shell=bash' -r scripts tests .ci | sort | xargs shellcheck -x
}
