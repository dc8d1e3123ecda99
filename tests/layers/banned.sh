#!/usr/bin/env bash
# Calls that no source of ours makes, and why: no seed (rand), no end (strcpy, sprintf, gets), no
# error (atoi), hidden state (strtok), the wall clock where simulated time is meant (time), the
# stack (alloca), a way out past the caller (exit, abort) and output past it (printf, puts).
set -euo pipefail
cd "$(dirname "$0")/../.."

status=0
# ban NAMES WHERE-ALLOWED: both are alternatives of an extended regular expression.
ban() {
    local found
    found=$(find sim policies backend traces experiments tests -name '*.[ch]' -o -name '*.cu' \
        -o -name '*.cuh' | sort | grep -vE "^($2)" |
        xargs grep -nE "(^|[^A-Za-z0-9_])($1)\(" || true)
    if [[ -n $found ]]; then
        printf '%s\n' "$found"
        status=1
    fi
}

ban 'rand|srand|random|srandom|time|strcpy|strcat|sprintf|vsprintf|atoi|atol|atof|strtok|gets|alloca' \
    'nowhere'
ban 'exit|_exit|abort' \
    'sim/base\.c|experiments/(main|workers)\.c|tests/' # a forked worker ends in place
ban 'printf|vprintf|puts|putchar|perror' \
    'sim/base\.c|experiments/(cmd_[a-z_]*|report[a-z_]*|main)\.c|tests/'
if [[ $status != 0 ]]; then echo "banned calls: see the head of tests/layers/banned.sh"; fi
exit "$status"
