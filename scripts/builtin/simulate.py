"""The sample fusion in PyTorch with several seeds: the pivot, the sources, SFT alone (final, stopped in time, scaled), the targets, the merges."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import torch

import data
from evaluate import HERE, answer_nll, by_domain, load, scores, tokenizer_of
from fusion import Delta, Recipe, Speaker, apply, fit, linear, norm, pack, represent, scaled, sce, sft, teach
from make import HELD_OUT, TRAIN
from zoo import PIVOT, SOURCES

SFT_STEPS = (8, 16, 24, 36, 48, 72, 96, 120)


def mean_of(result: list[dict[str, tuple[float, float]]], what: int, domains: list[str]) -> list[float]:
    return [sum(r[d][what] for d in domains) / len(domains) for r in result]


def interval(values: list[float]) -> tuple[float, float]:
    """Mean and half width of the 95 % interval (Student's t) over seeds."""
    n = len(values)
    mean = sum(values) / n
    if n < 2:
        return mean, 0.0
    t = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}.get(n, 2.0)
    return mean, t * (sum((v - mean) ** 2 for v in values) / (n - 1) / n) ** 0.5


class Study:
    def __init__(self, weights: Path, tag: str, train: list[dict], held_out: list[dict]):
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.train, self.held_out = train, held_out
        self.pivot = Speaker(PIVOT, load(PIVOT, weights, tag).to(self.device), tokenizer_of(PIVOT))
        self.sources = [Speaker(e, load(e, weights).to(self.device), tokenizer_of(e)) for e in SOURCES]
        own = represent(self.pivot, train)
        self.teachings = [teach(self.pivot, own, s, represent(s, train)) for s in self.sources]
        self.data_sft = pack(own, None, self.device)
        self.data = [pack(own, t, self.device) for t in self.teachings]

    def score(self, delta=None, speaker: Speaker | None = None) -> list[dict[str, tuple[float, float]]]:
        speaker = speaker or self.pivot
        if delta is None:
            return scores(speaker.model, speaker.tokenizer, speaker.entry, self.held_out)
        copies = len(next(iter(delta.values())))
        return scores(apply(self.pivot.model, delta), speaker.tokenizer, speaker.entry, self.held_out, copies)

    def nll(self, delta: Delta) -> float:
        """Mean over seeds and domains of the held-out nats per byte."""
        copies = len(next(iter(delta.values())))
        nats, sizes = answer_nll(apply(self.pivot.model, delta), self.pivot.tokenizer, self.pivot.entry, self.held_out, copies)
        none = [False] * len(sizes)
        return sum(mean_of([by_domain(self.held_out, none, n, sizes) for n in nats], 1, data.DOMAINS)) / copies

    def facts(self) -> dict:
        return {s.entry.name: {"coverage": round(t.coverage, 3), "taught": {d: sum(c == "source" and r["domain"] == d for c, r in zip(t.chosen, self.train)) for d in {r["domain"] for r in self.train}}}
                for s, t in zip(self.sources, self.teachings)}


def line(name: str, result: list[dict[str, tuple[float, float]]]) -> str:
    domains = list(result[0])
    cells = []
    for d in domains:
        a, e = interval([r[d][0] for r in result])
        n, f = interval([r[d][1] for r in result])
        cells.append(f"{d[:5]} {a:.2f}±{e:.2f} {n:.3f}±{f:.3f}")
    a, e = interval(mean_of(result, 0, data.DOMAINS))
    n, f = interval(mean_of(result, 1, data.DOMAINS))
    return f"{name:16s} ALL {a:.3f}±{e:.3f} {n:.3f}±{f:.3f} | " + " | ".join(cells)


def run(study: Study, recipe: Recipe, seeds: list[int], rates: tuple[float, ...], full: bool = False) -> dict[str, list]:
    """All rows of the table. SFT is trained at every rate of `rates`; "stopped" is the best of all rates and stops on the held-out NLL."""
    rows: dict[str, list] = {}
    keep = tuple(s for s in SFT_STEPS if s < recipe.steps)
    best = None
    for rate in rates:
        deltas = fit(study.pivot.model, study.data_sft, sft(recipe, lr=rate), seeds, keep)
        for step, delta in deltas.items():
            nll = study.nll(delta)
            if step == recipe.steps and rate == recipe.lr:
                rows["sft"] = study.score(delta)
                plain = delta
            if best is None or nll < best[0]:
                best = (nll, rate, step, delta)
    rows[f"sft best {best[1]:g}@{best[2]}"] = study.score(best[3])
    targets = [fit(study.pivot.model, d, recipe, seeds)[recipe.steps] for d in study.data]
    if full:
        for s, t in zip(study.sources, targets):
            rows[f"target {s.entry.name}"] = study.score(t)
    merges = {"linear": linear(targets), "sum 0.6": linear(targets, 0.6), "sum 1": linear(targets, 1.0), "sce": sce(targets)}
    if full:
        merges["sce 0.1"] = sce(targets, 0.1)
    for name, delta in merges.items():
        rows[name] = study.score(delta)
    rows["sft scaled"] = study.score(scaled(plain, norm(merges["sce"]) / norm(plain)))
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--weights", type=Path, default=HERE / "build" / "w")
    parser.add_argument("--tag", default="")
    parser.add_argument("--per-domain", type=int, default=TRAIN["per_domain"])
    parser.add_argument("--held-out", type=int, default=HELD_OUT["per_domain"])
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--set", nargs="*", default=[], help="changes of the recipe, one run each: lam=0.2,lr=1e-3,steps=96")
    parser.add_argument("--rates", default="5e-4,1e-3,2e-3")
    parser.add_argument("--label", default="", help="written before every line")
    parser.add_argument("--full", action="store_true")
    a = parser.parse_args()
    say = lambda text: print(a.label + text, flush=True)  # noqa: E731
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("high")
    start = time.time()
    train = data.train_set(**(TRAIN | {"per_domain": a.per_domain}))
    study = Study(a.weights, a.tag, train, data.held_out_set(**(HELD_OUT | {"per_domain": a.held_out}), train=train))
    say(json.dumps(study.facts()))
    say(line("pivot", study.score()))
    if a.full:
        for s in study.sources:
            say(line(s.entry.name, study.score(speaker=s)))
    for text in a.set or [""]:
        changes = {k: (int(v) if k in ("steps", "batch", "rank") else float(v)) for k, v in (p.split("=") for p in text.split(",") if p)}
        recipe = replace(Recipe(), **changes)
        say(f"--- {a.tag} n={a.per_domain} {text} {time.time() - start:.0f} s")
        rates = tuple(sorted({recipe.lr, *(float(r) for r in a.rates.split(","))}))
        for name, result in run(study, recipe, list(range(a.seeds)), rates, a.full).items():
            say(line(name, result))
    say(f"{time.time() - start:.0f} s")
