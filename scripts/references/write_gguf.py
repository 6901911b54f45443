"""Writes `model.gguf` beside the recorded models of some cases, as llama.cpp's converter lays such files out.

    pip install gguf safetensors
    python scripts/references/write_gguf.py OUT_FOLDER/models/CASE ...

F32 weights and the metadata that decides what is computed; no tokenizer.
"""

import json
import pathlib
import sys

import gguf
import numpy as np
from safetensors.numpy import load_file

ARCHITECTURES = {
    "llama": "llama", "qwen2": "qwen2", "gpt2": "gpt2", "gpt_neox": "gptneox", "phi3": "phi3", "olmo2": "olmo2",
    "granite": "granite", "smollm3": "smollm3", "gemma2": "gemma2", "gemma": "gemma", "starcoder2": "starcoder2",
    "gemma3_text": "gemma3", "qwen3": "qwen3",
}
PAIRED = ("llama", "granite", "smollm3")


def paired(rows, heads):
    """Rows of q or k with the partners of a rotation side by side."""
    width = rows.shape[0] // heads
    return rows.reshape(heads, 2, width // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def regrouped(rows, heads):
    """Rows of q, k and v of each head as all of q, all of k, all of v."""
    width = rows.shape[0] // heads // 3
    return rows.reshape(heads, 3, width, *rows.shape[1:]).swapaxes(0, 1).reshape(rows.shape)


def in_file(architecture, name, value, config):
    heads = config.get("num_attention_heads") or config.get("n_head")
    if architecture in PAIRED and ".q_proj." in name:
        return paired(value, heads)
    if architecture in PAIRED and ".k_proj." in name:
        return paired(value, config["num_key_value_heads"])
    if architecture == "gptneox" and ".query_key_value." in name:
        return regrouped(value, heads)
    if architecture == "gpt2" and value.ndim == 2 and (".c_" in name):
        return value.T
    if architecture.startswith("gemma") and name.endswith("norm.weight"):
        return value + 1
    return value


def llama3_factors(rope, dim):
    factors = []
    low, high, context = rope["low_freq_factor"], rope["high_freq_factor"], rope["original_max_position_embeddings"]
    for wavelength in 2 * np.pi * rope["rope_theta"] ** (np.arange(0, dim, 2) / dim):
        if wavelength < context / high:
            factors.append(1.0)
        elif wavelength > context / low:
            factors.append(rope["factor"])
        else:
            smooth = (context / wavelength - low) / (high - low)
            factors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return np.array(factors, np.float32)


def write_rope(writer, config, head):
    rope = config.get("rope_parameters") or {}
    rope = rope.get("full_attention", rope)
    kind = rope.get("rope_type", "default")
    if "rope_theta" in rope:
        writer.add_rope_freq_base(rope["rope_theta"])
    rotated = int(head * rope.get("partial_rotary_factor", 1.0))
    writer.add_rope_dimension_count(rotated)
    if kind == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_factors(rope, rotated))
    if kind in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(kind))
        writer.add_rope_scaling_factor(rope["factor"])
    if kind == "yarn":
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        for key in ("beta_fast", "beta_slow"):
            if rope.get(key):
                getattr(writer, f"add_rope_scaling_yarn_{key}")(rope[key])
    if kind == "longrope":
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        writer.add_tensor("rope_factors_long.weight", np.array(rope["long_factor"], np.float32))
        writer.add_tensor("rope_factors_short.weight", np.array(rope["short_factor"], np.float32))


def write(folder):
    config = json.loads((folder / "config.json").read_text())
    architecture = ARCHITECTURES[config["model_type"]]
    writer = gguf.GGUFWriter(folder / "model.gguf", architecture)
    layers = config.get("num_hidden_layers") or config.get("n_layer")
    hidden = config.get("hidden_size") or config.get("n_embd")
    heads = config.get("num_attention_heads") or config.get("n_head")
    head = config.get("head_dim") or hidden // heads
    writer.add_block_count(layers)
    writer.add_embedding_length(hidden)
    writer.add_feed_forward_length(config.get("intermediate_size") or config.get("n_inner") or 4 * hidden)
    writer.add_context_length(config.get("max_position_embeddings") or config.get("n_positions"))
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads") or heads)
    if head != hidden // heads or hidden % heads:
        writer.add_key_length(head)
        writer.add_value_length(head)
    epsilons = [config[key] for key in ("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon") if key in config]
    if epsilons:
        writer.add_layer_norm_eps(epsilons[0])
    else:
        writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    if config.get("sliding_window") and config.get("use_sliding_window") is not False:
        writer.add_sliding_window(config["sliding_window"])
    if architecture == "gptneox":
        writer.add_parallel_residual(config["use_parallel_residual"])
    if architecture == "granite":
        writer.add_attention_scale(config["attention_multiplier"])
        writer.add_embedding_scale(config["embedding_multiplier"])
        writer.add_residual_scale(config["residual_multiplier"])
        writer.add_logit_scale(config["logits_scaling"])
    if architecture == "gemma2":
        writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])
    if architecture != "gpt2":
        write_rope(writer, config, head)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[architecture.upper()], layers)
    for name, value in load_file(folder / "model.safetensors").items():
        found = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if found is None:
            raise SystemExit(f"{folder}: {name} has no name in {architecture}")
        writer.add_tensor(found, np.ascontiguousarray(in_file(architecture, name, value, config)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print("wrote", folder / "model.gguf")


for path in sys.argv[1:]:
    write(pathlib.Path(path))
