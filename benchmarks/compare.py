#!/usr/bin/env python3
"""Compares the micro-benchmarks of two builds: interleaved rounds, the best time of each counts.

usage: benchmarks/compare.py BUILD_A BUILD_B [--filter REGEX] [--rounds N] [--isa LEVEL]

Prints, for each benchmark, both times, B / A, and B's share of the machine's arithmetic peak.
"""
import argparse
import json
import math
import os
import subprocess


def run(build, args):
    env = dict(os.environ, **({"SAVEDMODEL_ISA": args.isa} if args.isa else {}))
    command = [f"{build}/benchmarks/savedmodel_micro", "--benchmark_format=json",
               f"--benchmark_filter={args.filter}", "--benchmark_min_time=0.05"]
    out = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL).stdout
    return json.loads(out)["benchmarks"]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build_a")
    parser.add_argument("build_b")
    parser.add_argument("--filter", default=".")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--isa", help="SAVEDMODEL_ISA of both: portable, avx2, avx512")
    args = parser.parse_args()
    best = {}  # name -> [result of A, result of B]
    for _ in range(args.rounds):
        for side, build in enumerate((args.build_a, args.build_b)):
            for b in run(build, args):
                pair = best.setdefault(b["name"], [None, None])
                if pair[side] is None or b["real_time"] < pair[side]["real_time"]:
                    pair[side] = b
    print(f"{'benchmark':36} {'A':>12} {'B':>12} {'B/A':>6} {'of peak':>8}")
    logs = []
    for name, (a, b) in best.items():
        if a is None or b is None:
            print(f"{name:36} only in {'A' if b is None else 'B'}")
            continue
        ratio = b["real_time"] / a["real_time"]
        logs.append(math.log(ratio))
        peak = f"{100 * b['of_peak']:7.0f}%" if "of_peak" in b else ""
        print(f"{name:36} {a['real_time']:9.0f} {a['time_unit']} {b['real_time']:9.0f} "
              f"{b['time_unit']} {ratio:6.2f} {peak:>8}")
    if logs:
        print(f"geometric mean of B/A: {math.exp(sum(logs) / len(logs)):.3f}")


if __name__ == "__main__":
    main()
