"""The same work as images.rs with OpenCV, for comparison.

    v/bin/python crates/yolo-data/benches/peer_images.py /work/shared/data/coco-tiny

Two threads (OpenCV releases the interpreter's lock), each call of OpenCV on one thread; medians of 20 runs.
"""
import pathlib
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

SIZE, BATCH, STRIDE, WORKERS, RUNS = 640, 16, 32, 2, 20
cv2.setNumThreads(1)


def median_ms(work, runs=RUNS):
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def fill(path, slot):
    """Decode, scale to SIZE, centre on grey, planar RGB: into slot, [3, H, W]."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    h0, w0 = image.shape[:2]
    ratio = SIZE / max(h0, w0)
    if ratio != 1:
        mode = cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR
        image = cv2.resize(image, (int(w0 * ratio), int(h0 * ratio)), interpolation=mode)
    dh, dw = (slot.shape[1] - image.shape[0]) / 2, (slot.shape[2] - image.shape[1]) / 2
    top, bottom, left, right = round(dh - 0.1), round(dh + 0.1), round(dw - 0.1), round(dw + 0.1)
    image = cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(114, 114, 114))
    slot[:] = image.transpose(2, 0, 1)[::-1]


def plan(paths):
    shapes = [cv2.imread(str(p)).shape[:2] for p in paths]
    order = sorted(range(len(paths)), key=lambda i: shapes[i][0] / shapes[i][1])
    for start in range(0, len(order), BATCH):
        chunk = order[start : start + BATCH]
        aspects = [shapes[i][0] / shapes[i][1] for i in chunk]
        h, w = (aspects[-1], 1) if aspects[-1] < 1 else (1, 1 / aspects[0]) if aspects[0] > 1 else (1, 1)
        side = lambda f: int(np.ceil(f * SIZE / STRIDE + 0.5)) * STRIDE
        yield [paths[i] for i in chunk], (side(h), side(w))


def main():
    paths = sorted((pathlib.Path(sys.argv[1]) / "images/val2017").glob("*.jpg"))
    files = [np.frombuffer(p.read_bytes(), np.uint8) for p in paths]
    print("opencv", cv2.__version__)
    ms = median_ms(lambda: [cv2.imdecode(f, cv2.IMREAD_COLOR) for f in files])
    print(f"decode, one thread: {ms:.1f} ms, {len(files) / ms * 1e3:.0f} images/s")
    small = np.random.randint(0, 256, (375, 500, 3), np.uint8)
    large = np.random.randint(0, 256, (853, 1280, 3), np.uint8)
    print(f"resize linear: {median_ms(lambda: cv2.resize(small, (640, 480)), 300):.3f} ms")
    area = lambda: cv2.resize(large, (640, 426), interpolation=cv2.INTER_AREA)
    print(f"resize area: {median_ms(area, 300):.3f} ms")
    loaded = np.random.randint(0, 256, (480, 640, 3), np.uint8)

    def letterbox():
        image = cv2.copyMakeBorder(loaded, 16, 16, 16, 16, cv2.BORDER_CONSTANT, value=(114, 114, 114))
        return np.ascontiguousarray(image.transpose(2, 0, 1)[::-1])

    print(f"letterbox: {median_ms(letterbox, 300):.3f} ms")
    plans = list(plan(paths))
    for workers in (1, WORKERS):
        with ThreadPoolExecutor(workers) as pool:

            def run():
                # The next batch is decoded while one is in use, as the loader under test does.
                pending = []
                for chunk, (height, width) in plans:
                    batch = np.empty((len(chunk), 3, height, width), np.uint8)
                    pending += [pool.submit(fill, p, batch[i]) for i, p in enumerate(chunk)]
                for future in pending:
                    future.result()

            ms = median_ms(run)
            print(f"all, {workers} threads: {ms:.1f} ms, {len(paths) / ms * 1e3:.0f} images/s")


main()
