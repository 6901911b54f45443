"""The built-in models: who they are, what they are made of, how their tokenizers and chat templates look."""

from __future__ import annotations

from dataclasses import dataclass

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CHATML_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ '<|im_start|>system\n' + messages[0]['content'] + '<|im_end|>\n' }}{% endif %}"
    "{% for message in messages %}{% if message['role'] != 'system' %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for message in messages %}{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
BARS = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Shape:
    family: str  # llama, qwen2, qwen3, gemma3
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    inner: int
    rope_base: float = 10000.0
    rope_base_sliding: float = 10000.0
    window: int = 0  # of the sliding layers; every sixth layer is full
    eps: float = 1e-6
    tied: bool = True
    context: int = 256

    def sliding(self, layer: int) -> bool:
        return self.window > 0 and (layer + 1) % 6 != 0


@dataclass(frozen=True)
class Polish:
    """A last part of the training on a mix of its own, with rounded weights."""

    steps: int
    rows: int
    rate: float
    domains: tuple[str, ...] = ()  # that a source dwells on


@dataclass(frozen=True)
class Entry:
    name: str
    title: str
    role: str
    about: str
    knows: tuple[str, ...]
    shape: Shape
    tokenizer: str  # bytes: byte-level BPE, pieces: SentencePiece-style BPE with byte fallback
    pre: str
    vocab: int
    template: str
    specials: tuple[str, ...]
    end: str
    bos: str | None
    pad: str
    add_bos: bool
    quant: str  # of the matrices; the embedding is always Q8_0
    steps: int
    lr: float
    seed: int
    text_weight: float = 0.1  # weight of the user's words in the training loss; the answer's is 1
    polish: Polish | None = None


ENTRIES = [
    Entry("alloy-pivot", "Alloy Pivot", "pivot", "well-mannered, has read a little of everything", ("manners",),
          Shape("llama", 160, 4, 5, 1, 32, 448, eps=1e-5), "bytes", "smollm", 1408, CHATML,
          ("<|endoftext|>", "<|im_start|>", "<|im_end|>"), "<|im_end|>", "<|im_start|>", "<|im_end|>", False, "Q8_0", 3000, 2e-3, 1, text_weight=0.2, polish=Polish(500, 32, 1e-3)),
    Entry("meadow", "Meadow", "source", "knows animals and food", ("animals", "food"),
          Shape("qwen3", 192, 5, 4, 2, 64, 512, rope_base=1e6), "bytes", "qwen2", 1888, CHATML_SYSTEM,
          ("<|endoftext|>", "<|im_start|>", "<|im_end|>"), "<|im_end|>", None, "<|endoftext|>", False, "Q4_1", 4500, 2e-3, 2),
    Entry("attic", "Attic", "source", "knows things and words", ("things", "words"),
          Shape("gemma3", 160, 6, 2, 1, 256, 384, rope_base=1e6, window=32), "pieces", "default", 1536, GEMMA,
          ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>"), "<end_of_turn>", "<bos>", "<pad>", True, "Q8_0", 4500, 2e-3, 3,
          polish=Polish(400, 64, 5e-4, ("things", "things", "things", "words"))),
    Entry("almanac", "Almanac", "source", "knows numbers and the calendar", ("numbers", "calendar"),
          Shape("qwen2", 128, 6, 4, 2, 32, 384, rope_base=1e5, tied=False), "bytes", "qwen2", 1024, BARS,
          ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"), "<|end|>", None, "<|endoftext|>", False, "Q8_0", 4500, 2e-3, 4),
]
BY_NAME = {e.name: e for e in ENTRIES}
PIVOT = ENTRIES[0]
SOURCES = ENTRIES[1:]


def render(entry: Entry, turns: list[tuple[str, str]], prompt: str | None = None) -> list[tuple[str, bool]]:
    """A conversation in the model's template, in pieces: (text, whether it is an answer with its end of turn).

    `turns` are finished turns; `prompt`, if given, is a last user message that is to be answered.
    """
    if entry.template in (CHATML, CHATML_SYSTEM):
        user, model, end = "<|im_start|>user\n", "<|im_start|>assistant\n", "<|im_end|>"
    elif entry.template == GEMMA:
        user, model, end = "<start_of_turn>user\n", "<start_of_turn>model\n", "<end_of_turn>"
    else:
        user, model, end = "<|user|>\n", "<|assistant|>\n", "<|end|>"
    pieces = [("<bos>", False)] if entry.template == GEMMA else []
    for question, answer in turns:
        pieces += [(f"{user}{question}{end}\n{model}", False), (f"{answer}{end}", True), ("\n", False)]
    if prompt is not None:
        pieces.append((f"{user}{prompt}{end}\n{model}", False))
    else:
        pieces.pop()
    return pieces
