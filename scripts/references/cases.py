"""Settings of the recorded cases: a configuration each, with T tokens in B rows (and `prompt` tokens before greedy ones)."""

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}

CASES = {
    "llama3-rope-odd": dict(
        model_type="llama", vocab_size=131, hidden_size=50, intermediate_size=77, num_hidden_layers=3,
        num_attention_heads=5, num_key_value_heads=1, head_dim=10, tie_word_embeddings=True,
        rope_parameters=LLAMA3, max_position_embeddings=256, T=41, B=3,
    ),
    "llama-biases": dict(
        model_type="llama", vocab_size=97, hidden_size=36, intermediate_size=50, num_hidden_layers=2,
        num_attention_heads=6, num_key_value_heads=3, head_dim=14, attention_bias=True, mlp_bias=True,
        tie_word_embeddings=False, rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}, T=19, B=2,
    ),
    "mistral-window-3": dict(
        model_type="mistral", vocab_size=113, hidden_size=40, intermediate_size=66, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=4, head_dim=18, sliding_window=3, tie_word_embeddings=True, T=33, B=1,
    ),
    "qwen2-partly-sliding": dict(
        model_type="qwen2", vocab_size=151, hidden_size=42, intermediate_size=58, num_hidden_layers=4,
        num_attention_heads=7, num_key_value_heads=7, use_sliding_window=True, sliding_window=6, max_window_layers=2,
        tie_word_embeddings=False, T=29, B=2,
    ),
    "qwen3-wide-heads": dict(
        model_type="qwen3", vocab_size=89, hidden_size=34, intermediate_size=45, num_hidden_layers=2,
        num_attention_heads=3, num_key_value_heads=1, head_dim=22, attention_bias=True, tie_word_embeddings=False, T=17, B=4,
    ),
    "gemma3-pattern-3": dict(
        model_type="gemma3_text", vocab_size=119, hidden_size=46, intermediate_size=70, num_hidden_layers=4,
        num_attention_heads=2, num_key_value_heads=1, head_dim=26, query_pre_attn_scalar=31, sliding_window=5,
        layer_types=["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
        rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        },
        tie_word_embeddings=True, T=37, B=2,
    ),
    "gpt2-odd": dict(
        model_type="gpt2", vocab_size=31, n_embd=21, n_layer=2, n_head=3, n_inner=40, n_positions=29,
        scale_attn_by_inverse_layer_idx=True, tie_word_embeddings=False, T=29, B=2, extra=("lora",),
    ),
    "gpt2-exact-gelu": dict(
        model_type="gpt2", vocab_size=53, n_embd=20, n_layer=1, n_head=4, n_positions=40, activation_function="gelu",
        scale_attn_weights=False, T=13, B=3,
    ),
    "pythia-sequential": dict(
        model_type="gpt_neox", vocab_size=37, hidden_size=20, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=4, use_parallel_residual=False, attention_bias=False, max_position_embeddings=64,
        rope_parameters={"rope_type": "default", "rope_theta": 5000.0, "partial_rotary_factor": 0.5}, T=21, B=2, extra=("lora",),
    ),
    "pythia-linear": dict(
        model_type="gpt_neox", vocab_size=59, hidden_size=36, intermediate_size=50, num_hidden_layers=2,
        num_attention_heads=3, tie_word_embeddings=True, max_position_embeddings=64,
        rope_parameters={"rope_type": "linear", "factor": 3.0, "rope_theta": 10000.0, "partial_rotary_factor": 1.0}, T=17, B=2,
    ),
    "phi3-window": dict(
        model_type="phi3", vocab_size=71, hidden_size=36, intermediate_size=50, num_hidden_layers=2,
        num_attention_heads=6, num_key_value_heads=2, sliding_window=5, tie_word_embeddings=True, pad_token_id=0,
        bos_token_id=1, eos_token_id=2,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.67}, T=19, B=2,
    ),
    "phi3-longrope": dict(
        model_type="phi3", vocab_size=43, hidden_size=16, intermediate_size=26, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=64, original_max_position_embeddings=16,
        pad_token_id=0, bos_token_id=1, eos_token_id=2,
        rope_parameters={
            "rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0, 1.1, 1.2, 1.4], "long_factor": [1.0, 2.0, 3.5, 6.0],
        },
        T=23, B=2, prompt=9, extra=("lora",),
    ),
    "olmo2-grouped": dict(
        model_type="olmo2", vocab_size=49, hidden_size=28, intermediate_size=35, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=10, tie_word_embeddings=True, attention_bias=True, T=18, B=2, extra=(),
    ),
    "granite-scaled": dict(
        model_type="granite", vocab_size=43, hidden_size=24, intermediate_size=38, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, embedding_multiplier=6.0, attention_multiplier=0.11,
        residual_multiplier=0.4, logits_scaling=3.5, attention_bias=True, mlp_bias=True, tie_word_embeddings=True, T=20, B=2, extra=("distil",),
    ),
    "smollm3-nope": dict(
        model_type="smollm3", vocab_size=47, hidden_size=20, intermediate_size=34, num_hidden_layers=3,
        num_attention_heads=5, num_key_value_heads=1, no_rope_layer_interval=2, use_sliding_window=True, sliding_window=6,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, T=22, B=2, extra=(),
    ),
    "gemma2-capped": dict(
        model_type="gemma2", vocab_size=51, hidden_size=20, intermediate_size=40, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=18, query_pre_attn_scalar=18, sliding_window=4,
        attn_logit_softcapping=3.0, final_logit_softcapping=2.0, T=17, B=2, extra=(),
    ),
    "gemma1-kin": dict(
        model_type="gemma", vocab_size=63, hidden_size=24, intermediate_size=40, num_hidden_layers=2,
        num_attention_heads=3, num_key_value_heads=1, head_dim=12, T=15, B=2,
    ),
    "olmo3-windows": dict(
        model_type="olmo3", vocab_size=69, hidden_size=24, intermediate_size=38, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, sliding_window=5, pad_token_id=0, T=16, B=2,
    ),
    "starcoder2-grouped": dict(
        model_type="starcoder2", vocab_size=37, hidden_size=24, intermediate_size=40, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, sliding_window=7, bos_token_id=0, eos_token_id=0, T=18, B=2, extra=(),
    ),
    "llama-dynamic": dict(
        model_type="llama", vocab_size=35, hidden_size=24, intermediate_size=34, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=16, extra=(),
        rope_parameters={"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}, T=27, B=2, prompt=4,
    ),
    "qwen2-yarn": dict(
        model_type="qwen2", vocab_size=45, hidden_size=24, intermediate_size=30, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=128, extra=(),
        rope_parameters={
            "rope_type": "yarn", "factor": 4.0, "rope_theta": 1000.0, "original_max_position_embeddings": 32, "beta_fast": 6.0,
        },
        T=26, B=2,
    ),
    "llama-yarn-mscale": dict(
        model_type="llama", vocab_size=55, hidden_size=32, intermediate_size=44, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=128, extra=(),
        rope_parameters={
            "rope_type": "yarn", "factor": 8.0, "rope_theta": 500.0, "original_max_position_embeddings": 16, "beta_fast": 4.0,
            "beta_slow": 0.5, "mscale": 0.8, "mscale_all_dim": 1.3, "truncate": False,
        },
        T=31, B=1,
    ),
    "stablelm-parallel": dict(
        model_type="stablelm", vocab_size=39, hidden_size=24, intermediate_size=30, num_hidden_layers=2,
        num_attention_heads=3, num_key_value_heads=3, use_parallel_residual=True, use_qkv_bias=True, T=16, B=2,
    ),
    "stablelm-grouped": dict(
        model_type="stablelm", vocab_size=41, hidden_size=32, intermediate_size=30, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, partial_rotary_factor=0.5, T=17, B=2,
    ),
    "gpt2-small": dict(
        model_type="gpt2", vocab_size=29, n_embd=20, n_layer=2, n_head=5, n_positions=24, T=15, B=2, extra=(),
    ),
    "smollm3-small": dict(
        model_type="smollm3", vocab_size=31, hidden_size=12, intermediate_size=18, num_hidden_layers=4,
        num_attention_heads=3, num_key_value_heads=1, pad_token_id=0, bos_token_id=1, eos_token_id=2, T=14, B=2, extra=(),
    ),
    "llama3-small": dict(
        model_type="llama", vocab_size=33, hidden_size=20, intermediate_size=26, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=14, tie_word_embeddings=True, attention_bias=True,
        rope_parameters=LLAMA3, max_position_embeddings=128, T=35, B=1, extra=(),
    ),
    "one-layer-one-token": dict(
        model_type="llama", vocab_size=41, hidden_size=16, intermediate_size=22, num_hidden_layers=1,
        num_attention_heads=4, num_key_value_heads=1, tie_word_embeddings=True, T=1, B=1, prompt=1,
    ),
}
