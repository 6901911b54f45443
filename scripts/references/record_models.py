"""Records tiny random models with PyTorch and transformers, in the layout of fixtures/goldens/models.

    pip install torch transformers safetensors
    python scripts/references/record_models.py OUT_FOLDER [CASE ...]
    ALLOY_GOLDENS=OUT_FOLDER npm run parity -- models

The cases have odd sizes and settings that the committed ones lack: rope scaling, other windows and patterns, heads that
do not divide the width, batches of other lengths. float32, eager attention, on the CPU.
"""

import json
import pathlib
import sys

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

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
}


def scored(logits, labels):
    losses = torch.nn.functional.cross_entropy(
        logits[:, :-1].transpose(1, 2), labels[:, 1:], ignore_index=-100, reduction="none"
    )
    count = (labels[:, 1:] != -100).sum()
    nll = torch.zeros(labels.shape)
    nll[:, :-1] = losses
    return losses.sum() / count, nll


def record(name, folder, settings):
    settings = dict(settings)
    length, batch = settings.pop("T"), settings.pop("B")
    torch.manual_seed(sum(name.encode()))
    config = AutoConfig.for_model(settings.pop("model_type"), **settings, attn_implementation="eager")
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float()
    with torch.no_grad():
        for key, value in model.named_parameters():
            value.normal_(0, 0.25 if value.dim() > 1 else 0.2)
            if value.dim() == 1 and "norm" in key and "gemma" not in config.model_type:
                value.add_(1)
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    weights = {key: value.detach().clone() for key, value in model.named_parameters()}
    save_file({key: value.contiguous() for key, value in weights.items()}, folder / "model.safetensors")
    ids = torch.randint(0, config.vocab_size, (batch, length))
    mask = torch.ones_like(ids)
    labels = ids.clone()
    labels[:, :3] = -100
    if batch > 1:
        mask[-1, length - 5:] = 0
        labels[-1, length - 5:] = -100
    logits = model(input_ids=ids).logits
    loss, nll = scored(logits, labels)
    loss.backward()
    tensors = {"input_ids": ids.int(), "attention_mask": mask.int(), "labels": labels.int(), "logits": logits, "nll": nll}
    for key, value in model.named_parameters():
        tensors[f"grad.{key}"] = value.grad.clone()
    adamw = dict(lr=1e-3, betas=[0.9, 0.999], eps=1e-8, weight_decay=0.01)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    greedy = greedy_tokens(model, ids[0, :6].tolist())
    after = ["model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight"]
    losses = [loss.item()]
    for step in range(4):
        optimizer.step()
        if step == 0:
            for key in after:
                tensors[f"adamw1.{key}"] = dict(model.named_parameters())[key].detach().clone()
        optimizer.zero_grad()
        loss, _ = scored(model(input_ids=ids).logits, labels)
        losses.append(loss.item())
        loss.backward()
    save_file({key: value.detach().contiguous() for key, value in tensors.items()}, folder / "reference.safetensors")
    reference = dict(
        case=name, loss=losses[0], greedy=dict(prompt=ids[0, :6].tolist(), tokens=greedy),
        adamw=dict(**adamw, losses=losses, after_one_step=after),
    )
    (folder / "reference.json").write_text(json.dumps(reference, indent=1))


def greedy_tokens(model, prompt):
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(12):
            ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(prompt):]


def main():
    out = pathlib.Path(sys.argv[1])
    for name in sys.argv[2:] or CASES:
        record(name, out / "models" / name, CASES[name])
        print("recorded", name)


main()
