"""The layers of our networks in PyTorch, for a comparison of speed on the same device.

    torch_layers_of.py DEVICE FOLDER BATCH SIZE        (DEVICE: cuda:0 or cpu; SECONDS=4 WARM_UP=10 in the environment)

FOLDER holds an architecture per network, NAME.json, as `yolo-cli device-check` writes it. Prints a line of JSON per
figure. Needs the package torch.
"""
import contextlib
import json
import os
import pathlib
import sys
import time

import torch
from torch import nn

EPSILON, MOMENTUM = 1e-3, 0.03
SECONDS = float(os.environ.get("SECONDS", "4"))
WARM_UP = int(os.environ.get("WARM_UP", "10"))


class ConvBlock(nn.Module):
    """Convolution, batch normalisation, SiLU."""

    def __init__(self, spec):
        super().__init__()
        self.conv = nn.Conv2d(spec["in"], spec["out"], spec["k"], spec.get("s", 1), spec.get("p", 0), bias=False)
        self.norm = nn.BatchNorm2d(spec["out"], EPSILON, MOMENTUM)

    def forward(self, x):
        return nn.functional.silu(self.norm(self.conv(x)), inplace=True)

    def fuse(self):
        """Folds the normalisation into the convolution, as everybody does for inference."""
        scale = self.norm.weight / (self.norm.running_var + self.norm.eps).sqrt()
        conv = self.conv
        fused = nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding)
        fused.weight.data = conv.weight.data * scale.view(-1, 1, 1, 1)
        fused.bias.data = self.norm.bias - self.norm.running_mean * scale
        self.conv, self.norm = fused, nn.Identity()


class Residual(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.first, self.second, self.add = ConvBlock(spec["cv1"]), ConvBlock(spec["cv2"]), spec["add"]

    def forward(self, x):
        y = self.second(self.first(x))
        return x + y if self.add else y


class CrossStage(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.entry, self.beside, self.join = (ConvBlock(spec[key]) for key in ("cv1", "cv2", "cv3"))
        self.deep = nn.Sequential(*(Residual(inner) for inner in spec["m"]))

    def forward(self, x):
        return self.join(torch.cat((self.deep(self.entry(x)), self.beside(x)), 1))


class Pyramid(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.entry, self.join = ConvBlock(spec["cv1"]), ConvBlock(spec["cv2"])
        self.pool = nn.MaxPool2d(spec["pool"], 1, spec["pool"] // 2)

    def forward(self, x):
        stages = [self.entry(x)]
        for _ in range(3):
            stages.append(self.pool(stages[-1]))
        return self.join(torch.cat(stages, 1))


class Concatenation(nn.Module):
    def forward(self, *inputs):
        return torch.cat(inputs, 1)


class Head(nn.Module):
    def __init__(self, spec):
        super().__init__()
        outputs = len(spec["anchors"][0]) * (5 + spec["num_classes"])
        self.levels = nn.ModuleList(nn.Conv2d(channels, outputs, 1) for channels in spec["in_channels"])

    def forward(self, *inputs):
        return [conv(x) for conv, x in zip(self.levels, inputs)]


def layer(block):
    if block == "Concat":
        return Concatenation()
    (kind, spec), = block.items()
    if kind == "Upsample":
        return nn.Upsample(scale_factor=spec["scale"], mode="nearest")
    return {"Conv": ConvBlock, "Bottleneck": Residual, "C3": CrossStage, "Sppf": Pyramid, "Detect": Head}[kind](spec)


class Network(nn.Module):
    def __init__(self, architecture):
        super().__init__()
        self.layers = nn.ModuleList(layer(entry["block"]) for entry in architecture["layers"])
        self.sources = [
            [index + source if source < 0 else source for source in entry["from"]]
            for index, entry in enumerate(architecture["layers"])
        ]

    def forward(self, images):
        outputs = []
        for layer, sources in zip(self.layers, self.sources):
            # Source −1 is the image.
            outputs.append(layer(*(images if source < 0 else outputs[source] for source in sources)))
        return outputs[-1]


def per_second(run, batch, device):
    def wait():
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    for _ in range(WARM_UP):
        run()
    wait()
    start, runs = time.perf_counter(), 0
    while runs < 3 or time.perf_counter() - start < SECONDS:
        run()
        wait()
        runs += 1
    return runs * batch / (time.perf_counter() - start)


def inference(network, pixels, layout, half, device):
    network = network.to(device).eval()
    for module in network.modules():
        if isinstance(module, ConvBlock):
            module.fuse()
    network = network.to(dtype=half, memory_format=layout)

    def run():
        with torch.inference_mode():
            images = pixels.to(device, non_blocking=True).to(half).div_(255).contiguous(memory_format=layout)
            for level in network(images):
                level.cpu()

    return run


def training(network, pixels, layout, half, device):
    network = network.to(device).to(memory_format=layout).train()
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-6, momentum=0.9, nesterov=True)
    is_gpu = device.type == "cuda"
    scaler = torch.amp.GradScaler("cuda", enabled=is_gpu)
    mixed = torch.autocast(device.type, half) if half != torch.float32 else contextlib.nullcontext()

    def run():
        images = pixels.to(device, non_blocking=True).float().div_(255).contiguous(memory_format=layout)
        with mixed:
            levels = network(images)
        # Cheaper than a detection loss, which favours this side.
        loss = sum(level.float().square().mean() for level in levels)
        scaler.scale(loss).backward()
        scaler.unscale_(optimiser) if is_gpu else None
        torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        scaler.step(optimiser)
        scaler.update()
        optimiser.zero_grad(set_to_none=True)

    return run


def main():
    device, folder = torch.device(sys.argv[1]), pathlib.Path(sys.argv[2])
    batch, size = int(sys.argv[3]), int(sys.argv[4])
    # A processor computes faster in single precision.
    half = torch.float16 if device.type == "cuda" else torch.float32
    layouts = [("PyTorch, eager", torch.contiguous_format)]
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        layouts.append(("PyTorch, channels last", torch.channels_last))
    pixels = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8)
    pixels = pixels.pin_memory() if device.type == "cuda" else pixels
    for path in sorted(folder.glob("*.json")):
        architecture = json.loads(path.read_text())
        for name, layout in layouts:
            for task, make in (("inference", inference), ("training", training)):
                run = make(Network(architecture), pixels, layout, half, device)
                speed = per_second(run, batch, device)
                figure = {"model": path.stem, "task": task, "layout": name, "images_per_second": speed}
                print(json.dumps(figure), flush=True)
                del run
                if device.type == "cuda":
                    torch.cuda.empty_cache()


main()
