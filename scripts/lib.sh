# shellcheck shell=bash
# What the scripts share. Sourced, from the repository root, by a script that has set `pipefail`.

die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 2
}

# help_if_asked "$@": prints the comment at the head of the script when --help is among the words.
help_if_asked() {
    local word
    for word in "$@"; do
        if [[ $word == --help || $word == -h ]]; then
            awk 'NR == 1 { next } /^#/ { sub(/^# ?/, ""); print; next } { exit }' "$0"
            exit 0
        fi
    done
}

# C and CUDA sources that git knows or could add; outside a checkout, those in our folders.
c_sources() {
    if [[ "$(git rev-parse --show-toplevel 2>/dev/null)" == "$PWD" ]]; then
        git ls-files -co --exclude-standard -- '*.c' '*.h' '*.cu' '*.cuh' |
            while IFS= read -r file; do if [[ -e $file ]]; then echo "$file"; fi; done
    else
        find sim backend policies traces experiments tests -name '*.[ch]' -o -name '*.cu' \
            -o -name '*.cuh' | sort
    fi
}

# Runs a command with its output in a file; shows the end of it only if the command fails.
quietly() {
    local log
    log=$(mktemp)
    if "$@" >"$log" 2>&1 </dev/null; then
        rm -f "$log"
        return 0
    fi
    tail -n 60 "$log" >&2
    rm -f "$log"
    return 1
}

as_root() {
    if [[ $(id -u) == 0 ]]; then "$@"; else sudo "$@"; fi
}

apt_get() {
    quietly as_root env DEBIAN_FRONTEND=noninteractive apt-get -y -q "$@"
}

# need_packages WHAT...: installs Debian packages that are missing, and only those. WHAT is a
# package, or `command=package` where any provider of the command will do.
need_packages() {
    local what missing=()
    for what in "$@"; do
        if [[ $what == *=* ]]; then
            command -v "${what%%=*}" >/dev/null || missing+=("${what#*=}")
        elif [[ "$(dpkg-query -W -f='${Status}' "$what" 2>/dev/null)" != *" installed" ]]; then
            missing+=("$what")
        fi
    done
    if [[ ${#missing[@]} == 0 ]]; then return 0; fi
    if ! command -v apt-get >/dev/null || { [[ $(id -u) != 0 ]] && ! command -v sudo >/dev/null; }
    then
        die "missing packages, and no way to install them here; install: ${missing[*]}"
    fi
    echo "installing ${missing[*]}"
    if ! compgen -G '/var/lib/apt/lists/*Packages*' >/dev/null; then
        apt_get update || die "apt-get update failed; see above"
    fi
    apt_get install --no-install-recommends "${missing[@]}" ||
        { apt_get update && apt_get install --no-install-recommends "${missing[@]}"; } ||
        die "could not install ${missing[*]}; see above"
}

# Runs a command during which Debian starts no service of a package that is installed.
without_services() {
    local policy=/usr/sbin/policy-rc.d failed=0
    if [[ -e $policy ]] || ! command -v dpkg >/dev/null; then
        "$@"
        return
    fi
    printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
    as_root chmod +x $policy
    ("$@") || failed=1
    as_root rm -f $policy
    return $failed
}

need_build_packages() {
    need_packages build-essential cmake ninja=ninja-build pkg-config=pkg-config libgsl-dev \
        libsqlite3-dev libjansson-dev zlib1g-dev libyaml-dev nettle-dev check gnuplot=gnuplot-nox
}

need_check_packages() {
    need_packages clang=clang libclang-rt-dev clang-format=clang-format clang-tidy=clang-tidy \
        cppcheck=cppcheck shellcheck=shellcheck sqlite3=sqlite3
    # tests/cli/slurm.sh starts daemons of its own, and skips without them.
    (without_services need_packages sbatch=slurm-wlm munged=munge) || true
}
