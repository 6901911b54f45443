"""Random configurations of every family, for `record_models.py --fuzz`."""

import random

FAMILIES = [
    "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "gpt2", "gpt_neox", "phi3", "olmo2", "olmo3",
    "granite", "smollm3", "starcoder2", "stablelm",
]
ACTIVATIONS = ["silu", "gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "quick_gelu", "relu2"]


def rope(pick, model_type, rotated, most):
    """Parameters of one rope; `rotated` elements of a head turn."""
    theta = pick.choice([100.0, 1000.0, 10000.0, 500000.0])
    kinds = ["default", "default", "linear", "dynamic", "llama3", "yarn", "longrope"]
    kind = pick.choice(["default", "longrope"] if model_type == "phi3" else kinds)
    if kind in ("dynamic", "yarn") and rotated <= 2:
        kind = "linear"
    original = pick.choice([8, 16, 32])
    given = dict(rope_type=kind, rope_theta=theta)
    if kind in ("linear", "dynamic", "llama3", "yarn"):
        given["factor"] = pick.choice([1.5, 2.0, 4.0, 8.0])
    if kind == "llama3":
        given.update(low_freq_factor=1.0, high_freq_factor=pick.choice([2.0, 4.0]), original_max_position_embeddings=original)
    if kind == "yarn":
        given["original_max_position_embeddings"] = original
        for key, values in dict(
            beta_fast=[2.0, 8.0, 32.0], beta_slow=[0.5, 1.0], attention_factor=[0.9, 1.3], truncate=[True, False]
        ).items():
            if pick.random() < 0.5:
                given[key] = pick.choice(values)
        if pick.random() < 0.4:
            given.update(mscale=0.7, mscale_all_dim=1.1)
    if kind == "longrope":
        pairs = (rotated + 1) // 2 if model_type != "phi3" else rotated // 2
        given["short_factor"] = [round(pick.uniform(1, 1.5), 2) for _ in range(pairs)]
        given["long_factor"] = [round(pick.uniform(1, 6), 2) for _ in range(pairs)]
        given["original_max_position_embeddings"] = original
        if pick.random() < 0.3:
            given["factor"] = pick.choice([2.0, 5.0])
    return given


def case(pick, model_type):
    heads = pick.choice([1, 2, 3, 4, 5, 6, 8])
    kv = pick.choice([n for n in range(1, heads + 1) if heads % n == 0])
    head = pick.choice([2, 4, 6, 8, 10, 12, 14, 16, 18, 22, 26, 32, 36, 64, 80])
    length = pick.choice([1, 2, 3, 7, 16, 17, 24, 33, 40])
    layers = pick.choice([1, 2, 3, 4])
    one = dict(
        model_type=model_type, vocab_size=pick.choice([17, 33, 64, 97, 130]), num_hidden_layers=layers,
        T=length, B=pick.choice([1, 2, 3]), prompt=min(length, pick.choice([1, 4, 6])),
        extra=pick.choice([("lora",), ("distil",), ("lora", "distil")]),
        bos_token_id=1, eos_token_id=2, pad_token_id=0, tie_word_embeddings=pick.random() < 0.5,
    )
    inner = pick.choice([5, 17, 30, 48, 64, 70])
    if model_type == "gpt2":
        head = pick.choice([1, 3, 4, 5, 7, 8, 12])
        one.update(
            n_embd=heads * head, n_head=heads, n_layer=one.pop("num_hidden_layers"), n_positions=max(length, 20) + pick.choice([0, 3]),
            n_inner=pick.choice([None, inner]), activation_function=pick.choice(ACTIVATIONS),
            scale_attn_by_inverse_layer_idx=pick.random() < 0.4, scale_attn_weights=pick.random() < 0.8,
            layer_norm_epsilon=pick.choice([1e-5, 1e-3]),
        )
        return one
    fixed = model_type in ("gpt_neox", "starcoder2", "stablelm")
    width = heads * head if fixed or pick.random() < 0.4 else heads * pick.choice([2, 5, 8, 11, 12])
    if model_type == "phi3":
        width = heads * head
    one.update(
        hidden_size=width, intermediate_size=inner, num_attention_heads=heads, max_position_embeddings=pick.choice([16, 24, 64]),
    )
    if model_type == "gpt_neox":
        part = pick.choice([0.25, 0.5, 0.67, 1.0])
        if int(head * part) < 2:
            part = 1.0
        one.update(
            use_parallel_residual=pick.random() < 0.5, attention_bias=pick.random() < 0.5, hidden_act=pick.choice(ACTIVATIONS),
            layer_norm_eps=pick.choice([1e-5, 1e-3]),
            rope_parameters={**rope(pick, model_type, int(head * part), length), "partial_rotary_factor": part},
        )
        return one
    one["num_key_value_heads"] = kv
    if model_type == "phi3":
        part = pick.choice([0.5, 0.75, 1.0])
        one["rope_parameters"] = {**rope(pick, model_type, int(head * part), length), "partial_rotary_factor": part}
        if one["rope_parameters"]["rope_type"] == "longrope":
            one["original_max_position_embeddings"] = one["rope_parameters"]["original_max_position_embeddings"]
        one["sliding_window"] = pick.choice([None, 1, 3, 100])
        return one
    if model_type == "stablelm":
        part = pick.choice([0.25, 0.5, 1.0]) if head >= 8 else 1.0
        one.update(
            use_parallel_residual=pick.random() < 0.5, use_qkv_bias=pick.random() < 0.5, hidden_act=pick.choice(ACTIVATIONS),
            rope_parameters={**rope(pick, model_type, int(head * part), length), "partial_rotary_factor": part},
        )
        return one
    if model_type == "starcoder2":
        one.update(use_bias=pick.random() < 0.5, sliding_window=pick.choice([None, 1, 4, 100]), hidden_act=pick.choice(ACTIVATIONS))
        one["rope_parameters"] = rope(pick, model_type, head, length)
        return one
    one["head_dim"] = head
    if model_type in ("llama", "qwen3", "olmo2", "olmo3", "granite", "smollm3", "gemma", "gemma2", "gemma3_text"):
        one["attention_bias"] = pick.random() < 0.4
    if model_type in ("llama", "granite", "smollm3"):
        one["mlp_bias"] = pick.random() < 0.4
    if not model_type.startswith("gemma"):
        one["hidden_act"] = pick.choice(ACTIVATIONS + ["silu"] * 4)
    if model_type in ("mistral", "olmo3", "gemma2", "gemma3_text"):
        one["sliding_window"] = pick.choice([1, 2, 5, 100])
    if model_type in ("qwen2", "qwen3"):
        one.update(use_sliding_window=pick.random() < 0.5, sliding_window=pick.choice([1, 4, 100]), max_window_layers=pick.choice([0, 1, 2]))
    if model_type == "smollm3":
        one.update(use_sliding_window=pick.random() < 0.5, sliding_window=pick.choice([2, 6]))
        if pick.random() < 0.5:
            one["no_rope_layers"] = [pick.choice([0, 1]) for _ in range(layers)]
        else:
            one["no_rope_layer_interval"] = pick.choice([1, 2, 3])
    if model_type == "granite":
        one.update(
            embedding_multiplier=pick.choice([0.5, 6.0]), attention_multiplier=pick.choice([0.05, 0.3]),
            residual_multiplier=pick.choice([0.3, 1.0]), logits_scaling=pick.choice([0.5, 4.0]),
        )
    if model_type in ("gemma2", "gemma3_text"):
        one.update(
            query_pre_attn_scalar=pick.choice([7, 24]), attn_logit_softcapping=pick.choice([None, 2.0, 30.0]),
            final_logit_softcapping=pick.choice([None, 1.5, 30.0]),
        )
        if pick.random() < 0.5:
            one["layer_types"] = [pick.choice(["full_attention", "sliding_attention"]) for _ in range(layers)]
    if model_type in ("gemma3_text", "olmo3"):
        one["rope_parameters"] = {
            "full_attention": rope(pick, model_type, head, length),
            "sliding_attention": dict(rope_type="default", rope_theta=pick.choice([100.0, 10000.0])),
        }
    else:
        one["rope_parameters"] = rope(pick, model_type, head, length)
    return one


def fuzz_cases(count, seed):
    pick = random.Random(seed)
    cases = {}
    for number in range(count):
        model_type = FAMILIES[number % len(FAMILIES)]
        cases[f"fuzz-{seed}-{number:03}-{model_type}"] = case(pick, model_type)
    return cases
