#!/bin/sh
# Installs the built library into a fresh prefix and uses it from there: CMake package (static and
# shared), pkg-config, and a host whose own namespaces would clash.
#
# usage: run.sh BUILD_DIR SOURCE_DIR WORK_DIR
set -e
build=$1 source=$2 work=$3
model=$source/tests/data/models/tf2_child_methods/model
rm -rf "$work"
mkdir -p "$work"
cmake --install "$build" --prefix "$work/prefix" >"$work/install.log"
cmake -G Ninja -S "$source/tests/consumer" -B "$work/build" -DCMAKE_PREFIX_PATH="$work/prefix" \
  -DCMAKE_BUILD_TYPE=Release >"$work/configure.log"
cmake --build "$work/build" >"$work/build.log" || { tail -20 "$work/build.log"; exit 1; }
for program in consumer_static consumer_shared; do
  "$work/build/$program" "$model"
done
"$work/build/consumer_clash"

lib=$(dirname "$(find "$work/prefix" -name libsavedmodel.so)")
export PKG_CONFIG_PATH="$lib/pkgconfig"
# shellcheck disable=SC2046
g++ -std=c++17 "$source/tests/consumer/main.cc" -o "$work/by_pkg_config" \
  $(pkg-config --cflags --libs savedmodel)
LD_LIBRARY_PATH="$lib" "$work/by_pkg_config" "$model"
"$work/prefix/bin/savedmodel" --help >"$work/help.txt"
rm -rf "$work"
echo "all consumers ran"
