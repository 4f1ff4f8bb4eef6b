"""Writes distance.json: distances of small tensors as numpy computes them, for tests/distance.rs.

Needs numpy and ml_dtypes. Run it in this folder: python distance.py > distance.json
Sums are exact (math.fsum over float64), so the file does not depend on the machine.
"""

import json
import math

import ml_dtypes
import numpy as np

DTYPES = {
    "bool": np.bool_,
    "u8": np.uint8,
    "i8": np.int8,
    "u16": np.uint16,
    "i16": np.int16,
    "u32": np.uint32,
    "i32": np.int32,
    "u64": np.uint64,
    "i64": np.int64,
    "f8_e4m3": ml_dtypes.float8_e4m3fn,
    "f8_e4m3fnuz": ml_dtypes.float8_e4m3fnuz,
    "f8_e5m2": ml_dtypes.float8_e5m2,
    "f8_e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
    "f8_e8m0": ml_dtypes.float8_e8m0fnu,
    "f16": np.float16,
    "bf16": ml_dtypes.bfloat16,
    "f32": np.float32,
    "f64": np.float64,
}
COUNT = 150
random = np.random.default_rng(20240115)


def bits(name):
    """Any bits at all, so NaNs and infinities too; of f64 ordinary numbers, whose squares f64 holds."""
    dtype = np.dtype(DTYPES[name])
    if name == "bool":
        return random.integers(0, 2, COUNT).astype(np.bool_)
    if name == "f64":
        values = random.normal(size=COUNT)
        values[::17] = [math.nan, math.inf, -math.inf][COUNT % 3]
        return values
    raw = random.integers(0, 256, COUNT * dtype.itemsize, dtype=np.uint8).tobytes()
    return np.frombuffer(raw, dtype)


def expected(old, new, by_bits):
    one, other = old.astype(np.float64), new.astype(np.float64)
    finite = np.isfinite(one) & np.isfinite(other)
    if by_bits:
        size = old.dtype.itemsize
        cut = lambda data: [data[i : i + size] for i in range(0, len(data), size)]
        equal = sum(a == b for a, b in zip(cut(old.tobytes()), cut(new.tobytes())))
    else:
        equal = int(np.sum((one == other) | (np.isnan(one) & np.isnan(other))))
    # Pairs of which one is not finite are apart: what is odd is counted on its own side.
    a, b = one[finite], other[finite]
    d = b - a
    length = lambda values: math.sqrt(math.fsum(values * values))
    odd = lambda values: {"nan": int(np.isnan(values).sum()), "infinite": int(np.isinf(values).sum())}
    return {
        "elements": len(old),
        "equal": int(equal),
        "finite": int(finite.sum()),
        "old": odd(one),
        "new": odd(other),
        "relative": length(d) / length(a),
        "cosine": math.fsum(a * b) / (length(a) * length(b)),
        "largest": float(np.max(np.abs(d))),
        "mean": math.fsum(d) / len(d),
        "old_norm": length(a),
        "new_norm": length(b),
    }


def case(old_type, new_type, old, new):
    return {
        "old_type": old_type,
        "new_type": new_type,
        "old": old.tobytes().hex(),
        "new": new.tobytes().hex(),
        "expected": expected(old, new, old_type == new_type),
    }


cases = []
with np.errstate(all="ignore"):
    for name in DTYPES:
        old, new = bits(name), bits(name).copy()
        # A third is as it was, NaNs included.
        new[::3] = old[::3]
        cases.append(case(name, name, old, new))
    values = random.normal(size=COUNT).astype(np.float32)
    values[5], values[50] = np.nan, np.inf
    for old_type, new_type in [("f32", "bf16"), ("bf16", "f32"), ("f32", "f8_e4m3"), ("f16", "f64"), ("f64", "f16")]:
        cases.append(case(old_type, new_type, values.astype(DTYPES[old_type]), (values * 1.25).astype(DTYPES[new_type])))
    whole = random.integers(-1000, 1000, COUNT)
    cases.append(case("i32", "f32", whole.astype(np.int32), (whole // 2 * 2).astype(np.float32)))
    cases.append(case("i8", "i64", (whole % 100).astype(np.int8), (whole % 101).astype(np.int64)))
print(json.dumps(cases, indent=0))
