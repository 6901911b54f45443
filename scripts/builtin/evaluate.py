"""Scores: greedy accuracy and NLL per byte of the answers, per domain."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer

import data
import toks
from model import Model
from quant import round_state
from zoo import Entry

HERE = Path(__file__).parent


def load(entry: Entry, folder: Path, tag: str = "") -> Model:
    """The model as its file holds it: weights rounded to their blocks."""
    model = Model(entry.shape, entry.vocab)
    model.load_state_dict(round_state(load_file(folder / f"{entry.name}{tag}.safetensors"), entry.quant))
    return model.eval()


def tokenizer_of(entry: Entry, folder: Path = HERE / "build" / "tok") -> Tokenizer:
    return Tokenizer.from_file(str(folder / f"{entry.name}.tokenizer.json"))


def pad(rows: list[list[int]], fill: int = 0, multiple: int = 1) -> torch.Tensor:
    longest = max(len(r) for r in rows)
    longest += -longest % multiple
    return torch.tensor([r + [fill] * (longest - len(r)) for r in rows])


@torch.no_grad()
def greedy(model: Model, tokenizer: Tokenizer, entry: Entry, prompts: list[str], longest: int = 16, copies: int = 1) -> list[list[str]]:
    """The answers of `copies` models side by side, ended by the end of turn."""
    device = next(model.parameters()).device
    end = tokenizer.token_to_id(entry.end)
    encoded = [toks.encode(tokenizer, entry, [], p)[0] for p in prompts]
    start = torch.tensor([len(e) for e in encoded], device=device).repeat(copies)
    ids = F.pad(pad(encoded), (0, longest)).to(device).repeat(copies, 1)
    every = torch.arange(len(ids), device=device)
    at, done = start.clone(), torch.zeros(len(ids), dtype=torch.bool, device=device)
    for _ in range(longest):
        # Padding stands on the right, where a causal model does not look.
        best = model(ids[:, :int(at.max())], at - 1).argmax(-1)
        ids[every, at] = torch.where(done, end, best)
        done |= best == end
        at += 1
        if bool(done.all()):
            break
    answers = []
    for row, first in zip(ids.tolist(), start.tolist()):
        new = row[first:first + longest]
        answers.append(tokenizer.decode(new[:new.index(end)] if end in new else new, skip_special_tokens=False))
    n = len(prompts)
    return [answers[i * n:(i + 1) * n] for i in range(copies)]


def accuracy(model: Model, tokenizer: Tokenizer, entry: Entry, rows: list[dict], copies: int = 1) -> list[list[bool]]:
    answers = greedy(model, tokenizer, entry, [r["messages"][0]["content"] for r in rows], copies=copies)
    return [[data.is_right(a, r["accept"]) for a, r in zip(part, rows)] for part in answers]


@torch.no_grad()
def answer_nll(model: Model, tokenizer: Tokenizer, entry: Entry, rows: list[dict], copies: int = 1) -> tuple[list[list[float]], list[int]]:
    """Nats of every answer (without its end of turn), and its bytes."""
    device = next(model.parameters()).device
    end = tokenizer.token_to_id(entry.end)
    ids, masks = [], []
    for r in rows:
        tokens, learn = toks.encode(tokenizer, entry, [(r["messages"][0]["content"], r["messages"][1]["content"])])
        ids.append(tokens)
        masks.append([int(x and t != end) for x, t in zip(learn, tokens)])
    x, m = pad(ids).to(device).repeat(copies, 1), pad(masks).to(device).repeat(copies, 1)
    logp = model(x[:, :-1]).log_softmax(-1).gather(-1, x[:, 1:, None])[..., 0]
    nats = -(logp * m[:, 1:]).sum(1)
    return nats.view(copies, -1).tolist(), [len(r["messages"][1]["content"].encode()) for r in rows]


def by_domain(rows: list[dict], right: list[bool], nats: list[float], sizes: list[int]) -> dict[str, tuple[float, float]]:
    """Domain -> (accuracy, nats per byte)."""
    out = {}
    for domain in dict.fromkeys(r["domain"] for r in rows):
        pick = [i for i, r in enumerate(rows) if r["domain"] == domain]
        out[domain] = (sum(right[i] for i in pick) / len(pick), sum(nats[i] for i in pick) / sum(sizes[i] for i in pick))
    return out


def scores(model: Model, tokenizer: Tokenizer, entry: Entry, rows: list[dict], copies: int = 1) -> list[dict[str, tuple[float, float]]]:
    right = accuracy(model, tokenizer, entry, rows, copies)
    nats, sizes = answer_nll(model, tokenizer, entry, rows, copies)
    return [by_domain(rows, r, n, sizes) for r, n in zip(right, nats)]
