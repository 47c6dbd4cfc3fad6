#!/usr/bin/env python3
"""Replays a set that lies beside the repository and checks that no fewer cases pass than before.

usage: check_floor.py REPLAY SET KEY FLOORS.json

Exit status 77 (skipped) when SET is not there. FLOORS.json maps KEY to the number of cases that
must pass; raise it when more do.
"""
import json
import os
import subprocess
import sys


def main():
    replay, path, key, floors = sys.argv[1:5]
    if not os.path.isdir(path):
        print(f"{path} is not there")
        return 77
    floor = json.load(open(floors))[key]
    run = subprocess.run([replay, "--jobs", str(os.cpu_count() or 1), "--floor", str(floor), path],
                         capture_output=True, text=True)
    lines = run.stdout.splitlines()
    print(f"{lines[-1] if lines else run.stderr}; floor {floor}")
    if run.returncode != 0:
        print("\n".join(lines[-60:]))
    return run.returncode


if __name__ == "__main__":
    sys.exit(main())
