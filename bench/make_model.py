#!/usr/bin/env python3
"""Writes a model and its fine-tune as safetensors files, the same bytes on every machine with the same numpy.

The weights are near-Gaussian with a scale of their own for every row, laid out as a transformer has them.
Fine-tunes: `dense` moves every matrix a little, as an epoch at a small rate does; `last` moves the last layer only.
"""

import argparse
import json
import os
import struct
import sys

try:
    import numpy as np
except ImportError:
    sys.exit("make_model.py needs numpy: install it (apt install python3-numpy, or pip install numpy), "
             "or give models of your own: MODEL=path FINETUNE=path bench/local.sh")

DTYPES = {"bf16": ("BF16", 2), "f32": ("F32", 4)}
# Rows generated at once: bounds the memory.
ROWS = 1024


def layout(size, width):
    """Names and shapes of the tensors of a model of about `size` bytes."""
    total = size // width
    hidden = next(h for h in (2048, 1024, 512, 128) if h == 128 or 20 * h * h <= total)
    matrices = {"attn.q": hidden, "attn.k": hidden, "attn.v": hidden, "attn.o": hidden,
                "mlp.up": 4 * hidden, "mlp.gate": 4 * hidden, "mlp.down": 4 * hidden}
    layer = hidden * (sum(matrices.values()) + 2)
    layers = max(1, total // layer - 1)
    vocabulary = max(1, (total - layers * layer) // hidden)
    shapes = {"embed.weight": (vocabulary, hidden)}
    for index in range(layers):
        for name, rows in matrices.items():
            shapes[f"layers.{index}.{name}.weight"] = (rows, hidden)
        shapes[f"layers.{index}.norm_1.weight"] = (hidden,)
        shapes[f"layers.{index}.norm_2.weight"] = (hidden,)
    return shapes, layers


def header(shapes, dtype):
    name, width = DTYPES[dtype]
    table, at = {}, 0
    for tensor, shape in shapes.items():
        end = at + width * int(np.prod(shape))
        table[tensor] = {"dtype": name, "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def stored(values, dtype):
    """What a file holds of f32 values; bf16 is rounded to nearest even."""
    if dtype == "f32":
        return values.astype("<f4")
    bits = values.view(np.uint32)
    return ((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype("<u2")


def loaded(data, dtype):
    return data if dtype == "f32" else (data.astype(np.uint32) << np.uint32(16)).view(np.float32)


def pieces(random, shape):
    """The tensor's f32 values, some rows at a time."""
    if len(shape) == 1:
        yield (1 + 0.1 * random.standard_normal(shape, dtype=np.float32)).astype(np.float32)
        return
    rows, columns = shape
    for start in range(0, rows, ROWS):
        count = min(ROWS, rows - start)
        scale = 0.02 * np.exp(0.2 * random.standard_normal((count, 1), dtype=np.float32))
        yield random.standard_normal((count, columns), dtype=np.float32) * scale


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("finetune")
    parser.add_argument("--size-mb", type=int, default=1024, help="MiB of each file (default 1024)")
    parser.add_argument("--dtype", choices=DTYPES, default="bf16")
    parser.add_argument("--tune", choices=("dense", "last"), default="dense")
    parser.add_argument("--step", type=float, default=3e-5, help="deviation of a dense fine-tune's change")
    arguments = parser.parse_args()

    dtype = arguments.dtype
    shapes, layers = layout(arguments.size_mb << 20, DTYPES[dtype][1])
    last = f"layers.{layers - 1}."
    weights, steps = np.random.default_rng(1), np.random.default_rng(2)
    # Complete or not there at all: a later run takes a file that exists for a good one.
    partial = [arguments.model + ".partial", arguments.finetune + ".partial"]
    with open(partial[0], "wb") as model, open(partial[1], "wb") as tune:
        for file in (model, tune):
            file.write(header(shapes, dtype))
        for name, shape in shapes.items():
            moves = len(shape) == 2 and (arguments.tune == "dense" or name.startswith(last))
            for values in pieces(weights, shape):
                base = stored(np.ascontiguousarray(values, dtype=np.float32), dtype)
                model.write(base)
                if moves:
                    step = steps.standard_normal(values.shape, dtype=np.float32) * np.float32(arguments.step)
                    base = stored(loaded(base, dtype) + step, dtype)
                tune.write(base)
    os.replace(partial[0], arguments.model)
    os.replace(partial[1], arguments.finetune)


if __name__ == "__main__":
    main()
