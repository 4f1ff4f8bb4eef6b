#!/usr/bin/env python3
"""What combining tensors must give, computed with numpy: prints the lines of combine.txt.

Each line: dtype, recipe, then base, ours, theirs and the result as hexadecimal bytes, little-endian.
"""

import numpy as np

COUNT = 96


def to_bf16(values):
    """float32 to the bits of bfloat16, to nearest even."""
    bits = np.asarray(values, np.float32).view(np.uint32)
    rounded = ((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype("<u2")
    return np.where(np.isnan(values), ((bits >> np.uint32(16)) | np.uint32(0x40)).astype("<u2"), rounded)


def from_bf16(bits):
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


DTYPES = {
    "bf16": (to_bf16, from_bf16, np.float32),
    "f16": (lambda values: np.asarray(values, np.float32).astype("<f2"), lambda raw: raw.astype(np.float32), np.float32),
    "f32": (lambda values: np.asarray(values, "<f4"), lambda raw: raw, np.float32),
    "f64": (lambda values: np.asarray(values, "<f8"), lambda raw: raw, np.float64),
}


def largest(difference):
    """Zeros where a difference is not among the largest fifth."""
    sizes = np.abs(difference).astype(np.float32)
    kept = int(np.ceil(len(sizes) * 0.2))
    smallest = np.sort(sizes)[::-1][kept - 1]
    return np.where(sizes < smallest, difference.dtype.type(0), difference)


def combine(recipe, base, ours, theirs):
    number = ours.dtype.type
    if recipe == "average":
        return ours * number(0.5) + theirs * number(0.5)
    if recipe.startswith("weighted="):
        one, other = (number(float(text)) for text in recipe.removeprefix("weighted=").split(","))
        return ours * one + theirs * other
    if recipe.startswith("task-arithmetic="):
        scale = number(float(recipe.removeprefix("task-arithmetic=")))
        return base + scale * ((ours - base) + (theirs - base))
    if recipe == "slerp":
        one, other = ours.astype(np.float64), theirs.astype(np.float64)
        cosine = np.dot(one, other) / (np.linalg.norm(one) * np.linalg.norm(other))
        angle = np.arccos(cosine)
        weight = number(np.sin(angle / 2) / np.sin(angle))
        return ours * weight + theirs * weight
    one, other = largest(ours - base), largest(theirs - base)
    total = one + other
    zero, half = number(0), number(0.5)
    return np.where(
        (one * total > 0) & (other * total > 0),
        base + total * half,
        base + np.where(one * total > 0, one, np.where(other * total > 0, other, total)),
    )


def main():
    for seed, (name, (narrow, widen, kind)) in enumerate(DTYPES.items()):
        random = np.random.default_rng(seed)
        base = random.normal(0, 0.05, COUNT)
        raw = [narrow(values) for values in (base, base + random.normal(0, 0.01, COUNT), base + random.normal(0, 0.01, COUNT))]
        for recipe in ["average", "weighted=0.3,0.7", "task-arithmetic=0.8", "slerp", "ties"]:
            result = narrow(combine(recipe, *(widen(values).astype(kind) for values in raw)))
            # What both sides hold alike stays as it is.
            result = np.where(raw[1] == raw[2], raw[1], result).astype(result.dtype)
            print(name, recipe, *(values.tobytes().hex() for values in (*raw, result)))


if __name__ == "__main__":
    main()
