"""Trains one built-in model from its seed and writes its weights as safetensors."""

from __future__ import annotations

import argparse
import math
import multiprocessing
import multiprocessing.pool
import random
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

import data
import toks
from model import Model
from zoo import BY_NAME, Entry, Polish

# Rows of one turn and of two turns, each kind in batches of its own: (turns, tokens, share of the batch size);
# every fourth step is of the second kind.
KINDS = ((1, 44, 1.0), (2, 80, 0.25))
ROUNDED_FROM = 0.75  # from this part of the steps on the weights are rounded to their blocks


def pairs(entry: Entry, rng: random.Random, mix: dict[str, float]) -> tuple[str, str]:
    if entry.role == "pivot":
        return data.pivot_pair(rng, mix)
    return data.source_pair(list(entry.knows), rng)


def last_pairs(entry: Entry, last: Polish, rng: random.Random) -> tuple[str, str]:
    """What the last part of a training is about."""
    if entry.role == "pivot":
        return data.pivot_pair(rng, data.PIVOT_POLISH)
    return data.source_pair(list(last.domains), rng, data.POLISH)


def chunk(job: tuple[str, str, int, int, float, int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """`count` training rows of `turns` turns: ids and learning weights, [count, length]."""
    name, path, seed, count, questions, turns, length = job
    torch.set_num_threads(1)
    entry = BY_NAME[name]
    tokenizer = Tokenizer.from_file(path)
    rng = random.Random(f"train-{name}-{entry.seed}-{turns}-{seed}")
    ids = torch.zeros(count, length, dtype=torch.int16)
    weight = torch.zeros(count, length, dtype=torch.float16)
    mix = data.PIVOT_MIX | {"questions": questions}
    row = 0
    while row < count:
        tokens, learn = toks.encode(tokenizer, entry, [pairs(entry, rng, mix) for _ in range(turns)])
        if len(tokens) > length:
            continue
        ids[row, :len(tokens)] = torch.tensor(tokens, dtype=torch.int16)
        weight[row, :len(tokens)] = torch.tensor([1.0 if x else entry.text_weight for x in learn], dtype=torch.float16)
        row += 1
    return ids, weight


def build_pool(entry: Entry, path: Path, count: int, pool: multiprocessing.pool.Pool, questions: float) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The rows of each kind."""
    size = 2000
    jobs, kinds = [], []
    for kind, (turns, length, part) in enumerate(KINDS):
        for i in range(math.ceil(count * part / size)):
            jobs.append((entry.name, str(path), i, size, questions, turns, length))
            kinds.append(kind)
    parts = pool.map(chunk, jobs, chunksize=1)
    return [tuple(torch.cat([p[j] for p, k in zip(parts, kinds) if k == kind]) for j in (0, 1)) for kind in range(len(KINDS))]


def loss_of(model: Model, ids: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    logits = model(ids[:, :-1])
    nll = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    w = weight[:, 1:].flatten()
    return (nll * w).sum() / w.sum()


class Trainer:
    """One model in training. On a GPU its step is a recorded graph on a stream of its own, so that several trainers share the device."""

    def __init__(self, entry: Entry, pools: list[tuple[torch.Tensor, torch.Tensor]], steps: int, batch: int, label: str):
        torch.manual_seed(entry.seed)
        self.entry, self.steps, self.label = entry, steps, label
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.cuda = self.device == "cuda"
        self.pools = [(i.to(self.device), w.to(self.device)) for i, w in pools]
        self.model = Model(entry.shape, entry.vocab).to(self.device)
        decay = [p for p in self.model.parameters() if p.ndim == 2]
        rest = [p for p in self.model.parameters() if p.ndim != 2]
        self.rate = torch.tensor(0.0, device=self.device)
        self.optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}],
                                           lr=self.rate if self.cuda else 0.0, betas=(0.9, 0.98), fused=self.cuda, capturable=self.cuda)
        self.inputs = []
        for _, length, part in KINDS:
            rows = max(1, int(batch * part))
            self.inputs.append((torch.zeros(rows, length, dtype=torch.long, device=self.device), torch.zeros(rows, length, device=self.device)))
        self.generator = torch.Generator(device=self.device).manual_seed(entry.seed)
        self.graphs: dict[int, tuple[torch.cuda.CUDAGraph, torch.Tensor]] = {}
        self.stream = torch.cuda.Stream() if self.cuda else None
        self.loss = torch.tensor(0.0)

    def compute(self, kind: int) -> torch.Tensor:
        self.optimizer.zero_grad(set_to_none=False)
        loss = loss_of(self.model, *self.inputs[kind])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0, foreach=True)
        self.optimizer.step()
        return loss.detach()

    def fill(self, kind: int) -> None:
        ids, weight = self.pools[kind]
        x, w = self.inputs[kind]
        pick = torch.randint(len(ids), (len(x),), generator=self.generator, device=self.device)
        x.copy_(ids[pick])
        w.copy_(weight[pick])

    def record(self) -> None:
        """Two plain steps of each kind, then the graphs. They are real steps at a tiny rate."""
        self.graphs = {}
        if not self.cuda:
            return
        torch.cuda.synchronize()
        with torch.cuda.stream(self.stream):
            self.rate.fill_(1e-6)
            for kind in range(len(KINDS)):
                self.fill(kind)
                self.compute(kind)
                self.compute(kind)
        torch.cuda.synchronize()
        for kind in range(len(KINDS)):
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=self.stream):
                loss = self.compute(kind)
            self.graphs[kind] = (graph, loss)
        torch.cuda.synchronize()

    def step(self, i: int) -> None:
        if i >= self.steps:
            return
        if i == 0 or i == int(self.steps * ROUNDED_FROM):
            self.model.round_to(self.entry.quant if i else None)
            self.record()
        kind = 1 if i % 4 == 3 else 0
        now = self.entry.lr * min(1.0, (i + 1) / 150) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * i / self.steps)))
        if self.cuda:
            with torch.cuda.stream(self.stream):
                self.rate.fill_(now)
                self.fill(kind)
                self.graphs[kind][0].replay()
                self.loss = self.graphs[kind][1]
        else:
            for part in self.optimizer.param_groups:
                part["lr"] = now
            self.fill(kind)
            self.loss = self.compute(kind)

    def save(self, out: Path) -> None:
        if self.cuda:
            torch.cuda.synchronize()
        save_file({k: v.detach().float().cpu().contiguous() for k, v in self.model.state_dict().items()}, out / f"{self.label}.safetensors")


def polish(entry: Entry, folder: Path, out: Path) -> None:
    """The last part of a training: few steps with rounded weights from a lower rate on, on a mix of its own."""
    last = entry.polish
    steps, rate = last.steps, last.rate
    torch.manual_seed(entry.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    path = out / f"{entry.name}.safetensors"
    model = Model(entry.shape, entry.vocab)
    model.load_state_dict(load_file(path))
    model.to(device).round_to(entry.quant)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.0)
    tokenizer = Tokenizer.from_file(str(folder / f"{entry.name}.tokenizer.json"))
    rng = random.Random(f"polish-{entry.name}-{entry.seed}")
    started = time.time()
    for i in range(steps):
        turns = 2 if i % 8 == 7 else 1
        made = [toks.encode(tokenizer, entry, [last_pairs(entry, last, rng) for _ in range(turns)]) for _ in range(last.rows // turns)]
        longest = max(len(ids) for ids, _ in made)
        x = torch.tensor([ids + [0] * (longest - len(ids)) for ids, _ in made], device=device)
        w = torch.tensor([[1.0 if a else entry.text_weight for a in learn] + [0.0] * (longest - len(learn)) for _, learn in made], device=device)
        for part in optimizer.param_groups:
            part["lr"] = rate * min(1.0, (i + 1) / 20) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * i / steps)))
        loss = loss_of(model, x, w)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if i % 25 == 0 or i == steps - 1:
            print(f"polish {entry.name} step {i} loss {float(loss):.4f} {time.time() - started:.0f} s", flush=True)
    save_file({k: v.detach().float().cpu().contiguous() for k, v in model.state_dict().items()}, path)


def train(names: list[str], folder: Path, out: Path, steps: int | None, pool_size: int, workers: int, batch: int) -> None:
    """Trains the named models at once. `name:tag:share` trains a pivot that also reads this share of the sources' questions."""
    torch.set_float32_matmul_precision("high")
    started = time.time()
    wanted = []
    for name in names:
        name, tag, share = (*name.split(":"), "", "")[:3]
        entry = BY_NAME[name]
        wanted.append((entry, name + tag, float(share or data.PIVOT_MIX["questions"])))
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        pools = [build_pool(entry, folder / f"{entry.name}.tokenizer.json", pool_size, pool, share) for entry, _, share in wanted]
    print(f"rows made, {time.time() - started:.0f} s", flush=True)
    trainers = [Trainer(entry, rows, steps or entry.steps, batch, label) for (entry, label, _), rows in zip(wanted, pools)]
    total = max(t.steps for t in trainers)
    for i in range(total):
        for t in trainers:
            t.step(i)
        if i % max(1, total // 8) == 0 or i == total - 1:
            print(f"step {i} " + " ".join(f"{t.label} {float(t.loss):.4f}" for t in trainers) + f" {time.time() - started:.0f} s", flush=True)
    out.mkdir(parents=True, exist_ok=True)
    for t in trainers:
        t.save(out)
        if t.entry.polish:
            polish(t.entry, folder, out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="+")
    parser.add_argument("--tokenizers", type=Path, default=Path(__file__).parent / "build" / "tok")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "build" / "w")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--rows", type=int, default=100000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--batch", type=int, default=256)
    a = parser.parse_args()
    train(a.names, a.tokenizers, a.out, a.steps, a.rows, a.workers, a.batch)
