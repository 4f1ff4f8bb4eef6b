#!/usr/bin/env python3
"""Trains a small language model with numpy and writes what a person who trains would keep, as safetensors files.

    checkpoints/   early training, f32: weights and both moments of Adam, every few steps
    f32/, bf16/    the model at the end of that, and five fine-tunes of it on other text: at a small and at a larger
                   rate, the last quarter of the layers only, a merged LoRA, a vocabulary that grew

The text is the source code of Python's standard library; the model guesses the next word from the eight before. So the
weights and moments come from a real optimiser on real data, although the model is of no use. The same numpy and the
same Python on the same machine write the same bytes. One run of M million parameters takes 2 * M MB for each file of
bf16, 4 * M MB for f32 and 12 * M MB for a checkpoint. make_model.py is quicker where only speed is measured.
"""

import argparse
import os
import re
import sys
import sysconfig
from collections import Counter

# Two threads on such small matrices mostly wait for each other, and their sums differ from run to run.
for library in ("OPENBLAS", "MKL", "OMP"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

try:
    import numpy as np
except ImportError:
    sys.exit("make_family.py needs numpy: install it (apt install python3-numpy, or pip install numpy), "
             "or give folders of models of your own: bench/savings.sh DIR...")

from make_model import header, stored

CONTEXT = 8
BATCH = 128
# Fine-tunes read these packages of the standard library, the base all others.
OTHER_TEXT = ("asyncio", "email", "multiprocessing", "unittest")
# Bytes of text of each kind: enough for thousands of steps.
TEXT = 8_000_000
LORA_RANK, LORA_SCALE = 8, 2.0


def source_code(other):
    """Source code of the standard library in the order of names; which half, says `other`."""
    root, parts, size = sysconfig.get_paths()["stdlib"], [], 0
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if f not in ("site-packages", "dist-packages", "__pycache__", "test"))
        package = os.path.relpath(folder, root).split(os.sep)[0]
        if (package in OTHER_TEXT) != other:
            continue
        for name in sorted(n for n in names if n.endswith(".py")):
            with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
                parts.append(file.read())
            size += len(parts[-1])
            if size > TEXT:
                return "".join(parts)
    return "".join(parts)


def words_of(text):
    return re.findall(r"\w+|[^\w\s]|\n *", text)


def shapes_of(parameters):
    """Names and shapes of a model of about so many parameters."""
    hidden = next(h for h in (1024, 512, 256, 128, 64) if h == 64 or 56 * h * h <= parameters)
    vocabulary = 16 * hidden
    layers = max(2, round((parameters - 40 * hidden * hidden) / (8 * hidden * hidden)))
    shapes = {"embed.weight": (vocabulary, hidden), "context.weight": (hidden, CONTEXT * hidden)}
    for layer in range(layers):
        shapes |= {f"layers.{layer}.norm.weight": (hidden,), f"layers.{layer}.norm.bias": (hidden,),
                   f"layers.{layer}.up.weight": (4 * hidden, hidden), f"layers.{layer}.up.bias": (4 * hidden,),
                   f"layers.{layer}.down.weight": (hidden, 4 * hidden), f"layers.{layer}.down.bias": (hidden,)}
    shapes["head.weight"] = (vocabulary, hidden)
    return shapes, layers


def fresh(shapes):
    random, weights = np.random.default_rng(1), {}
    for name, shape in shapes.items():
        if len(shape) == 2:
            weights[name] = random.standard_normal(shape, dtype=np.float32) * np.float32(0.5 / np.sqrt(shape[1]))
        else:
            weights[name] = np.full(shape, 1 if name.endswith("norm.weight") else 0, np.float32)
    return weights


def slopes(weights, layers, words, wanted):
    """The loss of a batch of windows of words, and its gradient for every weight."""
    seen, kept = words[:, :CONTEXT], []
    flat = weights["embed.weight"][seen].reshape(len(seen), -1)
    state = flat @ weights["context.weight"].T
    for layer in range(layers):
        name = f"layers.{layer}."
        centred = state - state.mean(1, keepdims=True)
        scale = 1 / np.sqrt((centred * centred).mean(1, keepdims=True) + np.float32(1e-5))
        unit = centred * scale
        normed = unit * weights[name + "norm.weight"] + weights[name + "norm.bias"]
        up = normed @ weights[name + "up.weight"].T + weights[name + "up.bias"]
        gate = 1 / (1 + np.exp(-up))
        kept.append((unit, scale, normed, up, gate))
        state = state + (up * gate) @ weights[name + "down.weight"].T + weights[name + "down.bias"]
    scores = state @ weights["head.weight"].T
    scores -= scores.max(1, keepdims=True)
    chances = np.exp(scores)
    chances /= chances.sum(1, keepdims=True)
    rows = np.arange(len(words))
    loss = -np.log(chances[rows, wanted] + 1e-9).mean()

    slope = {}
    chances[rows, wanted] -= 1
    chances /= len(words)
    slope["head.weight"] = chances.T @ state
    back = chances @ weights["head.weight"]
    for layer in reversed(range(layers)):
        name, (unit, scale, normed, up, gate) = f"layers.{layer}.", kept[layer]
        slope[name + "down.weight"], slope[name + "down.bias"] = back.T @ (up * gate), back.sum(0)
        down = (back @ weights[name + "down.weight"]) * (gate * (1 + up * (1 - gate)))
        slope[name + "up.weight"], slope[name + "up.bias"] = down.T @ normed, down.sum(0)
        down = down @ weights[name + "up.weight"]
        slope[name + "norm.weight"], slope[name + "norm.bias"] = (down * unit).sum(0), down.sum(0)
        down = down * weights[name + "norm.weight"]
        back = back + scale * (down - down.mean(1, keepdims=True) - unit * (down * unit).mean(1, keepdims=True))
    slope["context.weight"] = back.T @ flat
    slope["embed.weight"] = np.zeros_like(weights["embed.weight"])
    np.add.at(slope["embed.weight"], seen.reshape(-1), (back @ weights["context.weight"]).reshape(-1, weights["embed.weight"].shape[1]))
    return loss, slope


def train(weights, layers, text, steps, rate, *, names=None, lora=(), keep=None, seed=2):
    """Adam with warm-up over `names` (all of them by default), or over low-rank factors of the matrices in `lora`.

    `weights` holds the result. `keep(step, first moment, second moment)` is called after every step.
    """
    random = np.random.default_rng(seed)
    factors = {}
    for name in lora:
        high, wide = weights[name].shape
        factors[name + ".A"] = random.standard_normal((LORA_RANK, wide), dtype=np.float32) / np.float32(np.sqrt(wide))
        factors[name + ".B"] = np.zeros((high, LORA_RANK), np.float32)
    frozen = {name: weights[name].copy() for name in lora}
    trained = factors or {name: weights[name] for name in names or weights}
    first = {name: np.zeros_like(values) for name, values in trained.items()}
    second = {name: np.zeros_like(values) for name, values in trained.items()}
    for step in range(1, steps + 1):
        starts = random.integers(0, len(text) - CONTEXT - 1, BATCH)
        words = text[starts[:, None] + np.arange(CONTEXT)]
        loss, slope = slopes(weights, layers, words, text[starts + CONTEXT])
        for name in lora:
            slope[name + ".A"] = np.float32(LORA_SCALE) * factors[name + ".B"].T @ slope[name]
            slope[name + ".B"] = np.float32(LORA_SCALE) * slope[name] @ factors[name + ".A"].T
        norm = np.sqrt(sum(float(np.vdot(slope[name], slope[name])) for name in trained))
        now = np.float32(rate * min(1, step / (0.1 * steps)) * np.sqrt(1 - 0.999 ** step) / (1 - 0.9 ** step))
        for name, values in trained.items():
            gradient = slope[name] * np.float32(min(1, 1 / (norm + 1e-6)))
            first[name] += np.float32(0.1) * (gradient - first[name])
            second[name] += np.float32(0.001) * (gradient * gradient - second[name])
            values -= now * first[name] / (np.sqrt(second[name]) + np.float32(1e-8))
        for name in lora:
            weights[name] = frozen[name] + np.float32(LORA_SCALE) * factors[name + ".B"] @ factors[name + ".A"]
        if keep:
            keep(step, first, second)
        if step == 1 or step % 50 == 0:
            print(f"  step {step}: loss {loss:.2f}", file=sys.stderr, flush=True)


def write(path, tensors, dtype):
    """Complete or not there at all: a later run takes a file that exists for a good one."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".partial", "wb") as file:
        file.write(header({name: values.shape for name, values in tensors.items()}, dtype))
        for values in tensors.values():
            file.write(stored(np.ascontiguousarray(values), dtype).data)
    os.replace(path + ".partial", path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--millions", type=float, default=8, help="parameters (default 8)")
    parser.add_argument("--checkpoints", type=int, default=10)
    parser.add_argument("--every", type=int, default=50, help="steps between two checkpoints (default 50)")
    parser.add_argument("--steps", type=int, default=60, help="steps of a fine-tune (default 60)")
    arguments = parser.parse_args()
    out = arguments.out

    shapes, layers = shapes_of(int(arguments.millions * 1e6))
    text, other = words_of(source_code(False)), words_of(source_code(True))
    vocabulary = shapes["embed.weight"][0]
    # Word 0 stands for all that are rare.
    number = {word: at for at, (word, _) in enumerate(Counter(text).most_common(vocabulary - 1), 1)}
    unknown = [word for word, _ in Counter(word for word in other if word not in number).most_common(64)]
    grown = number | {word: vocabulary + at for at, word in enumerate(unknown)}
    text = np.array([number.get(word, 0) for word in text])
    other, other_grown = (np.array([table.get(word, 0) for word in other]) for table in (number, grown))

    base = fresh(shapes)

    def checkpoint(step, first, second):
        if step % arguments.every == 0:
            moments = {f"exp_avg.{name}": values for name, values in first.items()}
            moments |= {f"exp_avg_sq.{name}": values for name, values in second.items()}
            write(f"{out}/checkpoints/step-{step:05}.safetensors", base | moments, "f32")

    print("checkpoints", file=sys.stderr)
    train(base, layers, text, arguments.checkpoints * arguments.every, 1e-3, keep=checkpoint)

    def save(name, weights):
        for dtype in ("f32", "bf16"):
            write(f"{out}/{dtype}/{name}.safetensors", weights, dtype)

    def tuned(name, rate, data=other, start=base, **how):
        print(name, file=sys.stderr)
        weights = {key: values.copy() for key, values in start.items()}
        train(weights, layers, data, arguments.steps, rate, seed=3, **how)
        save(name, weights)

    save("0-base", base)
    tuned("1-full-small", 2e-6)
    tuned("2-full-large", 2e-5)
    last = tuple(f"layers.{layer}." for layer in range(layers - max(1, layers // 4), layers))
    tuned("3-last-layers", 2e-5, names=[name for name in base if name.startswith(last)])
    tuned("4-lora", 2e-4, lora=[name for name in base if name.endswith(("up.weight", "down.weight"))])
    rows = np.random.default_rng(4).standard_normal((len(unknown), shapes["embed.weight"][1]), dtype=np.float32)
    wider = {name: np.concatenate([base[name], rows * base[name].std()]) for name in ("embed.weight", "head.weight")}
    tuned("5-vocabulary", 2e-5, data=other_grown, start={name: wider.get(name, values) for name, values in base.items()})


if __name__ == "__main__":
    main()
