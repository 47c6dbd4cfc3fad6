#!/usr/bin/env python3
"""Checks that wide vector instructions stay inside the objects made for them.

An inline function compiled with -mavx512 can be the copy that the linker keeps for everybody; it
then crashes older processors. So: outside vector_code_LEVEL.o no ymm or zmm register, no zmm in the
avx2 object, and each such object makes only its entry visible.

usage: check_isa.py libsavedmodel.a
"""
import re
import subprocess
import sys

REGISTERS = re.compile(r"%(ymm|zmm)\d")
ALLOWED = {"avx2": {"ymm"}, "avx512": {"ymm", "zmm"}, "avx512_bf16": {"ymm", "zmm"},
           "avx512_vnni": {"ymm", "zmm"}, "avx2_vnni": {"ymm"}}


def disassembly(archive):
    process = subprocess.Popen(["objdump", "-d", "--no-show-raw-insn", archive],
                               stdout=subprocess.PIPE, text=True)
    yield from process.stdout
    if process.wait() != 0:
        raise SystemExit("objdump failed")


def wide_registers(archive):
    """(object, function) -> kinds of wide registers found there."""
    found, objects, obj, function = {}, 0, "", ""
    for line in disassembly(archive):
        if line.endswith(">:\n"):
            function = line.split("<", 1)[1][:-3]
        elif ":     file format" in line:
            obj = line.split(":")[0]
            objects += 1
        elif "mm" in line:
            for kind in REGISTERS.findall(line):
                found.setdefault((obj, function), set()).add(kind)
    return objects, found


def main():
    archive = sys.argv[1]
    objects, found = wide_registers(archive)
    faults = []
    for (obj, function), kinds in sorted(found.items()):
        level = re.fullmatch(r"vector_code_(\w+)\.o", obj)
        wrong = kinds - ALLOWED.get(level.group(1) if level else "", set())
        if wrong:
            faults.append(f"{obj}: {function} uses {', '.join(sorted(wrong))}")
    symbols = subprocess.run(["nm", "-A", "--defined-only", archive], check=True,
                             capture_output=True, text=True).stdout
    for line in symbols.splitlines():
        where = re.search(r":(vector_code_(\w+)\.o):\S* (\w) (.*)$", line)
        if where and where.group(3) in "TWVBDRu" and \
                where.group(4) != f"savedmodel_vector_code_{where.group(2)}":
            faults.append(f"{where.group(1)}: {where.group(4)} is visible outside")
    print("\n".join(faults[:40]))
    print(f"{objects} objects, {len(faults)} faults")
    return 1 if faults or not objects else 0


if __name__ == "__main__":
    sys.exit(main())
