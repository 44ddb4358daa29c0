"""Times the convolutions of `yolo-cli bench --explain --json` (on stdin) in PyTorch, with bias and SiLU.

    torch_layers.py THREADS

Prints a table with the milliseconds of both. Needs the package torch.
"""
import json
import statistics
import sys
import time

import torch

torch.set_num_threads(int(sys.argv[1]))
report = json.load(sys.stdin)
network = report["runtime"][0]
print(f"{'convolution':<20}{'out×in×kernel':>16}{'s':>4}{'output':>10}{'zeros':>8}{'torch ms':>10}{'here ms':>10}{'ratio':>8}")
sums = [0.0, 0.0]
with torch.inference_mode():
    for layer in network["layers"]:
        out, inputs, kernel_height, kernel_width = layer["weight"]
        height, width = layer["output"]
        stride = layer["stride"][0]
        padding = (kernel_height - 1) // 2 if kernel_height % 2 else kernel_height // 2 - 1
        conv = torch.nn.Conv2d(inputs, out, (kernel_height, kernel_width), stride, padding)
        images = torch.rand(network["batch_size"], inputs, height * stride, width * stride)
        times = []
        for repetition in range(13):
            start = time.perf_counter()
            torch.nn.functional.silu(conv(images), inplace=True)
            if repetition >= 3:
                times.append((time.perf_counter() - start) * 1e3)
        theirs = statistics.median(times)
        ours = min(candidate["ms"] for candidate in layer["candidates"])
        sums = [sums[0] + theirs, sums[1] + ours]
        shape = f"{out}×{inputs}×{kernel_height}×{kernel_width}"
        print(f"{layer['name']:<20}{shape:>16}{stride:>4}{f'{height}×{width}':>10}{100 * layer['sparsity']:>6.1f} %"
              f"{theirs:>10.3f}{ours:>10.3f}{ours / theirs:>8.2f}")
print(f"All convolutions: PyTorch {torch.__version__} {sums[0]:.2f} ms, here {sums[1]:.2f} ms ({sums[1] / sums[0]:.2f} of it)")
