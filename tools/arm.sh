#!/usr/bin/env bash
# arm.sh - cdl on 64-bit ARM, and by clang, against cdl by gcc on this machine; a model's C on 32-bit ARM.
#
#     tools/arm.sh .venv/bin [clang]
#
# The core's checks of tests/arm/check.c run by themselves on both machines. Then all of cdl is compiled for ARM and
# trains the nets of tests/promises/test_machines.py under qemu, on the Python of build/arm-root: packages of this
# Debian or Ubuntu for arm64, only unpacked, with the wheels that cdl needs.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$1 clang=${2:-} root=build/arm-root
mkdir -p build

for tool in aarch64-linux-gnu-gcc qemu-aarch64 arm-linux-gnueabihf-gcc qemu-arm mmdebstrap; do
    command -v $tool >/dev/null || {
        echo "make arm: $tool is missing; on Debian:" \
            "apt-get install gcc-aarch64-linux-gnu gcc-arm-linux-gnueabihf qemu-user mmdebstrap"
        exit 1
    }
done

flags=(-std=c11 -O2 -ffp-contract=off -fno-math-errno -fno-trapping-math -fopenmp -Icsrc)
flags+=(-Wall -Wextra -Wshadow -Wconversion)
flags+=(-Wno-missing-braces -Wno-missing-field-initializers -Wno-unused-parameter)
mapfile -t sources < <(find csrc -name '*.c')
aarch64-linux-gnu-gcc "${flags[@]}" -static -o build/arm-check tests/arm/check.c "${sources[@]}" -lm
"${CC:-cc}" "${flags[@]}" -o build/here-check tests/arm/check.c "${sources[@]}" -lm
qemu-aarch64 build/arm-check | tee build/arm-check.txt
build/here-check | tee build/here-check.txt
[ "$(sed -n '/^baseline/d; s/.*bits //p' build/{arm,here}-check.txt | sort -u | wc -l)" = 1 ] || {
    echo "make arm: the bits of the two machines differ"
    exit 1
}
"$bin/pytest" -q tests/export/test_integers.py -k small_arm

# A build of these sources by another compiler, in build/NAME.
build() {
    rm -rf "build/$1"
    CDL_NO_OPENMP=1 CC=$2 LDSHARED="$2 -shared" "$bin/python" setup.py -q build --build-lib "build/$1"
}

if [ ! -e $root/ready ]; then
    rm -rf $root
    # shellcheck source=/dev/null
    mmdebstrap --quiet --variant=extract --architectures=arm64 --include=python3-minimal,libpython3-stdlib,libstdc++6 \
        "$(. /etc/os-release && echo "$VERSION_CODENAME")" $root
    python=$(basename "$(readlink $root/usr/bin/python3)")
    "$bin/python" -m pip install -q --target $root/usr/lib/python3/dist-packages --python-version "${python#python}" \
        --platform manylinux_2_28_aarch64 --platform manylinux2014_aarch64 --only-binary=:all: numpy h5py rich
    touch $root/ready
fi
build arm aarch64-linux-gnu-gcc
others="env PYTHONPATH=build/arm qemu-aarch64 -L $root/usr $root/usr/bin/python3"
if [ -n "$clang" ]; then
    build clang "$clang"
    others+=$'\n'"env PYTHONPATH=build/clang $bin/python"
else
    echo "no clang on PATH: ARM alone"
fi
CDL_OTHERS=$others "$bin/pytest" -q tests/promises/test_machines.py
