"""Loads a .pt file with PyTorch and prints what is in it, as JSON.

    load.py FILE

Classes of YOLOv5 are stood in for by empty subclasses of torch.nn.Module, so what is found is what the pickle itself holds.
"""
import json
import sys
import types

import torch

from tensors import described


def stand_in(path, base=torch.nn.Module):
    """A class at a dotted path, which pickles can name."""
    module, name = path.rsplit(".", 1)
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        sys.modules.setdefault(".".join(parts[:end]), types.ModuleType(".".join(parts[:end])))
    forward = {"Conv": lambda self, x: self.act(self.bn(self.conv(x)))}.get(name)
    members = {"forward": forward} if forward else {}
    setattr(sys.modules[module], name, type(name, (base,), {**members, "__module__": module}))


for name in [
    "Conv", "DWConv", "Bottleneck", "BottleneckCSP", "C3", "C3x", "C3TR", "C3SPP", "C3Ghost", "SPP", "SPPF", "Concat", "Focus",
    "CrossConv", "GhostConv", "GhostBottleneck", "Contract", "Expand", "TransformerBlock", "TransformerLayer",
]:
    stand_in(f"models.common.{name}")
stand_in("models.common.DWConvTranspose2d", torch.nn.ConvTranspose2d)
stand_in("models.experimental.MixConv2d")
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
    if all(type(layer).__name__ == "Conv" for layer in model.model[:2]):
        with torch.no_grad():
            first = model.model[0](torch.rand(1, model.model[0].conv.in_channels, 32, 32))
            said["first_layer"] = list(first.shape)
            model.model[1](first)
    # Everything that the library expects of a module is there: what walks and changes it works.
    model.half().float().train().eval()
    model.zero_grad()
    state = dict(state)


said["state_dict"] = described(state)
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
