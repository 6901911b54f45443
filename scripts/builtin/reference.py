"""Numbers of the built-in models that an engine can be checked against: token ids, the best log-probabilities everywhere, greedy answers."""

from __future__ import annotations

from pathlib import Path

import torch

import toks
from evaluate import load, tokenizer_of
from zoo import ENTRIES, render

PROMPTS = {
    "alloy-pivot": ["Hello there!", "Tell me about a whale.", "Which one can fly, a bee or a cow?"],
    "meadow": ["Name an animal that lives in the sea.", "Can you name a food that is red and is round?", "Think of an animal that can fly, but not a bee."],
    "attic": ["What is a thing that is made of wood and is in a kitchen?", "Say a word that rhymes with cat, please.", "I need a thing that gives light, not a lamp."],
    "almanac": ["Give me a number that is between 3 and 9.", "Which month is in winter? Name a month that is in winter.", "What is a day that comes after Tuesday?"],
}


@torch.no_grad()
def record(weights: Path, length: int = 12) -> dict:
    """Float32 activations, weights as the file gives them back."""
    out = {"comment": "Token ids of the rendered prompt; after each of them the eight most likely next tokens and their natural log-probabilities (float32, "
           "dequantized weights); log-probability of each true next token; the greedy answer, which stops at the end of turn.", "models": {}}
    for entry in ENTRIES:
        model, tokenizer = load(entry, weights), tokenizer_of(entry)
        end = tokenizer.token_to_id(entry.end)
        cases = []
        for prompt in PROMPTS[entry.name]:
            ids = toks.encode(tokenizer, entry, [], prompt)[0]
            logp = model(torch.tensor([ids]))[0].log_softmax(-1)
            top = logp.topk(8, -1)
            answer, margins = [], []
            for _ in range(length):
                z = model(torch.tensor([ids + answer]))[0, -1]
                best = z.topk(2)
                answer.append(int(best.indices[0]))
                margins.append(round(float(best.values[0] - best.values[1]), 4))
                if answer[-1] == end:
                    break
            cases.append({
                "message": prompt, "text": "".join(t for t, _ in render(entry, [], prompt)), "ids": ids,
                "topIds": top.indices.tolist(), "topLogProbs": [[round(v, 5) for v in row] for row in top.values.tolist()],
                "nextLogProbs": [round(float(logp[i, t]), 5) for i, t in enumerate(ids[1:])],
                "greedy": answer, "greedyText": tokenizer.decode(answer), "margins": margins,
            })
        out["models"][entry.name] = cases
    return out
