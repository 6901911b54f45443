"""Writes a trained model as a GGUF file, in the names and orders that llama.cpp and transformers read."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from zoo import Entry

NAMES = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}
FILE_TYPES = {"Q8_0": gguf.LlamaFileType.MOSTLY_Q8_0, "Q4_0": gguf.LlamaFileType.MOSTLY_Q4_0, "Q4_1": gguf.LlamaFileType.MOSTLY_Q4_1}


def tensor_name(name: str, family: str) -> str:
    if not name.startswith("model.layers."):
        return {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight"}[name]
    _, _, layer, rest = name.split(".", 3)
    part, kind = rest.rsplit(".", 1)
    if family == "gemma3":
        known = NAMES | {"post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm"}
    else:
        known = NAMES | {"post_attention_layernorm": "ffn_norm"}
    return f"blk.{layer}.{known[part]}.{kind}"


def paired(w: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of q and k as Llama files have them: rotation of neighbours instead of halves."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def write(entry: Entry, weights: Path, tokenizer: Tokenizer, path: Path, description: str) -> int:
    """Returns the number of parameters."""
    s = entry.shape
    writer = gguf.GGUFWriter(str(path), s.family)
    writer.add_type("model")
    writer.add_name(entry.title)
    writer.add_description(description)
    writer.add_license("apache-2.0")
    writer.add_languages(["en"])
    writer.add_file_type(FILE_TYPES[entry.quant])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(s.context)
    writer.add_embedding_length(s.width)
    writer.add_block_count(s.layers)
    writer.add_feed_forward_length(s.inner)
    writer.add_head_count(s.heads)
    writer.add_head_count_kv(s.kv_heads)
    writer.add_layer_norm_rms_eps(s.eps)
    writer.add_rope_freq_base(s.rope_base)
    writer.add_key_length(s.head_dim)
    writer.add_value_length(s.head_dim)
    writer.add_vocab_size(entry.vocab)
    if s.family != "gemma3":
        writer.add_rope_dimension_count(s.head_dim)
    if s.window:
        writer.add_sliding_window(s.window)
    write_tokenizer(writer, entry, tokenizer)
    state = load_file(weights)
    count = 0
    for name, w in state.items():
        count += w.numel()
        if s.family == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
            w = paired(w, s.heads if "q_proj" in name else s.kv_heads)
        if s.family == "gemma3" and name.endswith("norm.weight"):
            w = w + 1
        array = w.numpy().astype(np.float32)
        target = tensor_name(name, s.family)
        if array.ndim == 2:
            kind = gguf.GGMLQuantizationType["Q8_0" if target in ("token_embd.weight", "output.weight") else entry.quant]
            writer.add_tensor(target, gguf.quants.quantize(array, kind), raw_dtype=kind)
        else:
            writer.add_tensor(target, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return count


def write_tokenizer(writer: gguf.GGUFWriter, entry: Entry, tokenizer: Tokenizer) -> None:
    by_id = {i: t for t, i in tokenizer.get_vocab().items()}
    tokens = [by_id[i] for i in range(entry.vocab)]
    if entry.tokenizer == "bytes":
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(entry.pre)
        writer.add_token_list(tokens)
        writer.add_token_types([gguf.TokenType.CONTROL if t in entry.specials else gguf.TokenType.NORMAL for t in tokens])
        merges = json.loads(tokenizer.to_str())["model"]["merges"]
        writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    else:
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre(entry.pre)
        writer.add_token_list(tokens)
        kinds, scores = [], []
        for i, t in enumerate(tokens):
            if t == "<unk>":
                kinds.append(gguf.TokenType.UNKNOWN)
            elif t in entry.specials:
                kinds.append(gguf.TokenType.CONTROL)
            elif len(t) == 6 and t.startswith("<0x"):
                kinds.append(gguf.TokenType.BYTE)
            else:
                kinds.append(gguf.TokenType.NORMAL)
            scores.append(-float(i) if kinds[-1] == gguf.TokenType.NORMAL else 0.0)
        writer.add_token_scores(scores)
        writer.add_token_types(kinds)
        writer.add_add_space_prefix(False)
        writer.add_unk_token_id(tokens.index("<unk>"))
    if entry.bos:
        writer.add_bos_token_id(tokens.index(entry.bos))
    writer.add_eos_token_id(tokens.index(entry.end))
    writer.add_pad_token_id(tokens.index(entry.pad))
    writer.add_add_bos_token(entry.add_bos)
    writer.add_add_eos_token(False)
    writer.add_chat_template(entry.template)
