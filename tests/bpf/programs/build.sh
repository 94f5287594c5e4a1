#!/bin/sh
# Compile the programs; needs clang and libbpf's headers.  The objects are kept with the sources, so that tests need neither.
set -eu
cd "$(dirname "$0")"
for source in *.c; do
    cpu=v3
    case "$source" in legacy_maps.c) cpu=v2 ;; parse_count.c) cpu=v1 ;; esac
    clang -O2 -g -Wall -Wno-parentheses -target bpf -mcpu=$cpu -fdebug-prefix-map="$PWD"=. -I/usr/include/"$(uname -m)"-linux-gnu -c "$source" -o "${source%.c}.o"
    llvm-strip -g "${source%.c}.o"
done
