#!/usr/bin/env python3
"""Writes quantised.bin: what the reference (PyPI package gguf) makes of given rows.

    make_quantised.py quantised.bin

The file: 256 floats, then the bytes of Q8_0, Q4_0 and Q4_1, one after the other.
"""
import sys

import numpy as np
from gguf import GGMLQuantizationType as Type, quants

rng = np.random.default_rng(5)
x = rng.normal(size=256).astype(np.float32) * np.repeat(np.float32([1, 0.02, 3000, 1e-6, 0, 1, 0.5, 40]), 32)
x[128:160] = 0                                                   # all zero
x[160:192] = np.abs(x[160:192])                                   # all positive
x[192:224] = np.arange(32, dtype=np.float32) / 4 - 4              # halves: ties
with open(sys.argv[1], "wb") as f:
    f.write(x.tobytes())
    for t in (Type.Q8_0, Type.Q4_0, Type.Q4_1):
        f.write(quants.quantize(x.reshape(1, 256), t).tobytes())
