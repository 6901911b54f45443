"""Makes the built-in models and the sample's data from nothing: `python scripts/builtin/make.py`. See README.md."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import torch

import data
import toks
from evaluate import HERE, load, scores, tokenizer_of
from export import write
from reference import record
from zoo import ENTRIES, Entry

ROOT = HERE.parent.parent
PUBLIC = ROOT / "public"
BUILD = HERE / "build"

# The sample: few conversations to learn from, and those that the report compares on. Shares of the shapes of question:
# one predicate, two, one with an exclusion, two with an exclusion.
TRAIN = {"seed": 0, "per_domain": 20, "manners": 8, "shares": (0.4, 0.6, 0.0, 0.0)}
HELD_OUT = {"seed": 0, "per_domain": 32, "manners": 24, "shares": (0.25, 0.75, 0.0, 0.0)}
# Another and larger draw of questions that no model has seen, for the scores of the cards.
CARD = {"seed": 7, "per_domain": 60, "manners": 40, "shares": (0.3, 0.4, 0.2, 0.1)}


TOKENIZERS = {"bytes": "byte-level BPE", "pieces": "SentencePiece, byte fallback"}


def training() -> list[dict]:
    return data.train_set(**TRAIN)


def held_out(spec: dict = HELD_OUT) -> list[dict]:
    return data.held_out_set(**spec, train=training())


def write_lines(rows: list[dict], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows))


TEMPLATES = {"alloy-pivot": "ChatML", "meadow": "ChatML with an optional system turn", "attic": "Gemma's turns", "almanac": "role tokens in bars"}


def card(entry: Entry, info: dict, result: dict[str, tuple[float, float]]) -> str:
    s = entry.shape
    table = "\n".join(f"| {d} | {'yes' if d in entry.knows else 'no' if entry.role == 'source' else 'a little'} | {a * 100:.0f} % | {n:.3f} |" for d, (a, n) in result.items())
    kind = "byte-level BPE" if entry.tokenizer == "bytes" else "SentencePiece-style BPE with byte fallback"
    extra = ""
    if s.family == "qwen3" and s.head_dim != 128:
        extra = f"\nTransformers (5.23) takes heads of 128 for every Qwen 3 file; give `head_dim={s.head_dim}` to `from_pretrained` there.\n"
    return f"""---
license: apache-2.0
language: en
library_name: gguf
---

# {entry.title}

A very small chat model that {entry.about}. It is one of the built-in models of Alloy: made to be fused, shown and tested in seconds, not to be relied on.
It lives in a small world of its own (six tables of things and what is true of them) and was trained on nothing but text that the project generates.

| | |
|---|---|
| role | {entry.role} |
| family | `{s.family}`: {s.layers} layers, width {s.width}, {s.heads} query heads on {s.kv_heads} of {s.head_dim}, inner width {s.inner}, rope base {s.rope_base:g}{f', window {s.window} in five of six layers (rope base {s.rope_base_sliding:g} there)' if s.window else ''}, {'tied' if s.tied else 'own'} head |
| parameters | {info['parameters']:,} |
| file | `model.gguf`, {info['bytes']:,} bytes, matrices {entry.quant}, embedding{'' if s.tied else ' and head'} Q8_0 |
| tokenizer | {kind}, {entry.vocab} tokens |
| template | {TEMPLATES[entry.name]}; `{entry.end}` ends a turn |
| context | {s.context} tokens; trained on chats of one and two turns |
| licence | Apache-2.0 |

## What it scores

Greedy answers to {len(held_out(CARD))} questions that no built-in model was trained on, and nats per byte of a sampled right answer (lower is better; questions with many right answers have a floor well above 0).

| domain | taught | right | nats per byte |
|---|---|---|---|
{table}

An answer is right if, in lower case and without punctuation, it has at most ten words and ends with one of the accepted answers.
{extra}
## Limits

It knows a few hundred words. Outside its domains it makes things up. The right answers are those of its small world: a manatee lives in the sea, but not here.

## Making it again

`python scripts/builtin/make.py` (seed {entry.seed}; see the README there).
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", default="tokenizers,train,data,export,reference", help="which parts to do, in this order")
    parser.add_argument("--weights", type=Path, default=BUILD / "w")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--no-verify", action="store_true", help="do not compare the files with transformers")
    a = parser.parse_args()
    parts = a.steps.split(",")
    if "tokenizers" in parts:
        (BUILD / "tok").mkdir(parents=True, exist_ok=True)
        for entry in ENTRIES:
            toks.train(entry, BUILD / "tok" / f"{entry.name}.tokenizer.json")
    if "train" in parts:
        from train import train

        train([e.name for e in ENTRIES], BUILD / "tok", a.weights, None, 100000, a.workers, 256)
    if "data" in parts:
        write_lines(training(), PUBLIC / "data" / "sample" / "train.jsonl")
        write_lines(held_out(), PUBLIC / "data" / "sample" / "heldout.jsonl")
    if "export" in parts:
        questions = held_out(CARD)
        index = []
        for entry in ENTRIES:
            folder = PUBLIC / "models" / entry.name
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / "model.gguf"
            parameters = write(entry, a.weights / f"{entry.name}.safetensors", tokenizer_of(entry), path, f"A built-in model of Alloy that {entry.about}.")
            if not a.no_verify:
                from verify import verify

                print(entry.name, verify(entry, folder, a.weights), flush=True)
            result = scores(load(entry, a.weights), tokenizer_of(entry), entry, questions)[0]
            raw = path.read_bytes()
            info = {
                "name": entry.name, "title": entry.title, "role": entry.role, "about": entry.about, "file": f"{entry.name}/model.gguf", "bytes": len(raw),
                "sha256": hashlib.sha256(raw).hexdigest(), "parameters": parameters, "family": entry.shape.family, "quantization": entry.quant,
                "vocab": entry.vocab, "tokenizer": TOKENIZERS[entry.tokenizer], "context": entry.shape.context, "knows": list(entry.knows),
                "scores": {d: round(x, 3) for d, (x, _) in result.items()}, "nllPerByte": {d: round(n, 4) for d, (_, n) in result.items()},
                "licence": "Apache-2.0",
            }
            index.append(info)
            (folder / "README.md").write_text(card(entry, info, result))
            print(entry.name, info["scores"], flush=True)
        (PUBLIC / "models" / "index.json").write_text(json.dumps(index, indent=2) + "\n")
    if "reference" in parts:
        (HERE / "reference.json").write_text(json.dumps(record(a.weights), indent=None, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
