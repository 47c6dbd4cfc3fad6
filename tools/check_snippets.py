#!/usr/bin/env python3
"""Checks that the C++ blocks of documents compile.

usage: check_snippets.py COMPILER INCLUDE_DIR DOCUMENT...

A block with a main function is a program as it stands. Any other is put into a function that has
a `Model model` and a `Tensor x`, as docs/migrating.md says.
"""
import re
import subprocess
import sys

HEADERS = ("checkpoint", "model", "serving")


def source_of(document):
    text = open(document).read()
    lines = ['#include <savedmodel/%s.h>' % h for h in HEADERS] + ["#include <iostream>"]
    for match in re.finditer(r"^```cpp\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        block = match.group(1)
        where = '#line %d "%s"' % (text[:match.start()].count("\n") + 2, document)
        name = "snippet_%d" % match.start()
        if "int main(" in block:
            block = block.replace("int main(", "int %s(" % name)
            block = re.sub(r"^#include.*\n", lambda m: lines.insert(0, m.group()) or "\n", block,
                           flags=re.MULTILINE)
            lines += [where, block]
        else:
            lines += ["void %s(const savedmodel::Model& model, const savedmodel::Tensor& x) {{" % name,
                      "using namespace savedmodel;", where, block, "}}"]
    return "\n".join(lines)


def main():
    compiler, include, *documents = sys.argv[1:]
    for document in documents:
        subprocess.run([compiler, "-std=c++17", "-fsyntax-only", "-w", "-I", include, "-x", "c++", "-"],
                       input=source_of(document), text=True, check=True)


if __name__ == "__main__":
    main()
