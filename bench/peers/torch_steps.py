"""Train steps of the bench in eager PyTorch, f32, on the GPU: prints the median milliseconds of each case as JSON.

Weights are random: the time does not depend on them. The LoRA case needs transformers and peft and is left out
without them.
"""

import json
import statistics
import sys
import time

import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
ROUNDS = 10


def timed(step):
    times = []
    for round_ in range(ROUNDS + 3):
        start = time.perf_counter()
        step()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        if round_ >= 3:
            times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


class Block(torch.nn.Module):
    def __init__(self, width, heads, inner):
        super().__init__()
        linear = lambda a, b: torch.nn.Linear(a, b, bias=False)
        self.heads = heads
        self.norms = torch.nn.ModuleList(torch.nn.RMSNorm(width) for _ in range(2))
        self.q, self.k, self.v, self.o = (linear(width, width) for _ in range(4))
        self.gate, self.up, self.down = linear(width, inner), linear(width, inner), linear(inner, width)

    def forward(self, x, cos, sin):
        rows = self.norms[0](x)
        split = lambda y: y.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        turn = lambda y: y * cos + torch.cat((-y[..., y.shape[-1] // 2 :], y[..., : y.shape[-1] // 2]), -1) * sin
        q, k, v = turn(split(self.q(rows))), turn(split(self.k(rows))), split(self.v(rows))
        mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(mixed.transpose(1, 2).flatten(2))
        rows = self.norms[1](x)
        return x + self.down(torch.nn.functional.silu(self.gate(rows)) * self.up(rows))


class Decoder(torch.nn.Module):
    def __init__(self, case):
        super().__init__()
        width, heads = case["width"], case["heads"]
        self.embed = torch.nn.Embedding(case["vocab"], width)
        self.blocks = torch.nn.ModuleList(Block(width, heads, case["feedForward"]) for _ in range(case["layers"]))
        self.norm = torch.nn.RMSNorm(width)
        self.head = torch.nn.Linear(width, case["vocab"], bias=False)
        half = width // heads // 2
        angles = torch.arange(case["tokens"])[:, None] * 10000 ** (-torch.arange(half) / half)
        self.register_buffer("cos", angles.cos().repeat(1, 2))
        self.register_buffer("sin", angles.sin().repeat(1, 2))

    def forward(self, tokens):
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return self.head(self.norm(x))


def train_step(case):
    model = Decoder(case).to(DEVICE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    tokens = torch.randint(case["vocab"], (case["batch"], case["tokens"] + 1), device=DEVICE)

    def step():
        optimizer.zero_grad(set_to_none=True)
        logits = model(tokens[:, :-1])
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        return loss.item()

    return timed(step)


def lora_step(case):
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(LlamaConfig(**case["config"])).to(DEVICE)
    modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    model = get_peft_model(model, LoraConfig(r=case["rank"], lora_alpha=2 * case["rank"], target_modules=modules))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    tokens = torch.randint(case["config"]["vocab_size"], (case["batch"], case["tokens"]), device=DEVICE)

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        optimizer.step()
        return loss.item()

    return timed(step)


def main():
    torch.backends.cuda.matmul.allow_tf32 = False
    results = {}
    for name, case in json.loads(sys.argv[1]).items():
        try:
            results[name] = lora_step(case) if name == "lora" else train_step(case)
        except ImportError as error:
            print(error, file=sys.stderr)
    print(json.dumps(results))


main()
