"""LoRA or full fine-tuning of a causal language model on the pairs that Pema reads: the white-box ceiling.

    pip install -r tests/baselines/requirements.txt
    python tests/baselines/finetune.py --gguf model.gguf --train train.jsonl --validation dev.jsonl \
        --test test.jsonl --template 'Informal: {input}\nFormal:' --method lora --out lora.json

Prompts and targets are tokenized as `pema-core` does: BOS if the model wants one, one space between
prompt and target, EOS at the end. The loss is over target tokens alone; after each epoch the model
is scored on validation pairs, and the best epoch's weights are kept. All of it is float32 on the CPU.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import math
import pathlib
import platform
import random
import resource
import sys
import time

PACKAGES = ["torch", "transformers", "peft", "accelerate", "sacrebleu", "gguf"]
LEARNING_RATES = {"lora": 5e-4, "full": 2e-5}
RANK = 16
# Epochs without a better validation perplexity before training ends.
PATIENCE = 2
GRADIENT_NORM = 1.0
# As `pema evaluate` has it.
MAX_NEW_TOKENS = 64
# Marks positions that are no target's.
IGNORED = -100


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--model", help="folder or Hugging Face id of the model")
    model.add_argument("--gguf", type=pathlib.Path, help="the model as a GGUF file; its weights are dequantized")
    for name in ["train", "validation", "test"]:
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True, help="JSON lines")
    parser.add_argument("--input-column", default="input")
    parser.add_argument("--target-column", default="target")
    parser.add_argument("--template", required=True, help=r"the prompt, with {input} where the input goes; \n is a line end")
    parser.add_argument("--method", choices=["lora", "full"], required=True)
    parser.add_argument("--epochs", type=int, default=10, help="at most; early stopping may end sooner")
    parser.add_argument("--lr", type=float, help=f"default: {LEARNING_RATES}")
    parser.add_argument("--batch", type=int, default=8, help="pairs a step")
    parser.add_argument("--rank", type=int, help=f"of LoRA; default: {RANK}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="use only the first so many pairs of each file")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="JSON report")
    args = parser.parse_args()
    if args.method == "full" and args.rank is not None:
        parser.error("--rank is LoRA's: leave it out with --method full")
    if "{input}" not in args.template:
        parser.error("--template has no {input}: write {input} where the input should go")
    args.template = args.template.replace("\\n", "\n")
    args.lr = args.lr or LEARNING_RATES[args.method]
    args.rank = (args.rank or RANK) if args.method == "lora" else None
    return args


def versions():
    """Versions of what the numbers depend on; ends the program where a package is missing."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(f"missing: {', '.join(missing)}. Run: pip install -r tests/baselines/requirements.txt")
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in PACKAGES}}


def read_pairs(path, args):
    """(input, target) of each row."""
    pairs, columns = [], (args.input_column, args.target_column)
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        sys.exit(f"{path} cannot be read: {error}")
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                row = json.loads(line)
                pairs.append(tuple(row[column].strip() for column in columns))
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                sys.exit(f"{path}, line {number}: not an object with the texts {columns} ({error!r})")
            if not all(pairs[-1]):
                sys.exit(f"{path}, line {number}: an empty text")
    return pairs[: args.limit] or sys.exit(f"{path} holds no pairs")


def load(args):
    """Tokenizer and model."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place, options = args.model, {}
    if args.gguf:
        if not args.gguf.is_file():
            sys.exit(f"{args.gguf} is not a file")
        place, options = str(args.gguf.parent), {"gguf_file": args.gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(place, **options)
    model = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32, **options)
    if tokenizer.eos_token_id is None:
        sys.exit("the tokenizer names no end-of-sequence token: choose another model")
    return tokenizer, model


def encode(tokenizer, prompt, target):
    """Token ids of a prompt and of its target, as `encode_prompt` and `encode_target` of pema-core."""

    def ids(text):
        return tokenizer(text, add_special_tokens=False).input_ids

    prompt_ids = ids(prompt)
    control = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
    after_control = not prompt_ids or prompt_ids[-1] in control
    separator = "" if after_control or prompt[-1].isspace() else " "
    target_ids = ids(target)
    for anchor in [prompt, "\n"]:
        before, whole = ids(anchor), ids(anchor + separator + target)
        if whole[: len(before)] == before:
            target_ids = whole[len(before) :]
            break
    begins_with_bos = tokenizer("").input_ids[:1] == [tokenizer.bos_token_id]
    if begins_with_bos and prompt_ids[:1] != [tokenizer.bos_token_id]:
        prompt_ids.insert(0, tokenizer.bos_token_id)
    return prompt_ids, target_ids + [tokenizer.eos_token_id]


def target_nll(model, batch):
    """Summed negative log-likelihood of a batch's target tokens, and how many they are."""
    import torch

    def padded(rows, value):
        tensors = [torch.tensor(row) for row in rows]
        return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=value)

    ids = padded([prompt + target for prompt, target in batch], 0)
    mask = padded([[1] * len(prompt + target) for prompt, target in batch], 0)
    labels = padded([[IGNORED] * len(prompt) + target for prompt, target in batch], IGNORED)[:, 1:]
    kept = labels != IGNORED
    logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1][kept]
    return torch.nn.functional.cross_entropy(logits, labels[kept], reduction="sum"), int(kept.sum())


def batches(rows, size):
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def likelihoods(model, rows):
    """Negative log-likelihood and number of target tokens, with their EOS, of each pair."""
    import torch

    model.eval()
    with torch.inference_mode():
        return [(nll.item(), tokens) for nll, tokens in (target_nll(model, [row]) for row in rows)]


def perplexity(model, rows, size):
    """exp(mean negative log-likelihood) over all target tokens with their EOS, and how many they are."""
    import torch

    model.eval()
    with torch.inference_mode():
        sums = [(nll.item(), tokens) for nll, tokens in (target_nll(model, batch) for batch in batches(rows, size))]
    tokens = sum(tokens for _, tokens in sums)
    return math.exp(sum(nll for nll, _ in sums) / tokens), tokens


def generate(model, tokenizer, prompts, size):
    """Greedy continuations."""
    import torch

    model.eval()
    outputs = []
    for batch in batches(prompts, size):
        length = max(map(len, batch))
        ids = torch.tensor([[tokenizer.eos_token_id] * (length - len(prompt)) + prompt for prompt in batch])
        mask = torch.tensor([[0] * (length - len(prompt)) + [1] * len(prompt) for prompt in batch])
        options = dict(do_sample=False, max_new_tokens=MAX_NEW_TOKENS, pad_token_id=tokenizer.eos_token_id)
        with torch.inference_mode():
            written = model.generate(input_ids=ids, attention_mask=mask, **options)
        outputs += [text.strip() for text in tokenizer.batch_decode(written[:, length:], skip_special_tokens=True)]
    return outputs


def score(model, tokenizer, rows, references, size):
    """What `pema eval` and `pema evaluate` report for a method, on test pairs."""
    import sacrebleu

    nll = likelihoods(model, rows)
    tokens = sum(tokens for _, tokens in nll)
    value = math.exp(sum(nll for nll, _ in nll) / tokens)
    outputs = generate(model, tokenizer, [prompt for prompt, _ in rows], size)
    hits = sum(output == reference for output, reference in zip(outputs, references))
    return {
        "perplexity": value,
        "tokens": tokens,
        "likelihoods": nll,
        "bleu": sacrebleu.corpus_bleu(outputs, [references]).score,
        "chrf": sacrebleu.corpus_chrf(outputs, [references]).score,
        "exact_match": 100 * hits / len(outputs),
        "outputs": outputs,
    }


def with_adapter(model, rank):
    """LoRA on every linear layer but the head."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    return get_peft_model(model, config)


def train(model, rows, validation, args):
    """Trains in place, goes back to the best epoch (0: as it was), and returns what happened."""
    import torch

    shuffle = random.Random(args.seed)
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=args.lr, weight_decay=0.0)
    history = [perplexity(model, validation, args.batch)[0]]
    best, kept = 0, [p.detach().clone() for p in trainable]
    start = time.perf_counter()
    for epoch in range(1, args.epochs + 1):
        model.train()
        rows = shuffle.sample(rows, len(rows))
        for batch in batches(rows, args.batch):
            nll, tokens = target_nll(model, batch)
            optimizer.zero_grad()
            (nll / tokens).backward()
            torch.nn.utils.clip_grad_norm_(trainable, GRADIENT_NORM)
            optimizer.step()
        history.append(perplexity(model, validation, args.batch)[0])
        print(f"epoch {epoch}: validation perplexity {history[-1]:.3f}, {time.perf_counter() - start:.0f} s", flush=True)
        if history[-1] < history[best]:
            best, kept = epoch, [p.detach().clone() for p in trainable]
        elif epoch - best >= PATIENCE:
            break
    with torch.no_grad():
        for parameter, value in zip(trainable, kept):
            parameter.copy_(value)
    return {"best_epoch": best, "validation_perplexity": history, "training_seconds": time.perf_counter() - start}


def main():
    args = arguments()
    report = {"versions": versions()}
    report |= {name: getattr(args, name) for name in ["method", "seed", "lr", "batch", "rank", "epochs", "template"]}
    print("versions:", ", ".join(f"{name} {version}" for name, version in report["versions"].items()))
    print(f"seed: {args.seed}")
    pairs = {name: read_pairs(getattr(args, name), args) for name in ["train", "validation", "test"]}

    import transformers

    transformers.set_seed(args.seed)
    tokenizer, model = load(args)
    rows = {name: [encode(tokenizer, args.template.replace("{input}", i), t) for i, t in pairs[name]] for name in pairs}
    references = [target for _, target in pairs["test"]]
    report["model"] = args.gguf.name if args.gguf else args.model
    report["pairs"] = {name: len(rows[name]) for name in rows}
    report["before"] = score(model, tokenizer, rows["test"], references, args.batch)
    if args.method == "lora":
        model = with_adapter(model, args.rank)
    report["parameters"] = sum(p.numel() for p in model.parameters())
    report["trainable_parameters"] = sum(p.numel() for p in model.parameters() if p.requires_grad)
    report |= train(model, rows["train"], rows["validation"], args)
    report["after"] = score(model, tokenizer, rows["test"], references, args.batch)
    # The process's largest resident set, of which Linux tells kibibytes and macOS bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    report["peak_memory_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    for name in ["before", "after"]:
        print(name, {key: round(value, 3) for key, value in report[name].items() if key not in ["outputs", "likelihoods"]})
    args.out.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
