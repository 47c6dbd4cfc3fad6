#!/usr/bin/env python3
"""Copies the recorded cases that pass now into tests/data, and raises the floors.

usage: tools/update_test_data.py [--shared ../shared] [--replay build/tests/savedmodel_replay]

tests/data/conformance holds the files of ops all of whose cases pass, tests/data/models the small
model folders that pass; both must then pass whole in every build. tests/floors.json records how
many cases of the full sets pass.
"""
import argparse
import json
import pathlib
import shutil
import subprocess
import tempfile

MAX_MODEL_BYTES = 160 * 1024


def replay(args, path):
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        subprocess.run([args.replay, "--jobs", "2", "--json", report.name, str(path)],
                       stdout=subprocess.DEVNULL, check=False)
        return json.load(open(report.name))


def size_of(folder):
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", default="../shared")
    parser.add_argument("--replay", default="build/tests/savedmodel_replay")
    args = parser.parse_args()
    shared = pathlib.Path(args.shared)
    data = pathlib.Path("tests/data")
    floors = {}

    report = replay(args, shared / "conformance" / "cases")
    floors["conformance"] = report["passed"]
    failing = {c["name"].split("/")[0] for c in report["cases"] if c["state"] != "passed"}
    shutil.rmtree(data / "conformance", ignore_errors=True)
    (data / "conformance").mkdir(parents=True)
    for file in sorted((shared / "conformance" / "cases").glob("*.pb")):
        if file.stem not in failing:
            shutil.copy(file, data / "conformance")

    report = replay(args, shared / "models")
    floors["models"] = report["passed"]
    shutil.rmtree(data / "models", ignore_errors=True)
    for case in report["cases"]:
        folder = shared / "models" / case["name"]
        if case["state"] == "passed" and size_of(folder) <= MAX_MODEL_BYTES:
            shutil.copytree(folder, data / "models" / case["name"])

    for key in ("wild", "hostile"):
        floors[key] = replay(args, shared / key)["passed"]
    with open("tests/floors.json", "w") as out:
        json.dump(floors, out, indent=2)
        out.write("\n")
    print(floors)


if __name__ == "__main__":
    main()
