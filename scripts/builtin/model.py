"""The four decoder families in one module: Llama, Qwen 2, Qwen 3 and Gemma 3 (text), with optional LoRA and rounding to GGUF blocks."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quant import fake
from zoo import Shape


class Norm(nn.Module):
    def __init__(self, width: int, eps: float, plus_one: bool):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width) if plus_one else torch.ones(width))
        self.eps, self.plus_one = eps, plus_one

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, 1 + self.weight if self.plus_one else self.weight, self.eps)


class Linear(nn.Module):
    def __init__(self, inputs: int, outputs: int, bias: bool = False, std: float = 0.02):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * std)
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.rounding: str | None = None
        self.lora_a: nn.Parameter | None = None
        self.lora_b: nn.Parameter | None = None
        self.scale = 1.0
        self.delta: Tensor | None = None  # [S, outputs, inputs], added to the weight of S models that run side by side

    def add_lora(self, rank: int, alpha: float, generators: list[torch.Generator]) -> None:
        """One adapter for every generator: S runs that differ by their seed are trained side by side."""
        outputs, inputs = self.weight.shape
        a = torch.stack([(torch.rand(rank, inputs, generator=g) * 2 - 1) / math.sqrt(inputs) for g in generators])
        self.lora_a = nn.Parameter(a.to(self.weight.device))
        self.lora_b = nn.Parameter(torch.zeros(len(generators), outputs, rank, device=self.weight.device))
        self.scale = alpha / rank

    def forward(self, x: Tensor) -> Tensor:
        w = self.weight if self.rounding is None else fake(self.weight, self.rounding)
        y = F.linear(x, w, self.bias)
        if self.lora_a is not None:
            side = x.reshape(len(self.lora_a), -1, x.shape[-1])
            y = y + self.scale * (side @ self.lora_a.transpose(1, 2) @ self.lora_b.transpose(1, 2)).view(y.shape)
        if self.delta is not None:
            side = x.reshape(len(self.delta), -1, x.shape[-1])
            y = y + (side @ self.delta.transpose(1, 2)).view(y.shape)
        return y


def rotation(length: int, dim: int, base: float) -> tuple[Tensor, Tensor]:
    frequency = 1.0 / base ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim)
    angle = torch.outer(torch.arange(length, dtype=torch.float32), frequency)
    angle = torch.cat([angle, angle], -1)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat([-b, a], -1) * sin


class Attention(nn.Module):
    def __init__(self, s: Shape, std: float):
        super().__init__()
        self.s = s
        biased = s.family == "qwen2"
        self.q_proj = Linear(s.width, s.heads * s.head_dim, biased, std)
        self.k_proj = Linear(s.width, s.kv_heads * s.head_dim, biased, std)
        self.v_proj = Linear(s.width, s.kv_heads * s.head_dim, biased, std)
        self.o_proj = Linear(s.heads * s.head_dim, s.width, False, std / math.sqrt(2 * s.layers))
        gemma = s.family == "gemma3"
        if s.family in ("qwen3", "gemma3"):
            self.q_norm, self.k_norm = Norm(s.head_dim, s.eps, gemma), Norm(s.head_dim, s.eps, gemma)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None) -> Tensor:
        s, (b, t, _) = self.s, x.shape
        q = self.q_proj(x).view(b, t, s.heads, s.head_dim).transpose(1, 2)
        k = self.k_proj(x).view(b, t, s.kv_heads, s.head_dim).transpose(1, 2)
        v = self.v_proj(x).view(b, t, s.kv_heads, s.head_dim).transpose(1, 2)
        if s.family in ("qwen3", "gemma3"):
            q, k = self.q_norm(q), self.k_norm(k)
        q, k = rotate(torch.cat([q, k], 1), cos, sin).split([s.heads, s.kv_heads], 1)
        k, v = (z.repeat_interleave(s.heads // s.kv_heads, 1) for z in (k, v))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, scale=s.head_dim**-0.5)
        return self.o_proj(y.transpose(1, 2).reshape(b, t, -1))


class Mlp(nn.Module):
    def __init__(self, s: Shape, std: float):
        super().__init__()
        self.gate_proj = Linear(s.width, s.inner, False, std)
        self.up_proj = Linear(s.width, s.inner, False, std)
        self.down_proj = Linear(s.inner, s.width, False, std / math.sqrt(2 * s.layers))
        self.gelu = s.family == "gemma3"

    def forward(self, x: Tensor) -> Tensor:
        gate = self.gate_proj(x)
        gate = F.gelu(gate, approximate="tanh") if self.gelu else F.silu(gate)
        return self.down_proj(gate * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, s: Shape, std: float):
        super().__init__()
        gemma = s.family == "gemma3"
        self.input_layernorm = Norm(s.width, s.eps, gemma)
        self.self_attn = Attention(s, std)
        self.post_attention_layernorm = Norm(s.width, s.eps, gemma)
        self.mlp = Mlp(s, std)
        self.gemma = gemma
        if gemma:
            self.pre_feedforward_layernorm = Norm(s.width, s.eps, True)
            self.post_feedforward_layernorm = Norm(s.width, s.eps, True)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None) -> Tensor:
        y = self.self_attn(self.input_layernorm(x), cos, sin, mask)
        if self.gemma:
            x = x + self.post_attention_layernorm(y)
            return x + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(x)))
        x = x + y
        return x + self.mlp(self.post_attention_layernorm(x))


class Body(nn.Module):
    def __init__(self, s: Shape, vocab: int, std: float):
        super().__init__()
        self.embed_tokens = nn.Embedding(vocab, s.width)
        nn.init.normal_(self.embed_tokens.weight, std=std)
        self.layers = nn.ModuleList(Layer(s, std) for _ in range(s.layers))
        self.norm = Norm(s.width, s.eps, s.family == "gemma3")


class Model(nn.Module):
    def __init__(self, s: Shape, vocab: int):
        super().__init__()
        self.s, self.vocab = s, vocab
        std = 0.04
        self.model = Body(s, vocab, std)
        self.lm_head = None if s.tied else Linear(s.width, vocab, False, std)
        self.rounding: str | None = None
        for name, base in (("full", s.rope_base), ("near", s.rope_base_sliding)):
            cos, sin = rotation(s.context, s.head_dim, base)
            self.register_buffer(f"cos_{name}", cos, persistent=False)
            self.register_buffer(f"sin_{name}", sin, persistent=False)
        at = torch.arange(s.context)
        causal = at[:, None] >= at[None, :]
        self.register_buffer("mask_near", causal & (at[:, None] - at[None, :] < max(s.window, 1)), persistent=False)

    def round_to(self, kind: str | None) -> None:
        """Compute with weights rounded to GGUF blocks (the embedding and the head to Q8_0); gradients pass the rounding unchanged."""
        self.rounding = kind
        for module in self.model.modules():
            if isinstance(module, Linear):
                module.rounding = kind
        if self.lm_head is not None:
            self.lm_head.rounding = None if kind is None else "Q8_0"

    def add_lora(self, rank: int, alpha: float, seeds: list[int], matrices: tuple[str, ...]) -> list[nn.Parameter]:
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        for parameter in self.parameters():
            parameter.requires_grad_(False)
        added = []
        for name, module in self.model.named_modules():
            if isinstance(module, Linear) and name.split(".")[-1] in matrices:
                module.add_lora(rank, alpha, generators)
                added += [module.lora_a, module.lora_b]
        return added

    def forward(self, ids: Tensor, only: Tensor | None = None) -> Tensor:
        """Logits [N, T, V]; with `only` [N] those of one position a row, [N, V]."""
        t = ids.shape[1]
        table = self.model.embed_tokens.weight
        if self.rounding is not None:
            table = fake(table, "Q8_0")
        x = F.embedding(ids, table)
        if self.s.family == "gemma3":
            x = x * self.s.width**0.5
        for i, layer in enumerate(self.model.layers):
            kind = "near" if self.s.sliding(i) else "full"
            cos, sin = getattr(self, f"cos_{kind}"), getattr(self, f"sin_{kind}")
            x = layer(x, cos[:t], sin[:t], self.mask_near[:t, :t] if kind == "near" and t > self.s.window else None)
        if only is not None:
            x = x[torch.arange(len(x), device=x.device), only]
        x = self.model.norm(x)
        return F.linear(x, table) if self.lm_head is None else self.lm_head(x)
