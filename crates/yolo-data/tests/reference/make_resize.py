"""Writes tests/fixtures/resize.json: hashes of cv2.resize results for images that a formula makes.

Provenance: results of OpenCV itself (opencv-python-headless), run on inputs from a linear congruential
generator that tests/data/images.rs repeats. Nothing here is taken from another project.

    python -m venv v && v/bin/pip install opencv-python-headless numpy
    v/bin/python crates/yolo-data/tests/reference/make_resize.py
"""
import json
import pathlib

import cv2
import numpy as np

OUT = pathlib.Path(__file__).parent.parent / "fixtures" / "resize.json"

# (source width, height) -> (result width, height); sides differ so that swapped axes show.
PAIRS = [
    ((50, 37), (64, 47)), ((50, 33), (64, 42)), ((37, 50), (47, 64)), ((5, 3), (64, 40)), ((2, 3), (9, 7)),
    ((1, 1), (5, 3)), ((1, 7), (4, 9)), ((7, 1), (9, 4)), ((3, 2), (4, 3)), ((16, 9), (17, 10)),
    ((31, 17), (62, 34)), ((20, 13), (60, 39)), ((64, 48), (64, 49)), ((64, 48), (65, 48)),
    ((64, 36), (32, 18)), ((66, 34), (33, 17)), ((2, 2), (1, 1)), ((4, 2), (2, 1)), ((128, 72), (64, 36)),
    ((65, 37), (32, 18)), ((63, 35), (32, 18)), ((64, 36), (32, 17)), ((64, 36), (31, 18)),
    ((60, 36), (20, 12)), ((60, 36), (30, 12)), ((60, 36), (20, 18)), ((72, 60), (12, 10)), ((72, 60), (36, 10)),
    ((70, 49), (10, 7)), ((96, 48), (6, 3)), ((90, 50), (9, 5)), ((51, 34), (17, 17)), ((34, 51), (17, 17)),
    ((81, 108), (48, 64)), ((128, 96), (64, 47)), ((100, 75), (64, 48)), ((97, 61), (64, 40)), ((99, 50), (98, 49)),
    ((100, 31), (33, 10)), ((131, 67), (17, 9)), ((64, 64), (1, 1)), ((64, 33), (5, 1)), ((33, 64), (1, 5)),
    ((1, 64), (1, 20)), ((64, 1), (20, 1)), ((1, 64), (1, 32)), ((64, 1), (32, 1)), ((7, 5), (7, 5)),
    ((30, 20), (60, 10)), ((30, 20), (15, 40)), ((40, 30), (50, 20)), ((40, 30), (25, 45)), ((33, 20), (33, 10)),
    ((20, 33), (10, 33)), ((500, 3), (640, 4)), ((3, 500), (4, 640)), ((1023, 5), (640, 3)), ((5, 1023), (3, 640)),
    ((257, 129), (200, 100)), ((119, 83), (640, 7)), ((640, 7), (119, 5)), ((13, 11), (12, 10)),
]


def source(width, height):
    """The 3·width·height upper bytes of x ← x·1664525 + 1013904223 (mod 2^32), from the seed width·1000 + height."""
    x, out = width * 1000 + height, bytearray()
    for _ in range(3 * width * height):
        x = (x * 1664525 + 1013904223) & 0xFFFFFFFF
        out.append(x >> 24)
    return np.frombuffer(bytes(out), np.uint8).reshape(height, width, 3)


def fnv1a64(data):
    h = 0xCBF29CE484222325
    for b in data:
        h = ((h ^ b) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


def main():
    cases = []
    for (sw, sh), (dw, dh) in PAIRS:
        image = source(sw, sh)
        case = {"from": [sw, sh], "to": [dw, dh]}
        for name, flag in (("linear", cv2.INTER_LINEAR), ("area", cv2.INTER_AREA)):
            case[name] = fnv1a64(cv2.resize(image, (dw, dh), interpolation=flag).tobytes())
        cases.append(case)
    lines = ",\n".join(json.dumps(c) for c in cases)
    OUT.write_text(f'{{"opencv": "{cv2.__version__}", "cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
