#!/usr/bin/env python3
"""Writes the tables of docs/performance.md from the raw results of a race between runtimes.

usage: benchmarks/peer_table.py RAW.json > tables.md

RAW.json: {"results": [{"model", "case", "threads", "peer", "status", "median_us", "load_s", "first_s",
"peak_rss_kb", ...}]}, as the race of docs/performance.md leaves it.
"""
import json
import sys

PEERS = [("ours", "savedmodel"), ("tf_capi", "TensorFlow"), ("ort", "ONNX Runtime"),
         ("openvino_f32", "OpenVINO f32"), ("litert", "LiteRT")]


def time_text(us):
    return f"{us:.1f} us" if us < 1000 else f"{us / 1e3:.2f} ms" if us < 1e5 else f"{us / 1e3:.0f} ms"


def cell(entry, text):
    if entry is None:
        return ""
    if entry["status"] == "ok":
        return text(entry)
    return "—" if entry["status"] == "not convertible" else "fails"


def print_table(first_columns, rows):
    print("| " + " | ".join(first_columns) + " |")
    print("|---" * len(first_columns) + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def latency_rows(by, cases, threads):
    for model, case in cases:
        entries = [by.get((model, case, threads, peer)) for peer, _ in PEERS]
        others = [e["median_us"] for e in entries[1:] if e and e["status"] == "ok"]
        ours = entries[0]
        ratio = ""
        if ours and ours["status"] == "ok" and others:
            ratio = f"{ours['median_us'] / min(others):.2f}"
        yield [model, case] + [cell(e, lambda e: time_text(e["median_us"])) for e in entries] + [ratio]


def main():
    results = json.load(open(sys.argv[1]))["results"]
    by = {(e["model"], e["case"], e["threads"], e["peer"]): e for e in results}
    cases = sorted({(e["model"], e["case"]) for e in results})
    names = [name for _, name in PEERS]
    for threads in sorted({e["threads"] for e in results}):
        print(f"### Latency, {threads} thread{'s' if threads > 1 else ''}: median\n")
        print_table(["model", "case"] + names + ["ours / fastest peer"],
                    latency_rows(by, cases, threads))
    print("### Load + first run, seconds, and peak memory, MB (1 thread)\n")

    def start(e):
        return f"{e['load_s']:.2f} + {e['first_s']:.2f} s, {e['peak_rss_kb'] / 1024:.0f} MB"
    print_table(["model", "case"] + names,
                ([m, c] + [cell(by.get((m, c, 1, peer)), start) for peer, _ in PEERS]
                 for m, c in cases))


if __name__ == "__main__":
    main()
