"""Loads a .pt file for the package ultralytics with PyTorch, checks it, and prints what is in it, as JSON.

    ultralytics.py FILE

Classes of the package are stood in for by empty subclasses of torch.nn.Module, so what is found is what the pickle itself
holds. A class that is not among them fails to load.
"""
import json
import sys
import types

import torch
from torch import nn

from tensors import described

CLASSES = {
    "conv": ["Conv", "DWConv", "Concat"],
    "block": ["Bottleneck", "C2", "C2f", "C3", "C3k", "C3k2", "C2PSA", "PSABlock", "Attention", "SPPF", "DFL"],
    "head": ["Detect"],
}
TOP = {
    "date", "version", "epoch", "best_fitness", "stopper", "model", "ema", "updates", "modelopt", "optimizer", "scaler",
    "train_args", "git", "pruning",
}
TABLES = ["training", "_parameters", "_buffers", "_modules", "_backward_hooks", "_forward_hooks"]


def stand_in(module, name):
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        sys.modules.setdefault(".".join(parts[:end]), types.ModuleType(".".join(parts[:end])))
    setattr(sys.modules[module], name, type(name, (nn.Module,), {"__module__": module}))


for file, names in CLASSES.items():
    for name in names:
        stand_in(f"ultralytics.nn.modules.{file}", name)
stand_in("ultralytics.nn.tasks", "DetectionModel")

# What each object holds before PyTorch adds what newer versions have.
stored = {}
restore = nn.Module.__setstate__


def remember(self, state):
    stored[id(self)] = set(state)
    restore(self, state)


nn.Module.__setstate__ = remember
content = torch.load(sys.argv[1], weights_only=False)
nn.Module.__setstate__ = restore

model = content["model"]
assert set(content) - {"pruning"} == TOP - {"pruning"}, set(content) ^ TOP
arguments = content["train_args"]
assert arguments["task"] == "detect" and model.args == arguments and model.task == "detect"
assert isinstance(content["version"], str) and content["epoch"] == -1
for key in ["date", "best_fitness", "stopper", "ema", "updates", "modelopt", "optimizer", "scaler", "git"]:
    assert content[key] is None, key
for name, module in model.named_modules():
    missing = [key for key in TABLES if key not in stored[id(module)]]
    assert not missing and not module.training, (name, missing)
for name, parameter in model.named_parameters():
    assert not parameter.requires_grad, name


def of(module, *names):
    """Attributes by name, all of which the file itself has to hold."""
    assert not set(names) - stored[id(module)], (type(module).__name__, set(names) - stored[id(module)])
    return [getattr(module, name) for name in names]


def conv2d(m):
    inputs, outputs, kernel, stride, padding, dilation, groups = of(
        m, "in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups"
    )
    assert of(m, "padding_mode", "transposed", "output_padding") == ["zeros", False, (0, 0)]
    (reverse,) = of(m, "_reversed_padding_repeated_twice")
    assert list(reverse) == [padding[1], padding[1], padding[0], padding[0]]
    assert list(m._parameters) == ["weight", "bias"]
    assert tuple(m.weight.shape) == (outputs, inputs // groups, *kernel) and inputs % groups == outputs % groups == 0
    assert m.bias is None or tuple(m.bias.shape) == (outputs,)
    return [inputs, outputs, list(kernel), list(stride), list(padding), list(dilation), groups, m.bias is not None]


def batch_norm(m):
    count, eps, momentum = of(m, "num_features", "eps", "momentum")
    assert of(m, "affine", "track_running_stats") == [True, True] and (eps, momentum) == (1e-3, 0.03)
    assert list(m._buffers) == ["running_mean", "running_var", "num_batches_tracked"]
    for tensor in [m.weight, m.bias, m.running_mean, m.running_var]:
        assert tuple(tensor.shape) == (count,)
    assert m.num_batches_tracked.shape == () and m.num_batches_tracked.dtype == torch.int64


def block(m):
    assert list(m._modules) == ["conv", "bn", "act"]
    assert m.bn.num_features == m.conv.out_channels and m.conv.bias is None


def depthwise(m):
    block(m)
    assert m.conv.groups == m.conv.in_channels == m.conv.out_channels


def bottleneck(m):
    (add,) = of(m, "add")
    assert m.cv1.conv.out_channels == m.cv2.conv.in_channels
    assert isinstance(add, bool) and (not add or m.cv1.conv.in_channels == m.cv2.conv.out_channels)


def ends(m):
    """Channels into and out of a block inside a stage."""
    while isinstance(m, nn.Sequential):
        return ends(m[0])[0], ends(m[-1])[1]
    name = type(m).__name__
    if name == "PSABlock":
        return m.attn.qkv.conv.in_channels, m.ffn[-1].conv.out_channels
    last = m.cv3 if name.startswith("C3") else m.cv2
    return m.cv1.conv.in_channels, last.conv.out_channels


def dense_stage(m):
    """C2f, C3k2: halves of one width, the second of which the blocks go on from, one behind the other."""
    (c,) = of(m, "c")
    assert m.cv1.conv.out_channels == 2 * c
    inputs = [ends(inner)[0] for inner in m.m]
    outputs = [ends(inner)[1] for inner in m.m]
    assert inputs == [c, *outputs[:-1]] and m.cv2.conv.in_channels == 2 * c + sum(outputs)


def split_stage(m):
    """C2, C2PSA: one half passes through the blocks."""
    (c,) = of(m, "c")
    assert m.cv1.conv.out_channels == m.cv2.conv.in_channels == 2 * c
    assert all(ends(inner) == (c, c) for inner in m.m)


def cross_stage(m):
    """C3, C3k."""
    assert ends(m.m) == (m.cv1.conv.out_channels, ends(m.m)[1])
    assert m.cv3.conv.in_channels == ends(m.m)[1] + m.cv2.conv.out_channels


def psa_block(m):
    (add,) = of(m, "add")
    width = m.attn.proj.conv.out_channels
    assert isinstance(add, bool) and m.ffn[0].conv.in_channels == width
    assert not add or width == m.attn.qkv.conv.in_channels == m.ffn[1].conv.out_channels


def attention(m):
    heads, head, key, scale = of(m, "num_heads", "head_dim", "key_dim", "scale")
    assert m.qkv.conv.out_channels == heads * (2 * key + head) and scale == key**-0.5
    assert m.proj.conv.in_channels == m.pe.conv.groups == m.pe.conv.in_channels == m.pe.conv.out_channels == heads * head


def sppf(m):
    pool = m.m
    count = getattr(m, "n", 3)
    assert m.cv2.conv.in_channels == (1 + count) * m.cv1.conv.out_channels
    assert pool.stride == 1 and pool.padding == pool.kernel_size // 2


def distribution(m):
    (bins,) = of(m, "c1")
    assert m.conv.weight.shape == (1, bins, 1, 1) and m.conv.weight.flatten().tolist() == list(range(bins))


def detect(m):
    classes, levels, bins, outputs, stride, _ = of(m, "nc", "nl", "reg_max", "no", "stride", "inplace")
    assert outputs == classes + 4 * bins and len(stride) == levels == len(m.f) and stride.tolist() == model.stride.tolist()
    assert {"cv2", "cv3", "dfl"} <= set(m._modules)
    assert isinstance(m.dfl, nn.Identity) if bins == 1 else m.dfl.c1 == bins
    pairs = [(m.cv2, m.cv3)]
    if "one2one_cv2" in m._modules:
        pairs.append((m.one2one_cv2, m.one2one_cv3))
    alive = [pair for pair in pairs if pair[0] is not None]
    assert alive
    for boxes, scores in alive:
        assert len(boxes) == len(scores) == levels
        assert all(branch[-1].out_channels == 4 * bins for branch in boxes)
        assert all(branch[-1].out_channels == classes for branch in scores)


CHECKS = {
    "Conv2d": conv2d,
    "BatchNorm2d": batch_norm,
    "SiLU": lambda m: of(m, "inplace"),
    "Identity": lambda m: None,
    "MaxPool2d": lambda m: of(m, "kernel_size", "stride", "padding", "dilation", "return_indices", "ceil_mode"),
    "Upsample": lambda m: of(m, "size", "scale_factor", "mode", "align_corners", "recompute_scale_factor", "name"),
    "Sequential": lambda m: None,
    "ModuleList": lambda m: None,
    "Conv": block,
    "DWConv": depthwise,
    "Concat": lambda m: of(m, "d"),
    "Bottleneck": bottleneck,
    "C2": split_stage,
    "C2f": dense_stage,
    "C3": cross_stage,
    "C3k": cross_stage,
    "C3k2": dense_stage,
    "C2PSA": split_stage,
    "PSABlock": psa_block,
    "Attention": attention,
    "SPPF": sppf,
    "DFL": distribution,
    "Detect": detect,
    "DetectionModel": lambda m: of(m, "save", "names", "stride", "yaml", "inplace", "nc"),
}
convs = {}
for name, module in model.named_modules():
    try:
        found = CHECKS[type(module).__name__](module)
    except (AssertionError, AttributeError) as error:
        raise SystemExit(f"{name} ({type(module).__name__}): {error!r}") from error
    if type(module).__name__ == "Conv2d":
        convs[name] = found

outputs = []
for index, layer in enumerate(model.model):
    i, f, kind, count = of(layer, "i", "f", "type", "np")
    assert i == index and count == sum(parameter.numel() for parameter in layer.parameters()), kind
    several = type(layer).__name__ in ("Concat", "Detect")
    assert kind and isinstance(f, list if several else int)
    outputs += [source % index if source < -1 else source for source in (f if several else [f]) if source != -1]
assert sorted(outputs) == model.save
head = model.model[-1]
assert isinstance(head.dfl, nn.Identity) or head.stride.dtype in (torch.float16, torch.float32)
shared = {id(m) for m in model.modules() if isinstance(m, nn.SiLU)}
assert len(shared) == 1, "one object is the activation of all blocks"
names = [model.names[index] for index in range(model.nc)]
assert len(model.names) == model.nc == head.nc == model.yaml["nc"] and "yaml_file" in model.yaml
state = model.state_dict()
# What the library does with modules works.
model.float().train().half().float().eval()


print(json.dumps({
    "imgsz": arguments.get("imgsz"),
    "names": names,
    "stride": [int(stride) for stride in model.stride],
    "yaml": model.yaml,
    "convs": convs,
    "bins": head.reg_max,
    "zeros": {name: int((tensor == 0).sum()) for name, tensor in state.items() if tensor.dim() == 4},
    "state_dict": described(state),
}))
