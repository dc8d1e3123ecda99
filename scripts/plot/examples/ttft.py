#!/usr/bin/env python3
"""Distribution of the time to first token of every run, from its histogram.

    ttft.py RESULTS.db [PICTURE.png]

Prints p50, p90 and p99 (the upper end of their bucket); draws all of it if asked to (matplotlib).
"""
import sqlite3
import sys

QUERY = """
SELECT r.id, coalesce(r.point, r.scheduler), h.bucket_high,
       1.0 * sum(h.count) OVER (PARTITION BY r.id ORDER BY h.bucket_low)
           / sum(h.count) OVER (PARTITION BY r.id)
FROM runs AS r JOIN histograms AS h ON h.run_id = r.id
WHERE h.metric = 'ttft_ms' ORDER BY r.id, h.bucket_low
"""


def read(path):
    """{"1: label": [(milliseconds, share at or below), ...]}"""
    curves = {}
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        for run, label, ms, share in db.execute(QUERY):
            curves.setdefault(f"{run}: {label}", []).append((ms, share))
    return curves


def quantile(curve, q):
    return next(ms for ms, share in curve if share >= q - 1e-12)


def draw(curves, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    for name, curve in curves.items():
        pyplot.step([ms for ms, _ in curve], [100 * share for _, share in curve], label=name)
    pyplot.xscale("log")
    pyplot.xlabel("time to first token (ms)")
    pyplot.ylabel("finished requests (%)")
    pyplot.legend()
    pyplot.savefig(path, dpi=150)


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    curves = read(sys.argv[1])
    for name, curve in curves.items():
        values = " ".join(f"{quantile(curve, q):.4g}" for q in (0.5, 0.9, 0.99))
        print(f"{name}: p50 p90 p99 (ms): {values}")
    if len(sys.argv) == 3:
        draw(curves, sys.argv[2])


main()
