#!/usr/bin/env python3
"""Writes sides of merges, made of a bf16 model and a fine-tune of it with the same tensors, and what must come of them.

    ours, theirs    the model with every second tensor of the fine-tune, and with the others: joined they are the fine-tune
    flipped         the model with the last bit of every weight flipped: changed everywhere, as the fine-tune is
    average         the mean of fine-tune and flipped, computed in f32 and rounded once, to nearest even; flipped where the
                    fine-tune is as the model
"""

import json
import os
import struct
import sys

try:
    import numpy as np
except ImportError:
    sys.exit("make_sides.py needs numpy: install it (apt install python3-numpy, or pip install numpy)")


def table(path):
    with open(path, "rb") as file:
        length, = struct.unpack("<Q", file.read(8))
        tensors = json.loads(file.read(length))
    tensors.pop("__metadata__", None)
    return 8 + length, [tensor["data_offsets"] for tensor in tensors.values()]


def mean(one, other):
    """Of two arrays of bf16 bits."""
    wide = [(bits.astype(np.uint32) << 16).view(np.float32) for bits in (one, other)]
    bits = ((wide[0] + wide[1]) * np.float32(0.5)).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def main():
    model, tuned, out = sys.argv[1:]
    start, places = table(model)
    if table(tuned) != (start, places):
        sys.exit("make_sides.py: the fine-tune has other tensors than the model")
    with open(model, "rb") as file:
        head = file.read(start)
    sides = {name: open(os.path.join(out, name), "wb") for name in ("ours", "theirs", "flipped", "average")}
    for side in sides.values():
        side.write(head)
    base = np.memmap(model, dtype=np.uint16, mode="r", offset=start)
    fine = np.memmap(tuned, dtype=np.uint16, mode="r", offset=start)
    for index, (begin, end) in enumerate(sorted(places)):
        piece = slice(begin // 2, end // 2)
        sides["ours"].write((base, fine)[index % 2][piece].tobytes())
        sides["theirs"].write((fine, base)[index % 2][piece].tobytes())
        flipped = base[piece] ^ 1
        sides["flipped"].write(flipped.tobytes())
        untouched = np.array_equal(fine[piece], base[piece])
        sides["average"].write((flipped if untouched else mean(fine[piece], flipped)).tobytes())
    for side in sides.values():
        side.close()


main()
