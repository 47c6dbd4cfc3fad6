#!/bin/sh
# Installs what building and testing needs on Debian 12 and its kin, where it is missing.
# The one list of dependencies; ./demo and ./test use it.
set -e
packages="g++ cmake ninja-build pkg-config python3 binutils
  libprotobuf-dev protobuf-compiler libabsl-dev libeigen3-dev libtbb-dev libsnappy-dev zlib1g-dev
  libbrotli-dev libre2-dev libicu-dev libjpeg-dev libpng-dev libgif-dev libwebp-dev
  nlohmann-json3-dev libcli11-dev libgtest-dev libgmock-dev libbenchmark-dev clang-format-14"

missing=""
for package in $packages; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "ok installed" ||
    missing="$missing $package"
done
[ -z "$missing" ] && exit 0

sudo=""
[ "$(id -u)" = 0 ] || sudo="sudo"
echo "installing:$missing"
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing \
  >/dev/null 2>&1 && exit 0
$sudo apt-get update -q >/dev/null  # the first try fails where package lists are old or absent
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing \
  >/dev/null
