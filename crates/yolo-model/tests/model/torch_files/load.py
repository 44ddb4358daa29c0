"""Loads a .pt file with PyTorch and prints what is in it, as JSON.

    load.py FILE

Classes of YOLOv5 are stood in for by empty subclasses of torch.nn.Module, so what is found is what the pickle itself holds.
"""
import json
import sys
import types

import torch


def stand_in(path):
    """A class at a dotted path, which pickles can name."""
    module, name = path.rsplit(".", 1)
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        sys.modules.setdefault(".".join(parts[:end]), types.ModuleType(".".join(parts[:end])))
    forward = {"Conv": lambda self, x: self.act(self.bn(self.conv(x)))}.get(name)
    members = {"forward": forward} if forward else {}
    setattr(sys.modules[module], name, type(name, (torch.nn.Module,), {**members, "__module__": module}))


for name in ["Conv", "Bottleneck", "C3", "SPP", "SPPF", "Concat"]:
    stand_in(f"models.common.{name}")
for name in ["Model", "Detect"]:
    stand_in(f"models.yolo.{name}")

path = sys.argv[1]
try:
    content, weights_only = torch.load(path, weights_only=True), True
except Exception:  # a whole network
    content, weights_only = torch.load(path, weights_only=False), False

said = {"weights_only": weights_only}
if weights_only:
    said["class"] = type(content).__name__
    state = content
else:
    model = content["model"].float().eval()
    state = model.state_dict()
    said |= {
        "class": f"{type(model).__module__}.{type(model).__name__}",
        "epoch": content["epoch"],
        "layers": len(model.model),
        "names": [model.names[index] for index in range(len(model.names))],
        "stride": [int(stride) for stride in model.stride],
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }
    for index, layer in enumerate(model.model):
        assert layer.i == index and isinstance(layer.type, str)
        assert layer.np == sum(parameter.numel() for parameter in layer.parameters()), layer.type
    with torch.no_grad():
        said["first_layer"] = list(model.model[0](torch.rand(1, 3, 32, 32)).shape)
        model.model[1](model.model[0](torch.rand(1, 3, 32, 32)))
    # Everything that the library expects of a module is there: what walks and changes it works.
    model.half().float().train().eval()
    model.zero_grad()
    state = dict(state)


def digest(tensor):
    """The sum of every value's bits times its place, modulo 2^32."""
    if tensor.is_floating_point():
        bits = tensor.detach().float().contiguous().view(torch.int32).flatten().to(torch.int64) & 0xFFFFFFFF
    else:
        bits = tensor.flatten()
    places = torch.arange(1, bits.numel() + 1)
    # Products of numbers below 2^32 wrap around in 64 bits, which keeps the lower half.
    return int((places * bits).sum()) & 0xFFFFFFFF


said["state_dict"] = [
    {"name": name, "shape": list(tensor.shape), "float": tensor.is_floating_point(), "digest": digest(tensor)}
    for name, tensor in state.items()
]
if not weights_only:
    import torch.nn.utils.prune as prune

    said["masked"] = {}
    for name, module in model.named_modules():
        if hasattr(module, "weight_mask"):
            assert prune.is_pruned(module) and not isinstance(module.weight, torch.nn.Parameter)
            module(torch.rand(1, module.in_channels, 8, 8))
            zeros = int((module.weight == 0).sum())
            prune.remove(module, "weight")
            assert isinstance(module.weight, torch.nn.Parameter) and int((module.weight == 0).sum()) == zeros
            said["masked"][name] = zeros
print(json.dumps(said))
