"""Trains the four tokenizers. Each is written as a Hugging Face tokenizer.json that splits text exactly as the GGUF file describes it."""

from __future__ import annotations

import json
import random
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

import data
from zoo import Entry, render

QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def corpus(entry: Entry, count: int = 30000) -> list[str]:
    """Text for the merges: what the model is trained on, and what the others are."""
    rng = random.Random(f"tokenizer-{entry.name}")
    texts = []
    for i in range(count):
        if i % 3 == 0:
            question, answer = data.pivot_pair(rng, data.PIVOT_MIX)
        elif entry.role == "pivot" or i % 3 == 1:
            question, answer = data.source_pair(data.DOMAINS, rng)
        else:
            question, answer = data.source_pair(list(entry.knows), rng)
        texts += [question, answer]
    # Role names stand in every prompt.
    return texts + ["user", "assistant", "model", "system"] * (count // 8)


def split(entry: Entry) -> pre_tokenizers.PreTokenizer:
    if entry.pre == "qwen2":
        return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(QWEN_SPLIT), behavior="isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])


def train_bytes(entry: Entry) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = split(entry)
    tokenizer.decoder = decoders.ByteLevel()
    specials = [AddedToken(s, special=True, normalized=False) for s in entry.specials]
    trainer = trainers.BpeTrainer(vocab_size=entry.vocab, special_tokens=specials, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(corpus(entry), trainer)
    return tokenizer


def merges_of(vocab: dict[str, int], scores: dict[str, float]) -> list[tuple[str, str]]:
    """All pairs that make a piece, best score first: what SentencePiece's greedy joining does, written as merges."""
    found = []
    for piece in scores:
        pairs = [(piece[:i], piece[i:]) for i in range(1, len(piece)) if piece[:i] in vocab and piece[i:] in vocab]
        found += sorted(((scores[piece], a, b) for a, b in pairs), key=lambda x: (vocab[x[1]], vocab[x[2]]))
    found.sort(key=lambda x: (x[0], len(x[1]), len(x[2])), reverse=True)
    return [(a, b) for _, a, b in found]


def train_pieces(entry: Entry) -> Tokenizer:
    """A BPE over characters with byte fallback, in SentencePiece's spelling; the order of the pieces is their rank."""
    words = Tokenizer(models.BPE())
    words.normalizer = normalizers.Replace(" ", "▁")
    words.pre_tokenizer = pre_tokenizers.Split(Regex(r"▁?\p{L}+|▁|[^▁\p{L}]"), behavior="isolated")
    heads = [*entry.specials, *(f"<0x{b:02X}>" for b in range(256))]
    alphabet = sorted(set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,!?'\"-:;()\n▁"))
    trainer = trainers.BpeTrainer(vocab_size=entry.vocab, special_tokens=heads, initial_alphabet=alphabet, show_progress=False)
    words.train_from_iterator(corpus(entry), trainer)
    vocab = words.get_vocab()
    # Characters come after the merged pieces in SentencePiece's files, with worse scores; ours stand before them, which changes nothing.
    order = sorted((i, t) for t, i in vocab.items() if t not in heads)
    merges = merges_of(vocab, {t: -float(i) for i, t in order})
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, fuse_unk=True, unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in entry.specials])
    return tokenizer


def train(entry: Entry, path: Path) -> Tokenizer:
    tokenizer = train_pieces(entry) if entry.tokenizer == "pieces" else train_bytes(entry)
    size = tokenizer.get_vocab_size()
    if size % 32:
        raise ValueError(f"{entry.name}: the vocabulary has {size} tokens, not a multiple of 32: choose another size")
    path.write_text(json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False))
    return tokenizer


def encode(tokenizer: Tokenizer, entry: Entry, turns: list[tuple[str, str]], prompt: str | None = None) -> tuple[list[int], list[bool]]:
    """Token ids, and which of them are to be learned (an answer with its end of turn)."""
    ids: list[int] = []
    learn: list[bool] = []
    for text, answer in render(entry, turns, prompt):
        piece = tokenizer.encode(text, add_special_tokens=False).ids
        ids += piece
        learn += [answer] * len(piece)
    return ids, learn
