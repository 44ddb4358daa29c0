"""PyTorch's time for the layer stack of yolov5n: forward, then backward of the sum of squares.

    python train_step.py [batch] [pixels] [threads]

The stack is built from the layer table of configs/models/yolov5n.yaml: widths 16 to 256, bottlenecks 1, 2, 3, 1.
Prints the medians of ten steps in milliseconds.
"""

import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional


class ConvBlock(nn.Sequential):
    """Convolution, batch normalisation, SiLU."""

    def __init__(self, inputs, outputs, kernel=1, stride=1, padding=None):
        padding = kernel // 2 if padding is None else padding
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False),
            nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03),
            nn.SiLU(inplace=True),
        )


class Residual(nn.Module):
    """1x1, 3x3, and the shortcut."""

    def __init__(self, width, shortcut):
        super().__init__()
        self.reduce, self.spatial, self.shortcut = ConvBlock(width, width), ConvBlock(width, width, 3), shortcut

    def forward(self, x):
        y = self.spatial(self.reduce(x))
        return x + y if self.shortcut else y


class CrossStage(nn.Module):
    """A chain of residuals beside a plain 1x1, joined by a 1x1."""

    def __init__(self, inputs, outputs, repeats, shortcut=True):
        super().__init__()
        half = outputs // 2
        self.enter, self.beside = ConvBlock(inputs, half), ConvBlock(inputs, half)
        self.chain = nn.Sequential(*[Residual(half, shortcut) for _ in range(repeats)])
        self.join = ConvBlock(outputs, outputs)

    def forward(self, x):
        return self.join(torch.cat([self.chain(self.enter(x)), self.beside(x)], 1))


class Pyramid(nn.Module):
    """Three chained 5x5 max-pools."""

    def __init__(self, width):
        super().__init__()
        self.enter, self.join = ConvBlock(width, width // 2), ConvBlock(width * 2, width)

    def forward(self, x):
        stages = [self.enter(x)]
        for _ in range(3):
            stages.append(functional.max_pool2d(stages[-1], 5, 1, 2))
        return self.join(torch.cat(stages, 1))


class Network(nn.Module):
    """Backbone, neck and three 1x1 heads."""

    def __init__(self, outputs=255):
        super().__init__()
        self.p2 = nn.Sequential(ConvBlock(3, 16, 6, 2, 2), ConvBlock(16, 32, 3, 2), CrossStage(32, 32, 1))
        self.p3 = nn.Sequential(ConvBlock(32, 64, 3, 2), CrossStage(64, 64, 2))
        self.p4 = nn.Sequential(ConvBlock(64, 128, 3, 2), CrossStage(128, 128, 3))
        self.p5 = nn.Sequential(ConvBlock(128, 256, 3, 2), CrossStage(256, 256, 1), Pyramid(256))
        self.lateral5, self.up4 = ConvBlock(256, 128), CrossStage(256, 128, 1, False)
        self.lateral4, self.up3 = ConvBlock(128, 64), CrossStage(128, 64, 1, False)
        self.down4, self.out4 = ConvBlock(64, 64, 3, 2), CrossStage(128, 128, 1, False)
        self.down5, self.out5 = ConvBlock(128, 128, 3, 2), CrossStage(256, 256, 1, False)
        self.heads = nn.ModuleList([nn.Conv2d(width, outputs, 1) for width in (64, 128, 256)])

    def forward(self, x):
        p3 = self.p3(self.p2(x))
        p4 = self.p4(p3)
        lateral5 = self.lateral5(self.p5(p4))
        lateral4 = self.lateral4(self.up4(torch.cat([functional.interpolate(lateral5, scale_factor=2.0), p4], 1)))
        out3 = self.up3(torch.cat([functional.interpolate(lateral4, scale_factor=2.0), p3], 1))
        out4 = self.out4(torch.cat([self.down4(out3), lateral4], 1))
        out5 = self.out5(torch.cat([self.down5(out4), lateral5], 1))
        return [head(x) for head, x in zip(self.heads, (out3, out4, out5))]


def main():
    batch, pixels, threads = (int(a) for a in (sys.argv[1:] + ["8", "320", "2"][len(sys.argv) - 1 :]))
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network = Network().train()
    images = torch.rand(batch, 3, pixels, pixels)
    print(f"parameters {sum(p.numel() for p in network.parameters())}, torch {torch.__version__}")
    forward, backward, both = [], [], []
    for step in range(13):
        network.zero_grad(set_to_none=True)
        start = time.perf_counter()
        loss = sum((level**2).sum() for level in network(images))
        middle = time.perf_counter()
        loss.backward()
        end = time.perf_counter()
        if step >= 3:
            forward.append(middle - start), backward.append(end - middle), both.append(end - start)
    for name, times in (("forward", forward), ("backward", backward), ("both", both)):
        print(f"{name} {1e3 * statistics.median(times):.1f} ms (min {1e3 * min(times):.1f})")


if __name__ == "__main__":
    main()
