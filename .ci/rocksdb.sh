#!/usr/bin/env bash
# Builds the RocksDB library that crates/rocksdb links with, once per machine, and prints the
# environment that makes Cargo use it:
#
#     eval "$(.ci/rocksdb.sh)" && cargo test -p millpond-rocksdb
#
# Left to itself, librocksdb-sys compiles RocksDB anew for every profile and target folder, 45
# CPU-minutes each. This compiles the same vendored sources ten files to a translation unit, which
# takes 10, into a cache folder that all profiles, benches and fuzz targets share:
#
#     $MILLPOND_ROCKSDB_DIR, else $XDG_CACHE_HOME/millpond/rocksdb, else ~/.cache/millpond/rocksdb
#         <version>-<hash of compiler, flags and versions of what it is compiled with>/
#             librocksdb.a, built-with.txt
#         <the same>.part/    objects so far; an interrupted build goes on from there
#
# What is there under its final name is whole: it is renamed into place. Of several runs at once one
# builds and the others wait. lz4 and zstd are not in the archive: Cargo builds lz4-sys and zstd-sys
# anyway, so only their headers are used here.
#
# Progress goes to stderr, the environment to stdout. Settings: CXX, AR, MILLPOND_ROCKSDB_DIR,
# MILLPOND_ROCKSDB_JOBS (default: the number of CPUs).
set -euo pipefail
cd "$(dirname "$0")/.."

FILES_PER_UNIT=10
CXX="${CXX:-c++}"
AR="${AR:-ar}"
JOBS="${MILLPOND_ROCKSDB_JOBS:-$(nproc 2>/dev/null || echo 2)}"
CACHE="${MILLPOND_ROCKSDB_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/millpond/rocksdb}"

say() { printf 'rocksdb: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

case "$(uname -sm)" in
    "Linux x86_64")
        # The level of 2009, and carry-less multiplication, which RocksDB's CRC needs to be fast.
        target_flags=(-march=x86-64-v2 -mpclmul) ;;
    "Linux aarch64")
        target_flags=(-march=armv8-a+crc+aes+crypto) ;;
    *)
        say "no prepared library for $(uname -sm): librocksdb-sys will compile its own"
        exit 0 ;;
esac

for tool in cargo "$CXX" "$AR" flock xargs sha256sum; do
    command -v "$tool" >/dev/null ||
        die "$tool is missing: on Debian or Ubuntu, apt install build-essential util-linux"
done

# --- libclang, which generates the bindings ------------------------------------------------------

find_libclang() {
    local found
    for found in "${LIBCLANG_PATH:-/nowhere}"/libclang*.so* /usr/lib/llvm-*/lib/libclang[.-]*so* \
        /usr/lib/*-linux-gnu/libclang[.-]*so* /usr/lib64/libclang[.-]*so* /usr/lib/libclang[.-]*so*; do
        case "$found" in *libclang-cpp*) continue ;; esac
        if [[ -e "$found" ]]; then echo "$found"; return; fi
    done
}

install_libclang() {
    local as_root=()
    command -v apt-get >/dev/null ||
        die "libclang is missing: install it with your package manager, or set LIBCLANG_PATH"
    if [[ "$(id -u)" != 0 ]]; then
        command -v sudo >/dev/null || die "libclang is missing: as root, apt install libclang1"
        as_root=(sudo)
    fi
    say "installing libclang1, for bindgen"
    "${as_root[@]}" apt-get install -y --no-install-recommends libclang1 >&2 || {
        "${as_root[@]}" apt-get update >&2
        "${as_root[@]}" apt-get install -y --no-install-recommends libclang1 >&2
    }
}

if [[ -z "$(find_libclang)" ]]; then install_libclang; fi
libclang="$(find_libclang)"
[[ -n "$libclang" ]] || die "libclang was installed and is not found: set LIBCLANG_PATH to its folder"

# --- what to build, and under which name ---------------------------------------------------------

metadata="$(cargo metadata --format-version 1)"

# crate_dir <name>: where Cargo keeps the sources of a crate.
crate_dir() {
    local manifest
    manifest="$(grep -o "\"manifest_path\":\"[^\"]*/$1[^/\"]*/Cargo.toml\"" <<<"$metadata" |
        head -1 | cut -d'"' -f4)"
    [[ -n "$manifest" ]] || die "the workspace does not depend on $1: is Cargo.lock whole?"
    dirname "$manifest"
}

# crate_version <crate folder>
crate_version() { sed -n 's/^version = "\(.*\)"/\1/p' "$1/Cargo.toml" | head -1; }

sources="$(crate_dir librocksdb-sys)"
lz4="$(crate_dir lz4-sys)"
zstd="$(crate_dir zstd-sys)"
version="$(crate_version "$sources")"

# As the build script of librocksdb-sys has it, for Linux.
flags=(
    -std=c++20 -O2 -w -fPIC -ffunction-sections -fdata-sections -include cstdint
    "${target_flags[@]}"
    -DNDEBUG -DHAVE_ALIGNED_NEW -DHAVE_UINT128_EXTENSION -DLZ4=1 -DZSTD=1
    -DOS_LINUX -DROCKSDB_PLATFORM_POSIX -DROCKSDB_LIB_IO_POSIX -DROCKSDB_SCHED_GETCPU_PRESENT
    -DROCKSDB_AUXV_GETAUXVAL_PRESENT -DROCKSDB_FALLOCATE_PRESENT -DROCKSDB_RANGESYNC_PRESENT
)
includes=(
    "-I$sources" "-I$sources/rocksdb" "-I$sources/rocksdb/include"
    "-I$sources/rocksdb/third-party/gtest-1.8.1/fused-src" "-I$lz4/liblz4/lib" "-I$zstd/zstd/lib"
)

for header in "$lz4/liblz4/lib/lz4.h" "$zstd/zstd/lib/zstd.h" "$sources/rocksdb_lib_sources.txt"; do
    [[ -e "$header" ]] || die "$header is missing: this release lays its files out in another way"
done

built_with="librocksdb-sys $version
lz4-sys $(crate_version "$lz4"), zstd-sys $(crate_version "$zstd")
$("$CXX" --version | head -1), $("$CXX" -dumpmachine)
${flags[*]}
$FILES_PER_UNIT files a unit"
key="$version-$(sha256sum <<<"$built_with" | cut -c1-12)"
library="$CACHE/$key"

# --- building ------------------------------------------------------------------------------------

# Writes the units: files that include ten sources each.
write_units() {
    local files=() index=0 file unit
    while read -r file; do
        [[ -n "$file" && "$file" != util/build_version.cc ]] && files+=("rocksdb/$file")
    done <"$sources/rocksdb_lib_sources.txt"
    files+=(build_version.cc)
    for file in "${files[@]}"; do
        unit="$(printf '%s/unit%03d.cc' "$1" $((index / FILES_PER_UNIT)))"
        if ((index % FILES_PER_UNIT == 0)); then : >"$unit"; fi
        printf '#include "%s"\n' "$file" >>"$unit"
        index=$((index + 1))
    done
}

build() {
    local part="$library.part" started="$SECONDS" unit todo=()
    mkdir -p "$part"
    write_units "$part"
    for unit in "$part"/unit*.cc; do
        [[ -e "${unit%.cc}.o" ]] || todo+=("${unit%.cc}")
    done
    say "compiling ${#todo[@]} units with $JOBS jobs into $library, some 10 CPU-minutes in all"
    if ((${#todo[@]})); then
        # An object has its final name only when it is whole.
        printf '%s\0' "${todo[@]}" | xargs -0 -I{} -P"$JOBS" sh -c \
            'unit="$1"; shift; "$@" -c "$unit.cc" -o "$unit.o.tmp" && mv "$unit.o.tmp" "$unit.o"' \
            compile {} "$CXX" "${flags[@]}" "${includes[@]}" >&2 ||
            die "a unit did not compile: see above; the others are kept in $part"
    fi
    "$AR" crs "$part/librocksdb.a" "$part"/unit*.o
    rm -f "$part"/unit*
    printf '%s\n' "$built_with" >"$part/built-with.txt"
    mv -T "$part" "$library"
    say "built in $((SECONDS - started)) s: $(du -h "$library/librocksdb.a" | cut -f1) at $library"
}

if [[ ! -e "$library/librocksdb.a" ]]; then
    mkdir -p "$CACHE"
    exec 9>"$CACHE/$key.lock"
    flock -n 9 || { say "another run builds $key: waiting for it"; flock 9; }
    # The run that held the lock may have built it.
    [[ -e "$library/librocksdb.a" ]] || build
    exec 9>&-
fi

# --- the environment -----------------------------------------------------------------------------

printf 'export ROCKSDB_LIB_DIR=%q\n' "$library"
printf 'export ROCKSDB_STATIC=1\n'
printf 'export LIBCLANG_PATH=%q\n' "$(dirname "$libclang")"
# libclang alone brings no stddef.h: the compiler's own serves.
printf 'export BINDGEN_EXTRA_CLANG_ARGS=%q\n' "-I$("$CXX" -print-file-name=include)"
