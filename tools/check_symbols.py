#!/usr/bin/env python3
"""Checks that a shared library exports names of namespace savedmodel (or savedmodel_*) only.

usage: check_symbols.py libsavedmodel.so
"""
import re
import subprocess
import sys

OURS = re.compile(r"^(savedmodel_|(typeinfo (name )?for |vtable for |VTT for )?savedmodel::)")


def main():
    out = subprocess.run(["nm", "-D", "-C", "--defined-only", sys.argv[1]], check=True,
                         capture_output=True, text=True).stdout
    names = [line.split(" ", 2)[2] for line in out.splitlines() if line.count(" ") >= 2]
    foreign = [n for n in names if not OURS.match(n)]
    for name in foreign[:20]:
        print("exports", name)
    print(f"{len(names)} symbols exported, {len(foreign)} not of namespace savedmodel")
    return 1 if foreign or not names else 0


if __name__ == "__main__":
    sys.exit(main())
