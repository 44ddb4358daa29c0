"""Times pycocotools on the data of the `coco` bench, and compares the twelve numbers.

    pip install pycocotools numpy
    YOLO_BENCH_DUMP=/tmp/coco-bench cargo bench -p yolo-eval --bench coco
    python crates/yolo-eval/benches/peer_coco.py /tmp/coco-bench [repeats]
"""

import contextlib
import io
import json
import statistics
import sys
import time
from pathlib import Path

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def run(folder):
    """Loads, evaluates, accumulates and summarises; returns seconds per stage and the numbers."""
    with contextlib.redirect_stdout(io.StringIO()):
        start = time.perf_counter()
        gt = COCO(str(folder / "gt.json"))
        dt = gt.loadRes(str(folder / "dt.json"))
        loaded = time.perf_counter()
        evaluation = COCOeval(gt, dt, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        done = time.perf_counter()
    return loaded - start, done - loaded, [float(v) for v in evaluation.stats]


def main():
    folder = Path(sys.argv[1])
    repeats = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    runs = [run(folder) for _ in range(repeats)]
    load = statistics.median(r[0] for r in runs)
    evaluate = statistics.median(r[1] for r in runs)
    total = statistics.median(r[0] + r[1] for r in runs)
    print(f"pycocotools, median of {repeats}: load {load:.3f} s, evaluate {evaluate:.3f} s, total {total:.3f} s")
    ours = json.loads((folder / "stats.json").read_text())
    print("numbers equal bit by bit:", ours == runs[0][2])
    if ours != runs[0][2]:
        sys.exit(f"ours {ours}\npeer {runs[0][2]}")


if __name__ == "__main__":
    main()
