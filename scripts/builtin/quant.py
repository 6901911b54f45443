"""GGUF blocks of 32: Q8_0, Q4_0 and Q4_1, as numbers that stay on the device (used in training) and as the bytes of a file."""

from __future__ import annotations

import torch
from torch import Tensor


def half(x: Tensor) -> Tensor:
    return x.to(torch.float16).to(torch.float32)


def rounded(w: Tensor, kind: str) -> Tensor:
    """The values that a file with blocks of `kind` gives back for `w`."""
    blocks = w.detach().float().reshape(-1, 32)
    if kind == "Q8_0":
        d = blocks.abs().amax(1, keepdim=True) / 127
        inverse = torch.where(d == 0, torch.zeros_like(d), 1 / d)
        q = half_away(blocks * inverse)
        y = q * half(d)
    elif kind == "Q4_0":
        index = blocks.abs().argmax(1, keepdim=True)
        d = blocks.gather(1, index) / -8
        inverse = torch.where(d == 0, torch.zeros_like(d), 1 / d)
        q = torch.trunc(blocks * inverse + 8.5).clamp(0, 15)
        y = (q - 8) * half(d)
    elif kind == "Q4_1":
        low = blocks.amin(1, keepdim=True)
        d = (blocks.amax(1, keepdim=True) - low) / 15
        inverse = torch.where(d == 0, torch.zeros_like(d), 1 / d)
        q = torch.trunc((blocks - low) * inverse + 0.5).clamp(0, 15)
        y = q * half(d) + half(low)
    elif kind == "F32":
        y = blocks
    else:
        raise ValueError(f"no rounding for {kind}")
    return y.reshape(w.shape)


def half_away(x: Tensor) -> Tensor:
    """Round halves away from zero, as the reference quantizer does."""
    magnitude = x.abs()
    floor = magnitude.floor()
    return torch.sign(x) * (floor + torch.floor(2 * (magnitude - floor)))


def fake(w: Tensor, kind: str) -> Tensor:
    """`rounded(w)` in the forward pass, the identity in the backward pass."""
    return w + (rounded(w, kind) - w).detach()


def round_state(state: dict[str, Tensor], kind: str) -> dict[str, Tensor]:
    """Rounds every matrix of a model (embedding and head to Q8_0); vectors stay."""
    out = {}
    for name, tensor in state.items():
        if tensor.ndim != 2:
            out[name] = tensor.clone()
        else:
            out[name] = rounded(tensor, "Q8_0" if "embed_tokens" in name or "lm_head" in name else kind)
    return out
