#!/usr/bin/env python3
"""Writes the tables of docs/performance.md from the raw results of a race between runtimes.

usage: benchmarks/peer_table.py RAW.json PEAKS.json MODELS > tables.md

RAW.json: {"results": [{"model", "case", "threads", "peer", "status", "p10_us", "median_us", "load_s",
"first_s", "peak_rss_kb", ...}]}, as the race of docs/performance.md leaves it; PEAKS.json: what the
race's peaks program prints; MODELS: the folder with the models' meta.json.
"""
import json
import os
import sys

PEERS = [("ours", "savedmodel"), ("tf_capi", "TensorFlow"), ("ort", "ONNX Runtime"),
         ("openvino_f32", "OpenVINO f32"), ("litert", "LiteRT")]
# What times are given, and a second one for ratios: of the 10th percentile, which the neighbours of
# a shared machine disturb least, and of the median.
STATS = ["p10_us", "median_us"]


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


def limit_us(models, model, case, peaks, threads):
    """What products and convolutions done directly take at the machine's peak, or reading the
    weights from where they fit, whichever is longer."""
    meta = json.load(open(os.path.join(models, model, "meta.json")))["cases"][case]
    peak = peaks[f"t{threads}"]
    compute = (meta["flops"] or 0) / peak["fp32_avx512_gflops" if peak.get("fp32_avx512_gflops") else
                                   "fp32_avx2_gflops"] / 1e3
    size = meta["weight_bytes"]
    level = "l2_512K" if size < 900e3 else "l3_12M" if size < 24e6 else "dram_256M"
    return max(compute, size / peak["read_gbs"][level] / 1e3)


def latency_rows(by, cases, threads, models, peaks):
    for model, case in cases:
        entries = [by.get((model, case, threads, peer)) for peer, _ in PEERS]
        ours, others = entries[0], [e for e in entries[1:] if e and e["status"] == "ok"]
        ratios = ["", ""]
        if ours and ours["status"] == "ok" and others:
            ratios = [f"{ours[stat] / min(e[stat] for e in others):.2f}" for stat in STATS]
        limit = limit_us(models, model, case, peaks, threads)
        of_limit = ""
        if ours and ours["status"] == "ok" and limit > 1:
            of_limit = f"{ours[STATS[0]] / limit:.2f}"
        yield ([model, case] + [cell(e, lambda e: time_text(e[STATS[0]])) for e in entries] +
               ratios + [of_limit])


def bfloat16_rows(by, cases):
    for model, case in cases:
        row = [model, case]
        for threads in (1, 2):
            pair = [by.get((model, case, threads, peer)) for peer in ("ours_bf16", "openvino")]
            if not all(e and e["status"] == "ok" for e in pair):
                break
            row += [time_text(e[STATS[0]]) for e in pair]
            row.append(f"{pair[0][STATS[0]] / pair[1][STATS[0]]:.2f}")
        else:
            row += [f"{e['max_rel_err']:.0e}" for e in pair]
            yield row


def main():
    results = json.load(open(sys.argv[1]))["results"]
    by = {(e["model"], e["case"], e["threads"], e["peer"]): e for e in results}
    cases = sorted({(e["model"], e["case"]) for e in results})
    names = [name for _, name in PEERS]
    peaks, models = json.load(open(sys.argv[2])), sys.argv[3]
    for threads in sorted({e["threads"] for e in results}):
        print(f"## Latency, {threads} thread{'s' if threads > 1 else ''}: 10th percentile\n")
        print_table(["model", "case"] + names +
                    ["ours / fastest peer", "of medians", "ours / limit"],
                    latency_rows(by, cases, threads, models, peaks))
    print("## Precision::kBFloat16 against OpenVINO's default, which is bfloat16 here\n")
    print_table(["model", "case", "1 thread", "OpenVINO", "ratio", "2 threads", "OpenVINO", "ratio",
                 "largest difference", "OpenVINO's"], bfloat16_rows(by, cases))
    print("## Load + first run, seconds, and peak memory, MB (1 thread)\n")

    def start(e):
        return f"{e['load_s']:.2f} + {e['first_s']:.2f} s, {e['peak_rss_kb'] / 1024:.0f} MB"
    print_table(["model", "case"] + names,
                ([m, c] + [cell(by.get((m, c, 1, peer)), start) for peer, _ in PEERS]
                 for m, c in cases))


if __name__ == "__main__":
    main()
