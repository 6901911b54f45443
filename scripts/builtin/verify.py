"""Opens every GGUF file with transformers and compares: weights by logits, token ids, rendered templates. Stops with an error on a difference."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import data
import toks
from evaluate import load, tokenizer_of
from zoo import Entry, render


def verify(entry: Entry, folder: Path, weights: Path, tag: str = "") -> dict:
    # transformers (5.23) does not read the width of Qwen 3's heads from GGUF and takes 128, so it is told.
    told = {"head_dim": entry.shape.head_dim} if entry.shape.family == "qwen3" and entry.shape.head_dim != 128 else {}
    theirs = AutoModelForCausalLM.from_pretrained(folder, gguf_file="model.gguf", dtype=torch.float32, **told).eval()
    their_tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file="model.gguf")
    ours, tokenizer = load(entry, weights, tag), tokenizer_of(entry)
    rng = random.Random(11)
    differences: list[float] = []
    compared = 0
    texts = []
    for i in range(60):
        a = data.source_pair(data.DOMAINS, rng)
        b = data.pivot_pair(rng, data.PIVOT_MIX)
        texts.append(([a, b] if i % 3 == 0 else [b] if i % 3 == 1 else [a]))
    for turns in texts:
        messages = [m for q, r in turns for m in ({"role": "user", "content": q}, {"role": "assistant", "content": r})]
        text = "".join(t for t, _ in render(entry, turns)) + "\n"
        rendered = their_tokenizer.apply_chat_template(messages, tokenize=False)
        if rendered != text:
            raise ValueError(f"{entry.name}: the template gives {rendered!r}, not {text!r}")
        ids = toks.encode(tokenizer, entry, turns)[0]
        got = their_tokenizer(rendered, add_special_tokens=False)["input_ids"]
        want = ids + tokenizer.encode("\n", add_special_tokens=False).ids
        if got != want:
            raise ValueError(f"{entry.name}: transformers reads {text!r} as {got}, not {want}")
        prompt = their_tokenizer.apply_chat_template(messages[:1], tokenize=False, add_generation_prompt=True)
        if prompt != "".join(t for t, _ in render(entry, [], turns[0][0])):
            raise ValueError(f"{entry.name}: the generation prompt differs: {prompt!r}")
        compared += 1
    other = ["Zwölf Boxkämpfer jagen 3 Eichhörnchen!", "naïve café — 100 % 'quoted' \t tab", "日本語 🙂", "  two  spaces\n\nand lines\n", "I'll don't we've THE END"]
    for text in other:
        got, want = their_tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.encode(text, add_special_tokens=False).ids
        if got != want:
            raise ValueError(f"{entry.name}: transformers reads {text!r} as {got}, not {want}")
    with torch.no_grad():
        for turns in texts[:12]:
            ids = torch.tensor([toks.encode(tokenizer, entry, turns)[0]])
            differences.append(float((theirs(ids).logits - ours(ids)).abs().max()))
    worst = max(differences)
    if not all(d <= 1e-3 for d in differences):
        raise ValueError(f"{entry.name}: logits differ by {worst}")
    return {"texts": compared + len(other), "largest_logit_difference": worst}
