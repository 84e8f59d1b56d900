#!/usr/bin/env bash
# bootstrap.sh - makes .venv with cdl and an extra (demo, test or dev) in it, from nothing but a clone.
#
#     tools/bootstrap.sh dev
#
# It needs a Python >= 3.11 with venv and headers, and a C compiler. What is missing is installed by apt-get
# on Debian and Ubuntu as root; elsewhere one line names the package. PYTHON= chooses another interpreter,
# VENV= another folder. A second call for the same extra does nothing,
# nor does a call for a part of dev after one for dev.
set -euo pipefail
cd "$(dirname "$0")/.."

extra=${1:-dev}
venv=${VENV:-.venv}
stamp=$venv/ready-$extra
for ready in "$stamp" "$venv/ready-dev"; do
    if [ -x "$venv/bin/python" ] && [ "$ready" -nt pyproject.toml ] && [ "$ready" -nt "$0" ]; then
        exit 0
    fi
done

say() { echo "cdl: $*" >&2; }

fail() {
    say "$*"
    exit 1
}

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

has_venv() {
    "$1" -c 'import ensurepip, venv' >/dev/null 2>&1
}

# The compiler that setuptools would call, on a file that includes Python.h.
compiles() {
    local compiler include
    compiler=${CC:-$("$1" -c 'import sysconfig; print(sysconfig.get_config_var("CC") or "cc")')}
    include=$("$1" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    # shellcheck disable=SC2086 # CC may hold options
    echo '#include <Python.h>' | $compiler -I"$include" -fsyntax-only -x c - >/dev/null 2>&1
}

is_complete() { is_new_enough "$1" && has_venv "$1" && compiles "$1"; }

candidates="${PYTHON:-python3.11 python3.12 python3.13 python3.14 python3 python}"

# Prints the first candidate that passes a test.
first_that() {
    for candidate in $candidates; do
        if "$1" "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

apt_install() {
    say "installing $* with apt-get"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >&2
}

python=$(first_that is_complete || true)
if [ -z "$python" ]; then
    found=$(first_that is_new_enough || true)
    version=$([ -z "$found" ] || "$found" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        apt-get update -q >&2 || say "apt-get update failed, trying with the old lists"
        apt_install gcc libc6-dev || true
        if [ -n "$version" ]; then
            apt_install "python$version-venv" "python$version-dev" || true
        fi
        if ! first_that is_complete >/dev/null; then
            apt_install python3 python3-venv python3-dev || true
        fi
        if ! first_that is_complete >/dev/null; then
            apt_install python3.11 python3.11-venv python3.11-dev || true
        fi
        python=$(first_that is_complete) ||
            fail "no Python >= 3.11 with venv, Python.h and a C compiler, and apt-get could not install one"
    elif [ -z "$found" ]; then
        fail "no Python >= 3.11 found: install python3.11 or newer (or set PYTHON=/path/to/python)"
    elif ! has_venv "$found"; then
        fail "$found has no venv module: install the package python$version-venv"
    elif ! command -v "${CC:-cc}" >/dev/null; then
        fail "no C compiler found: install the package gcc (or clang, and set CC=clang)"
    else
        fail "$found has no Python.h: install the package python$version-dev (python3-devel on Fedora)"
    fi
fi

if ! is_new_enough "$venv/bin/python" || ! compiles "$venv/bin/python"; then
    say "making $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv"
fi

# The core is compiled before pip is called, since pip hides how far that is. Without an environment of
# its own for the build pip takes the same objects, and leaves the tools for the next time that make builds.
export PYTHONWARNINGS=ignore PIP_DISABLE_PIP_VERSION_CHECK=1
say "installing what builds the core into $venv"
"$venv/bin/python" - <<'END' | xargs "$venv/bin/python" -m pip install -q
import tomllib

with open("pyproject.toml", "rb") as file:
    print(*tomllib.load(file)["build-system"]["requires"])
END
"$venv/bin/python" setup.py -q build_ext --inplace
say "installing cdl and the packages of '$extra' into $venv"
"$venv/bin/python" -m pip install -q --no-build-isolation -e ".[$extra]"
touch "$stamp"
