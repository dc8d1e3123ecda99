#!/usr/bin/env bash
# Usage: layering.sh CC LIBSIMCORE
#
# Dependencies point one way (architecture.md section 2): the table of what each folder may
# include; headers that stand alone, with the right guard; every .c opens with its own header; and
# simcore without a symbol of SQLite, jansson, zlib or CUDA.
set -euo pipefail
cd "$(dirname "$0")/../.."
cc=$1
simcore=$2

status=0
complain() {
    printf '%s\n' "$*"
    status=1
}

# may_include FOLDER QUOTED ANGLED-FORBIDDEN: files of FOLDER include in quotes only what matches
# QUOTED, and in angle brackets nothing that matches ANGLED-FORBIDDEN.
may_include() {
    local line file header
    while IFS= read -r line; do
        file=${line%%:*}
        header=$(sed -E 's/.*#[[:space:]]*include[[:space:]]*([<"][^>"]*).*/\1/' <<<"$line")
        if [[ $header == \"* ]]; then
            [[ ${header#\"} =~ ^($2)$ ]] || complain "$file may not include ${header#\"}"
        else
            [[ ! ${header#<} =~ ^($3) ]] || complain "$file may not include <${header#<}>"
        fi
    done < <(find "$1" -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' | sort |
        xargs grep -HE '^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]')
}

plain='base|arena|params|limits|hash|rng|names'
policy="$plain|scheduler|router|kvpolicy|kvrule|kvheads|prefix|prefix_clock|predictor|view|request|tenant_queue|u64_map|prefix_order|prefix_queue|prefix_dfs|token_ratio|wait_order|hold|levels|step_time"
formats='sqlite3|jansson|zlib|yaml|cuda|cublas'
may_include sim 'sim/[a-z0-9_]+\.h' "$formats"
may_include policies "sim/($policy)\.h|policies/registry\.(h|def)" "$formats|gsl"
may_include backend "sim/($plain|backend|content|model|kvpolicy|kvrule|engine_model|nearest)\.h|backend/.*" 'sqlite3'
may_include traces "sim/($plain|trace|content|request|nearest)\.h|traces/.*" 'sqlite3|cuda|cublas'
may_include experiments '(sim|policies|backend|traces|experiments)/.*' 'cuda|cublas'

# What lies in policies/ is registered (CMake checks that what is registered lies there).
declare -A kind=([sched]=SCHEDULER [router]=ROUTER [kv]=KVPOLICY [budget]=BUDGET [prefix]=PREFIX [pred]=PREDICTOR)
while IFS= read -r file; do
    name=$(basename "$file" .c)
    grep -q "^${kind[${name%%_*}]-no kind}(${name#*_})" policies/registry.def ||
        complain "$file is not in policies/registry.def"
done < <(find policies -name '*.c' ! -name registry.c)

# Headers that need CUDA's stand alone where those are.
without_cuda=()
if ! "$cc" -fsyntax-only -x c - <<<'#include <cublas_v2.h>' 2>/dev/null; then
    without_cuda=(! -path 'backend/cuda/*' ! -path 'tests/gpu/*')
fi
while IFS= read -r header; do
    guard=$(tr 'a-z/.' 'A-Z__' <<<"$header")
    grep -q "^#ifndef $guard\$" "$header" || complain "$header: its guard should be $guard"
    printf '#include "%s"\n#include "%s"\n' "$header" "$header" |
        "$cc" -std=c11 -D_GNU_SOURCE -I. -Wall -Wextra -Werror -fsyntax-only -x c - ||
        complain "$header does not stand alone"
done < <(find sim policies backend traces experiments tests -name '*.h' "${without_cuda[@]}" | sort)

while IFS= read -r header; do
    source=${header%.h}.c
    if [[ -e $source ]]; then
        [[ "$(grep -m1 '^#include' "$source")" == "#include \"$header\"" ]] ||
            complain "$source does not include its own header first"
    fi
done < <(find sim policies backend traces experiments tests -name '*.h' | sort)

symbols=$(nm -u "$simcore" | grep -E ' U (sqlite3_|json_|yaml_|gz|inflate|deflate|cuda|cu[A-Z])' |
    sort -u || true)
[[ -z $symbols ]] || complain "simcore uses what it must not know:" "$symbols"
exit "$status"
