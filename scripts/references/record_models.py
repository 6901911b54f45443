"""Records tiny random models with PyTorch and transformers, in the layout of fixtures/goldens/models.

    pip install torch transformers safetensors peft
    python scripts/references/record_models.py OUT_FOLDER [CASE ... | --fuzz COUNT [SEED]]
    ALLOY_GOLDENS=OUT_FOLDER npm run parity -- models

The cases (`cases.py`) have odd sizes and settings; `--fuzz` records random ones (`fuzz.py`). float32, eager attention, on
the CPU. Beside `config.json` of today's transformers a `config.hub.json` with the older keys is written; it is read back
and must give the same logits.
"""

import json
import pathlib
import sys
import tempfile

import torch
from cases import CASES
from fuzz import fuzz_cases
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

ADAMW = dict(lr=1e-3, betas=[0.9, 0.999], eps=1e-8, weight_decay=0.01)


def scored(logits, labels):
    losses = torch.nn.functional.cross_entropy(
        logits[:, :-1].transpose(1, 2), labels[:, 1:], ignore_index=-100, reduction="none"
    )
    count = (labels[:, 1:] != -100).sum()
    nll = torch.zeros(labels.shape)
    nll[:, :-1] = losses
    return losses.sum() / count, nll


def randomized(model):
    """Weights large enough that every part matters; norms around the value that leaves a row as it is."""
    around_zero = model.config.model_type.startswith("gemma")
    width = model.config.hidden_size
    with torch.no_grad():
        for key, value in model.named_parameters():
            value.normal_(0, min(0.25, 1.6 / width**0.5) if value.dim() > 1 else 0.2)
            is_norm = "norm" in key or ".ln_" in key
            if value.dim() == 1 and is_norm and key.endswith("weight") and not around_zero:
                value.add_(1)
    return model


def older_config(config):
    """The same configuration in the spelling of published models, or None where there is no other."""
    raw = json.loads(config.to_json_string(use_diff=False))
    raw["torch_dtype"] = raw.pop("dtype", None)
    rope = raw.pop("rope_parameters", None)
    raw.pop("layer_types", None)
    if rope is None:
        return raw
    rope = dict(rope)
    if "full_attention" in rope:
        full, sliding = dict(rope["full_attention"]), dict(rope["sliding_attention"])
        if config.model_type != "gemma3_text":
            return None
        raw["rope_local_base_freq"] = sliding["rope_theta"]
        raw["rope_theta"] = full.pop("rope_theta")
        rope = full
    else:
        raw["rope_theta"] = rope.pop("rope_theta")
    part = rope.pop("partial_rotary_factor", None)
    if part is not None:
        raw["partial_rotary_factor"] = part
    if config.model_type == "gpt_neox":
        raw["rotary_emb_base"] = raw.pop("rope_theta")
        raw["rotary_pct"] = raw.pop("partial_rotary_factor")
    kind = rope.pop("rope_type")
    raw["rope_scaling"] = None if kind == "default" else {"type": kind, **rope}
    return raw


def same_logits(model, ids, raw):
    """Whether transformers reads the older spelling as the same model."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "config.json"
        path.write_text(json.dumps(raw))
        try:
            config = AutoConfig.from_pretrained(folder, attn_implementation="eager")
            other = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
            other.load_state_dict(model.state_dict())
        except Exception as error:
            print("  no older spelling:", str(error).split("\n")[0][:120])
            return False
    with torch.no_grad():
        return torch.equal(other(input_ids=ids).logits, model(input_ids=ids).logits)


def greedy_tokens(model, prompt, count):
    """Without a cache. Also whether a cache gives the same tokens (not so beyond the length of dynamic ropes)."""
    ids = list(prompt)
    margin = float("inf")
    with torch.no_grad():
        for _ in range(count):
            logits = model(input_ids=torch.tensor([ids])).logits[0, -1]
            best = logits.topk(min(2, logits.numel())).values
            margin = min(margin, float(best[0] - best[-1]))
            ids.append(int(logits.argmax()))
        cached = model.generate(
            torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
            max_new_tokens=count, min_new_tokens=count, do_sample=False, eos_token_id=None, pad_token_id=0,
        )[0].tolist()
    return ids[len(prompt):], cached[len(prompt):], margin


def lora(model, folder, ids, labels, reference):
    """A PEFT adapter on all linear layers: logits, gradients and losses."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=3, lora_alpha=5, target_modules="all-linear", task_type="CAUSAL_LM")
    wrapped = get_peft_model(model, config)
    with torch.no_grad():
        for key, value in wrapped.named_parameters():
            if "lora_" in key:
                value.normal_(0, 0.2)
    wrapped.save_pretrained(folder / "lora")
    logits = wrapped(input_ids=ids).logits
    loss, _ = scored(logits, labels)
    loss.backward()
    tensors = {"logits": logits.detach().clone()}
    trained = {key: value for key, value in wrapped.named_parameters() if value.requires_grad}
    for key, value in trained.items():
        tensors["grad." + key.replace(".default", "")] = value.grad.clone()
    optimizer = torch.optim.AdamW(trained.values(), lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    losses = [loss.item()]
    for _ in range(2):
        optimizer.step()
        optimizer.zero_grad()
        loss, _ = scored(wrapped(input_ids=ids).logits, labels)
        losses.append(loss.item())
        loss.backward()
    save_file(tensors, folder / "lora.safetensors")
    reference["lora"] = dict(r=3, alpha=5, loss=losses[0], adamw_losses=losses)


def distil(model, folder, ids, labels, reference):
    """Sparse teacher rows beside the labels, as rows cut from the full softmax."""
    kept, weight = min(4, model.config.vocab_size), 0.6
    logits = model(input_ids=ids).logits
    teacher = torch.softmax(logits.detach() + torch.randn_like(logits), -1)
    probs, teacher_ids = teacher.topk(kept)
    mask = torch.zeros(ids.shape)
    mask[:, : ids.shape[1] - 1] = 1
    mask[:, ::3] = 0
    if mask.sum() == 0:
        return
    logprobs = torch.log_softmax(logits, -1).gather(-1, teacher_ids)
    kd = (-(probs * logprobs).sum(-1) * mask).sum() / mask.sum()
    ce, _ = scored(logits, labels)
    loss = weight * ce + (1 - weight) * kd
    model.zero_grad()
    loss.backward()
    tensors = {"teacher_ids": teacher_ids.int(), "teacher_mask": mask.int(), "leftover.teacher_probs": probs}
    for key, value in model.named_parameters():
        tensors[f"leftover.grad.{key}"] = value.grad.clone()
    save_file({key: value.detach().contiguous() for key, value in tensors.items()}, folder / "distill.safetensors")
    numbers = dict(loss=loss.item(), ce=ce.item(), kd=kd.item())
    reference["distill"] = dict(**{"lambda": weight}, k=kept, variants=dict(leftover=numbers))


def record(name, folder, settings):
    settings = dict(settings)
    length, batch = settings.pop("T"), settings.pop("B")
    prompt, extra = settings.pop("prompt", 6), settings.pop("extra", ("lora", "distil"))
    torch.manual_seed(sum(name.encode()) * 7919 + len(name))
    config = AutoConfig.for_model(settings.pop("model_type"), **settings, attn_implementation="eager")
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
    randomized(model)
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    # transformers writes the names of published files, which need not be those of its modules.
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    ids = torch.randint(0, config.vocab_size, (batch, length))
    mask = torch.ones_like(ids)
    labels = ids.clone()
    if length > 4:
        labels[:, :3] = -100
        if batch > 1:
            mask[-1, length - length // 5:] = 0
            labels[-1, length - length // 5:] = -100
    older = older_config(config)
    if older is not None and same_logits(model, ids, older):
        (folder / "config.hub.json").write_text(json.dumps(older, indent=1))
    outputs = model(input_ids=ids, output_hidden_states=True)
    logits = outputs.logits
    loss, nll = scored(logits, labels)
    tensors = {"input_ids": ids.int(), "attention_mask": mask.int(), "labels": labels.int(), "logits": logits, "nll": nll}
    for index, rows in enumerate(outputs.hidden_states):
        tensors[f"hidden.{index}"] = rows
    if length > 1:
        loss.backward()
    names = [key for key, _ in model.named_parameters()]
    for key, value in model.named_parameters():
        if length > 1:
            tensors[f"grad.{key}"] = value.grad.clone()
    reference = dict(case=name)
    tokens, cached, margin = greedy_tokens(model, ids[0, :prompt].tolist(), 12)
    if tokens != cached:
        # Beyond the length of a dynamic rope the keys of a cache keep their angles. In windows of one token, and where
        # LongRoPE changes its factors under the cache of another family than Phi-3, transformers contradicts itself.
        dynamic = "dynamic" in json.dumps(getattr(config, "rope_parameters", None) or {}) and getattr(config, "sliding_window", None) != 1
        print("  greedy differs with a cache", "(dynamic rope)" if dynamic else "", tokens, cached)
        tokens = cached if dynamic else tokens
    reference["greedy"] = dict(prompt=ids[0, :prompt].tolist(), tokens=tokens, min_margin=margin)
    if length == 1:
        save_file({key: value.detach().contiguous() for key, value in tensors.items()}, folder / "reference.safetensors")
        (folder / "reference.json").write_text(json.dumps(reference, indent=1))
        return
    if "distil" in extra and length > 1:
        distil(model, folder, ids, labels, reference)
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    model.zero_grad()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    after = [names[0], names[len(names) // 2], names[-1]]
    losses = []
    for step in range(5):
        loss, _ = scored(model(input_ids=ids).logits, labels)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step == 0:
            for key in after:
                tensors[f"adamw1.{key}"] = dict(model.named_parameters())[key].detach().clone()
    save_file({key: value.detach().clone().contiguous() for key, value in tensors.items()}, folder / "reference.safetensors")
    reference.update(loss=losses[0], adamw=dict(**ADAMW, losses=losses, after_one_step=after))
    with torch.no_grad():
        for key, value in model.named_parameters():
            value.copy_(before[key])
    model.zero_grad()
    if "lora" in extra:
        lora(model, folder, ids, labels, reference)
    (folder / "reference.json").write_text(json.dumps(reference, indent=1))


def main():
    out = pathlib.Path(sys.argv[1])
    names = sys.argv[2:]
    cases = CASES
    if names[:1] == ["--fuzz"]:
        cases, names = fuzz_cases(int(names[1]), int(names[2]) if len(names) > 2 else 0), []
    for name in names or cases:
        try:
            record(name, out / "models" / name, cases[name])
            print("recorded", name, flush=True)
        except Exception as error:
            print("NOT recorded", name, type(error).__name__, str(error).split("\n")[0][:200], flush=True)
            if not sys.argv[2:3] == ["--fuzz"]:
                raise


main()
