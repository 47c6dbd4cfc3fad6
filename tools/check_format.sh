#!/bin/sh
# Fails, naming the files, where clang-format 14 would change something. usage: check_format.sh [ROOT]
cd "${1:-.}" || exit 2
command -v clang-format-14 >/dev/null || { echo "clang-format-14 is not installed"; exit 77; }
find include src tests examples benchmarks -name '*.h' -o -name '*.cc' |
  xargs -n 20 -P 2 clang-format-14 --dry-run --Werror 2>&1 | grep -oE '^[^:]+:' | sort -u >/tmp/format.$$
[ -s /tmp/format.$$ ] && echo "run clang-format-14 -i on:" && cat /tmp/format.$$ && rm /tmp/format.$$ && exit 1
rm -f /tmp/format.$$
