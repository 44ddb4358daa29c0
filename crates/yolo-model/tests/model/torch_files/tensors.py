"""What is said of tensors, for a comparison of every bit."""
import torch


def digest(tensor):
    """The sum of every value's bits times its place, modulo 2^32."""
    if tensor.is_floating_point():
        bits = tensor.detach().float().contiguous().view(torch.int32).flatten().to(torch.int64) & 0xFFFFFFFF
    else:
        bits = tensor.flatten()
    places = torch.arange(1, bits.numel() + 1)
    # Products of numbers below 2^32 wrap around in 64 bits, which keeps the lower half.
    return int((places * bits).sum()) & 0xFFFFFFFF


def described(state):
    """Name, shape, kind and digest of every tensor, in order."""
    return [
        {"name": name, "shape": list(tensor.shape), "float": tensor.is_floating_point(), "digest": digest(tensor)}
        for name, tensor in state.items()
    ]
