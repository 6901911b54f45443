"""The fusion of the sample in PyTorch, step for step what the studio does: rows, alignment, MinCE, targets, training, merging."""

from __future__ import annotations

import math
import random
from dataclasses import asdict, dataclass, replace

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

import toks
from model import Linear, Model
from zoo import Entry

TOP = 10
ALL_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Recipe:
    lam: float = 0.3
    lr: float = 2e-3
    steps: int = 72
    batch: int = 16
    rank: int = 16
    alpha: float = 32.0
    matrices: tuple[str, ...] = ALL_LINEAR
    warmup: float = 0.1
    clip: float = 1.0


class Speaker:
    """A model with its tokenizer: what it says about a text."""

    def __init__(self, entry: Entry, model: Model, tokenizer: Tokenizer):
        self.entry, self.model, self.tokenizer = entry, model, tokenizer
        self.end = tokenizer.token_to_id(entry.end)
        self.bytes = {i: self._bytes(t) for t, i in tokenizer.get_vocab().items()}

    def _bytes(self, token: str) -> bytes | None:
        """The bytes of an ordinary token; None for a special one."""
        if token in self.entry.specials:
            return None
        if self.entry.tokenizer == "bytes":
            return bytes(BYTE_OF[c] for c in token)
        if len(token) == 6 and token.startswith("<0x"):
            return bytes([int(token[3:5], 16)])
        return token.replace("▁", " ").encode()


def byte_table() -> dict[str, int]:
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table, extra = {chr(b): b for b in keep}, 0
    for b in range(256):
        if b not in keep:
            table[chr(256 + extra)] = b
            extra += 1
    return table


BYTE_OF = byte_table()


@dataclass
class Said:
    """One conversation as one model reads it: row i is about label i of the answer (the last label is the end of turn)."""

    ids: list[int]
    first: int  # index of the first label in ids
    labels: list[int]
    starts: list[int]  # byte at which each label starts
    label_logp: list[float]
    top_ids: list[list[int]]
    top_logp: list[list[float]]
    nats: float  # of the answer's text, without the end of turn
    size: int  # bytes of the answer


@torch.no_grad()
def represent(speaker: Speaker, rows: list[dict]) -> list[Said]:
    out = []
    device = next(speaker.model.parameters()).device
    for r in rows:
        question, answer = (m["content"] for m in r["messages"])
        ids, learn = toks.encode(speaker.tokenizer, speaker.entry, [(question, answer)])
        first, count = learn.index(True), sum(learn)
        logp = speaker.model(torch.tensor([ids], device=device))[0].float().log_softmax(-1)
        labels = ids[first:first + count]
        rows_logp = logp[first - 1:first - 1 + count]
        top = rows_logp.topk(TOP, -1)
        starts, at = [], 0
        for label in labels:
            starts.append(at)
            at += len(speaker.bytes[label] or b"")
        if at != len(answer.encode()):
            raise ValueError(f"{speaker.entry.name}: the tokens of {answer!r} do not add up to its bytes")
        exact = rows_logp.gather(-1, torch.tensor(labels, device=device)[:, None])[:, 0].tolist()
        out.append(Said(ids, first, labels, starts, exact, top.indices.tolist(), top.values.tolist(), -sum(exact[:-1]), at))
    return out


class BoundMap:
    """Source id -> pivot id by bytes: the same bytes, else the first piece of the pivot's own encoding, else the longest prefix."""

    def __init__(self, pivot: Speaker, source: Speaker):
        self.pivot, self.source = pivot, source
        self.by_bytes: dict[bytes, int] = {}
        for i, b in sorted(pivot.bytes.items()):
            if b:
                self.by_bytes.setdefault(b, i)
        self.known: dict[int, int] = {}

    def target(self, token: int) -> int:
        if token not in self.known:
            self.known[token] = self._find(token)
        return self.known[token]

    def _find(self, token: int) -> int:
        if token == self.source.end:
            return self.pivot.end
        b = self.source.bytes[token]
        if not b:
            return -1
        if b in self.by_bytes:
            return self.by_bytes[b]
        try:
            first = self.pivot.tokenizer.encode(b.decode(), add_special_tokens=False).ids[0]
            if b.startswith(self.pivot.bytes[first] or b"\0\0"):
                return first
        except UnicodeDecodeError:
            pass
        for n in range(len(b), 0, -1):
            if b[:n] in self.by_bytes:
                return self.by_bytes[b[:n]]
        return -1


def own_row(said: Said, i: int) -> dict[int, float]:
    row = {t: math.exp(p) for t, p in zip(said.top_ids[i], said.top_logp[i])}
    row[said.labels[i]] = math.exp(said.label_logp[i])
    return row


def source_row(pivot: Said, i: int, source: Said, j: int, m: BoundMap) -> dict[int, float] | None:
    """The tail row: known tokens of the source as pivot tokens, the label exact; None where the label cannot be told."""
    label, nxt = pivot.labels[i], source.labels[j]
    own = math.exp(source.label_logp[j])
    ends = (label == m.pivot.end, nxt == m.source.end)
    row: dict[int, float] = {}
    if any(ends):
        if not all(ends):
            return None
        row[label] = own
    else:
        wanted, spelt = m.pivot.bytes[label] or b"", m.source.bytes[nxt] or b""
        if spelt.startswith(wanted):
            row[label] = own
        elif wanted.startswith(spelt):
            chain, rest, at = 1.0, wanted, j
            while True:
                b = m.source.bytes[source.labels[at]] if at < len(source.labels) - 1 else None
                if b is None:
                    return None
                if b.startswith(rest):
                    mass = math.exp(source.label_logp[at])
                    mass += sum(math.exp(p) for t, p in zip(source.top_ids[at], source.top_logp[at])
                                if t != source.labels[at] and (m.source.bytes[t] or b"").startswith(rest))
                    chain *= min(1.0, mass)
                    break
                if not rest.startswith(b):
                    return None
                chain *= math.exp(source.label_logp[at])
                rest, at = rest[len(b):], at + 1
            chain = min(chain, own)
            row[label] = chain
            short = m.target(nxt)
            if short >= 0:
                row[short] = row.get(short, 0.0) + own - chain
        else:
            return None
    for t, p in zip(source.top_ids[j], source.top_logp[j]):
        to = -1 if t == nxt else m.target(t)
        if to >= 0:
            row[to] = row.get(to, 0.0) + math.exp(p)
    return row


@dataclass
class Teaching:
    """Rows to learn from, for every conversation: {label index: row}."""

    rows: list[dict[int, dict[int, float]]]
    chosen: list[str]
    coverage: float  # share of the labels of source-taught conversations that have a row


def teach(pivot: Speaker, own: list[Said], source: Speaker, theirs: list[Said]) -> Teaching:
    m = BoundMap(pivot, source)
    rows, chosen, have, want = [], [], 0, 0
    for p, s in zip(own, theirs):
        if s.nats / s.size < p.nats / p.size:
            at = {start: j for j, start in enumerate(s.starts)}
            found = {}
            for i, start in enumerate(p.starts):
                row = source_row(p, i, s, at[start], m) if start in at else None
                if row is not None:
                    found[i] = row
            have, want = have + len(found), want + len(p.labels)
            rows.append(found)
            chosen.append("source")
        else:
            rows.append({i: own_row(p, i) for i in range(len(p.labels))})
            chosen.append("pivot")
    return Teaching(rows, chosen, have / max(want, 1))


@dataclass
class Batchable:
    ids: Tensor  # [N, T]
    labelled: Tensor  # [N, T-1]: the row predicts a label
    teacher_ids: Tensor  # [N, T-1, W]
    teacher_p: Tensor  # [N, T-1, W]; -1 where the entry is empty
    taught: Tensor  # [N, T-1]


def pack(own: list[Said], teaching: Teaching | None, device: str | torch.device) -> Batchable:
    n, t, w = len(own), max(len(s.ids) for s in own), TOP + 1
    ids = torch.zeros(n, t, dtype=torch.long)
    labelled = torch.zeros(n, t - 1)
    teacher_ids = torch.zeros(n, t - 1, w, dtype=torch.long)
    teacher_p = torch.full((n, t - 1, w), -1.0)
    taught = torch.zeros(n, t - 1)
    for k, s in enumerate(own):
        ids[k, :len(s.ids)] = torch.tensor(s.ids)
        labelled[k, s.first - 1:s.first - 1 + len(s.labels)] = 1
        for i, row in (teaching.rows[k] if teaching else {}).items():
            at = s.first - 1 + i
            entries = sorted(row.items(), key=lambda e: (-e[1], e[0]))
            kept = entries[:w]
            if all(e[0] != s.labels[i] for e in kept):
                kept[-1] = (s.labels[i], row[s.labels[i]])
            for j, (token, p) in enumerate(kept):
                teacher_ids[k, at, j], teacher_p[k, at, j] = token, p
            taught[k, at] = 1
    return Batchable(*(x.to(device) for x in (ids, labelled, teacher_ids, teacher_p, taught)))


def tail_loss(logp: Tensor, ids: Tensor, p: Tensor) -> Tensor:
    """Cross-entropy to the kept entries and one rest class; the rest's gradient ratio is capped at 10."""
    filled = p >= 0
    t = p.clamp(min=0)
    q = logp.gather(-1, ids)
    rest_t = (1 - t.sum(-1)).clamp(min=0)
    rest_q = (1 - (q.exp() * filled).sum(-1)).clamp(min=1e-6)
    bend = (rest_t / 10).clamp(min=1e-6)
    rest = torch.where(rest_q >= bend, rest_q.log(), bend.log() + (rest_q - bend) / bend)
    return -(t * q * filled).sum(-1) - rest_t * rest


Delta = dict[str, Tensor]  # matrix -> [S, outputs, inputs]; S runs that differ by their seed


def snapshot(model: Model) -> Delta:
    return {n: (m.scale * m.lora_b @ m.lora_a).detach().clone() for n, m in model.model.named_modules() if isinstance(m, Linear) and m.lora_a is not None}


def copy_of(model: Model) -> Model:
    twin = Model(model.s, model.vocab).to(next(model.parameters()).device)
    twin.load_state_dict(model.state_dict())
    return twin


def fit(pivot: Model, data: Batchable, recipe: Recipe, seeds: list[int], keep: tuple[int, ...] = ()) -> dict[int, Delta]:
    """Trains a LoRA of the pivot for every seed; the deltas after the last step and after every step of `keep`. λ = 1 is SFT."""
    device, s = data.ids.device, len(seeds)
    model = copy_of(pivot)
    parameters = model.add_lora(recipe.rank, recipe.alpha, seeds, recipe.matrices)
    optimizer = torch.optim.AdamW(parameters, lr=recipe.lr, weight_decay=0.0)
    n, orders = len(data.ids), []
    for seed in seeds:
        rng, order = random.Random(f"order-{seed}"), []
        while len(order) < recipe.steps * recipe.batch:
            fresh = list(range(n))
            rng.shuffle(fresh)
            order += fresh
        orders.append(order)
    everything = torch.tensor(orders, device=device)
    deltas = {}
    for step in range(recipe.steps):
        pick = everything[:, step * recipe.batch:(step + 1) * recipe.batch].reshape(-1)
        warm = max(1, round(recipe.warmup * recipe.steps))
        scale = (step + 1) / warm if step < warm else 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, recipe.steps - warm)))
        for part in optimizer.param_groups:
            part["lr"] = recipe.lr * scale
        ids, labelled, taught = data.ids[pick], data.labelled[pick], data.taught[pick]
        logp = model(ids[:, :-1]).log_softmax(-1)
        ce = -logp.gather(-1, ids[:, 1:, None])[..., 0]
        by_seed = lambda x: x.view(s, -1).sum(1)  # noqa: E731
        loss = recipe.lam * by_seed(ce * labelled) / by_seed(labelled)
        if recipe.lam < 1:
            kd = tail_loss(logp, data.teacher_ids[pick], data.teacher_p[pick])
            loss = loss + (1 - recipe.lam) * by_seed(kd * taught) / by_seed(taught).clamp(min=1)
        optimizer.zero_grad()
        loss.sum().backward()
        with torch.no_grad():
            norms = torch.stack([p.grad.pow(2).flatten(1).sum(1) for p in parameters]).sum(0).sqrt()
            factor = (recipe.clip / (norms + 1e-6)).clamp(max=1)
            for p in parameters:
                p.grad *= factor[:, None, None]
        optimizer.step()
        if step + 1 in keep or step + 1 == recipe.steps:
            deltas[step + 1] = snapshot(model)
    return deltas


def apply(pivot: Model, delta: Delta) -> Model:
    """S models side by side: it takes S equal parts of a batch."""
    model = copy_of(pivot)
    for name, module in model.model.named_modules():
        if name in delta:
            module.delta = delta[name]
    return model.eval()


def norm(delta: Delta) -> Tensor:
    return torch.stack([d.pow(2).flatten(1).sum(1) for d in delta.values()]).sum(0).sqrt()


def scaled(delta: Delta, by: Tensor) -> Delta:
    return {n: d * by[:, None, None] for n, d in delta.items()}


def linear(deltas: list[Delta], weight: float | None = None) -> Delta:
    w = 1 / len(deltas) if weight is None else weight
    return {n: w * sum(d[n] for d in deltas) for n in deltas[0]}


def sce(deltas: list[Delta], tau: float = 1.0) -> Delta:
    """SCE as in the fork (methods D.2): energies of the selected elements, sign vote, weighted mean of the survivors."""
    out = {}
    for name in deltas[0]:
        d = torch.stack([x[name] for x in deltas])  # [sources, S, outputs, inputs]
        chosen = torch.ones_like(d[0])
        if tau < 1:
            variance = (d - d.mean(0)).pow(2).mean(0).flatten(1)
            chosen = torch.zeros_like(variance)
            for s in range(len(variance)):
                k = int(tau * int((variance[s] > 0).sum()))
                chosen[s, variance[s].topk(k).indices] = 1
            chosen = chosen.view_as(d[0])
        energy = (d * chosen).pow(2).flatten(2).sum(2)
        eta = energy / energy.sum(0)
        sign = torch.where(d.sum(0) >= 0, 1.0, -1.0)
        w = eta[:, :, None, None] * (torch.sign(d) == sign)
        total = w.sum(0)
        out[name] = (w * d).sum(0) / torch.where(total == 0, torch.ones_like(total), total)
    return out


def recipe_json(recipe: Recipe) -> dict:
    return asdict(recipe)


def sft(recipe: Recipe, **changes: float) -> Recipe:
    return replace(recipe, lam=1.0, **changes)
