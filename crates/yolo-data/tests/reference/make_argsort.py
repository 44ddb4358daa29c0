"""Golden hashes for the tests in src/rect/argsort.rs.

Run: python make_argsort.py (needs numpy)
Provenance of the hashes in the module: numpy 2.4.6 from PyPI, CPython 3.11.7, x86-64 Linux, AMD EPYC with AVX-512
(numpy's SIMD extensions found: X86_V3, X86_V4, AVX512_ICL), 2026. The same hashes must come out of any numpy >= 2.0 on
a CPU with AVX-512; without it those for more than 256 values differ.
"""
import numpy as np

MASK = (1 << 64) - 1


def tied_values(count, common):
    """`common` of 16 draws are 0.75, the smallest value; the others are one of 24 values from there upwards."""
    state, values = count, []
    for _ in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) & MASK
        draw = state >> 33
        values.append(0.75 if draw % 16 < common else 0.75 + draw // 16 % 24 / 64)
    return np.array(values)


def fnv1a(order):
    digest = 0xCBF29CE484222325
    for byte in np.asarray(order).astype("<u8").tobytes():
        digest = ((digest ^ byte) * 0x100000001B3) & MASK
    return digest


found = np.show_config(mode="dicts")["SIMD Extensions"]["found"]
assert "X86_V4" in found or "AVX512_SKX" in found, f"needs AVX-512, found {found}"
print("numpy", np.__version__, found)
for count, common in [(7, 4), (40, 4), (80, 4), (128, 4), (200, 4), (300, 4), (1000, 4), (5000, 4), (300, 15), (1000, 15), (5000, 15)]:
    print(f"({count}, {common}, 0x{fnv1a(np.argsort(tied_values(count, common))):016x}),")
