#!/usr/bin/env python3
"""Checks that includes follow the layers (docs/architecture.md) and files keep to their size.

usage: check_layers.py [ROOT]      exit status 1 and one line per fault when a rule is broken
"""
import pathlib
import re
import sys

# Layer -> layers whose headers it may include besides its own and include/savedmodel.
LAYERS = {
    "base": [],
    "graph": ["base"],
    "kernels": ["base", "graph"],
    "optimizer": ["base", "graph", "kernels"],
    "executor": ["base", "graph", "kernels"],
    "loader": ["base", "graph"],
    "writer": ["base", "graph", "loader"],
    "api": ["base", "graph", "kernels", "optimizer", "executor", "loader", "writer"],
    "cli": [],
    "server": [],
}
# Third-party includes -> files that may have them.
ALLOWED = [
    (re.compile(r"\.pb\.h$"), re.compile(r"src/(loader|writer|server)/|tests/")),
    (re.compile(r"^google/protobuf/"), re.compile(r"src/(loader|writer|server)/|tests/")),
    (re.compile(r"^(unsupported/)?Eigen/"), re.compile(r"src/kernels/.*\.(cc|inc)$|src/kernels/.*_eigen\.h$|src/kernels/isa/")),
    (re.compile(r"^(tbb|oneapi)/"), re.compile(r"examples/")),
    (re.compile(r"^absl/"), re.compile(r"src/.*\.cc$|src/kernels/.*\.h$|include/savedmodel/absl_status\.h$|tests/")),
    (re.compile(r"^nlohmann/|^CLI/"), re.compile(r"(src/cli|tests|benchmarks|src/server)/|src/loader/keras_metadata\.cc$")),
]
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.M)
MAX_LINES = 800


def faults_of(root, path):
    name = path.relative_to(root).as_posix()
    text = path.read_text(encoding="utf-8")
    if text.count("\n") > MAX_LINES:
        yield f"{name}: {text.count(chr(10))} lines, at most {MAX_LINES}; split it by topic"
    layer = name.split("/")[1] if name.startswith("src/") else None
    if layer is not None and layer not in LAYERS:
        yield f"{name}: src/{layer} is no layer; add it to tools/check_layers.py"
        return
    for bracket, header in INCLUDE.findall(text):
        for what, where in ALLOWED:
            if what.search(header) and not where.search(name):
                yield f"{name}: may not include {header}"
        if name.startswith("include/"):
            ours = header.startswith("savedmodel/")
            standard = bracket == "<" and re.fullmatch(r"[a-z_0-9]+", header)
            c_header = name.endswith("/c_api.h") and header in ("stdbool.h", "stddef.h", "stdint.h")
            bridge = name.endswith("/absl_status.h")
            if not (ours or standard or c_header or bridge):
                yield f"{name}: public headers include the standard library and savedmodel/ only, found {header}"
        if layer is not None and header.startswith("src/"):
            other = header.split("/")[1]
            if other != layer and other not in LAYERS[layer]:
                yield f"{name}: layer {layer} may not include {header}"


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    files = [p for top in ("include", "src", "tests", "examples", "benchmarks")
             for p in sorted((root / top).rglob("*")) if p.suffix in (".h", ".cc")]
    faults = [fault for path in files for fault in faults_of(root, path)]
    print("\n".join(faults) if faults else f"{len(files)} files keep to the layers")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
