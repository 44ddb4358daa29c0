"""Writes tests/fixtures/augment.json: what OpenCV 4.10 makes of warps, HSV and filled outlines.

Provenance: results of OpenCV itself on inputs that tests/data/augment.rs repeats. Version 4.10 on purpose: later
ones warp in floating point. Nothing here is taken from another project.

    python -m venv v && v/bin/pip install opencv-python-headless==4.10.0.84 numpy
    v/bin/python crates/yolo-data/tests/reference/make_augment.py
"""
import json
import math
import pathlib

import cv2
import numpy as np
from make_resize import fnv1a64, source

OUT = pathlib.Path(__file__).parent.parent / "fixtures" / "augment.json"
GREY = (114, 114, 114)

# Source (width, height), result (width, height), degrees, scale, shear x and y in degrees, shift x and y.
AFFINE = [
    ((50, 37), (64, 47), 0, 1.0, 0, 0, 0.0, 0.0),
    ((50, 37), (50, 37), 0, 1.0, 0, 0, 3.25, -2.5),
    ((90, 64), (48, 40), 0, 0.5, 0, 0, 3.3, -7.7),
    ((64, 90), (40, 48), 0, 1.5, 0, 0, -30.1, -40.9),
    ((90, 64), (70, 51), 0, 0.7371, 0, 0, 11.137, 4.713),
    ((90, 64), (70, 51), 12.5, 1.0, 0, 0, -3.0, 9.0),
    ((90, 64), (70, 51), -37.0, 1.31, 0, 0, 20.5, 33.1),
    ((64, 90), (70, 51), 163.0, 0.6, 5, -9, 60.0, 45.0),
    ((64, 90), (70, 51), 90.0, 1.0, 0, 0, 1.0, 50.0),
    ((31, 17), (64, 40), 3.0, 2.7, 10, 2, -5.0, -3.0),
    ((1, 1), (5, 4), 0, 1.0, 0, 0, 1.5, 1.25),
    ((2, 9), (11, 13), -8.0, 1.2, 0, 0, 3.0, 1.0),
    ((40, 30), (33, 20), 0, 1.0, 0, 0, 500.0, 0.0),
]
# The same, and perspective terms x and y.
PERSPECTIVE = [
    ((90, 64), (70, 51), 0, 1.0, 0, 0, 0.0, 0.0, 0.001, 0.0),
    ((90, 64), (70, 51), 0, 0.8, 0, 0, 3.5, 1.5, 0.0, -0.002),
    ((64, 90), (70, 51), 15.0, 1.1, 3, -2, -4.0, 12.0, 0.0013, 0.0007),
    ((64, 90), (51, 70), -50.0, 0.9, 0, 0, 10.0, 50.0, -0.004, 0.003),
]
# Hue, saturation and value gains.
GAINS = [(1.0, 1.0, 1.0), (1.0123, 0.4, 1.37), (0.9871, 1.69, 0.61), (1.3, 1.1, 0.9)]
# Corners of outlines, on 40 × 30 pixels.
OUTLINES = [
    [(5, 4), (30, 4), (30, 20), (5, 20)],
    [(20, 2), (35, 25), (3, 18)],
    [(2, 2), (37, 27), (30, 28)],
    [(5, 5), (35, 5), (20, 15), (35, 25), (5, 25), (15, 15)],
    [(20, 15), (20, 15), (21, 15)],
]


def matrix(degrees, scale, shear_x, shear_y, x, y, px=0.0, py=0.0):
    cos, sin = scale * math.cos(math.radians(degrees)), scale * math.sin(math.radians(degrees))
    rotation = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    shear = np.array([[1, math.tan(math.radians(shear_x)), 0], [math.tan(math.radians(shear_y)), 1, 0], [0, 0, 1]])
    shift = np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], float)
    return shift @ shear @ rotation @ np.array([[1, 0, 0], [0, 1, 0], [px, py, 1]])


def checksum(values):
    """Sum of byte i times (i mod 65521) + 1, mod 2^64."""
    flat = values.reshape(-1).astype(np.uint64)
    return str(int((flat * (np.arange(flat.size, dtype=np.uint64) % np.uint64(65521) + np.uint64(1))).sum()))


def warps():
    for from_, to, *rest in AFFINE:
        m = matrix(*rest)
        out = cv2.warpAffine(source(*from_), m[:2], to, borderValue=GREY)
        yield {"kind": "affine", "from": from_, "to": to, "matrix": m.tolist(), "fnv": fnv1a64(out.tobytes())}
    for from_, to, *rest in PERSPECTIVE:
        m = matrix(*rest)
        out = cv2.warpPerspective(source(*from_), m, to, borderValue=GREY)
        yield {"kind": "perspective", "from": from_, "to": to, "matrix": m.tolist(), "fnv": fnv1a64(out.tobytes())}


def gained(image, gains):
    """Hue times its gain modulo 180, saturation and value times theirs up to 255; fractions are cut off."""
    h, s, v = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2HSV))
    x = np.arange(256, dtype=np.float64)
    tables = [(x * gains[0]) % 180] + [np.clip(x * gain, 0, 255) for gain in gains[1:]]
    channels = [cv2.LUT(c, t.astype(np.uint8)) for c, t in zip((h, s, v), tables)]
    return cv2.cvtColor(cv2.merge(channels), cv2.COLOR_HSV2RGB)


def triples(first):
    axes = np.meshgrid(np.arange(first), np.arange(256), np.arange(256), indexing="ij")
    return np.stack(axes, -1).astype(np.uint8).reshape(-1, 256, 3)


def mask(outline):
    out = np.zeros((30, 40), np.uint8)
    cv2.drawContours(out, [np.array(outline, np.int32)], -1, 1, cv2.FILLED)
    return ["".join(".#"[v] for v in row) for row in out]


def main():
    result = {
        "opencv": cv2.__version__,
        "warps": list(warps()),
        "rgb_to_hsv": checksum(cv2.cvtColor(triples(256), cv2.COLOR_RGB2HSV)),
        "hsv_to_rgb": checksum(cv2.cvtColor(triples(180), cv2.COLOR_HSV2RGB)),
        "gains": [{"gains": g, "fnv": fnv1a64(gained(source(64, 48), g).tobytes())} for g in GAINS],
        "outlines": [{"points": o, "mask": mask(o)} for o in OUTLINES],
    }
    OUT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
