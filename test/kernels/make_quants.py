"""Makes quants.bin, the golden values of the block formats: random blocks and what the PyPI package `gguf` reads from
them. Run by hand (pip install gguf==0.19.0 numpy; python3 make_quants.py quants.bin); the tests only read the file.

For each format: its name in 8 bytes, number of elements and number of bytes as u32, the bytes, the elements as f32."""
import struct
import sys

import numpy as np
from gguf import GGMLQuantizationType
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize

# offsets of the f16 fields of a block
FORMATS = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
}
N = 512

rng = np.random.default_rng(3)
with open(sys.argv[1], "wb") as out:
    for name, halves in FORMATS.items():
        kind = GGMLQuantizationType[name]
        block, size = GGML_QUANT_SIZES[kind]
        blocks = rng.integers(0, 256, (N // block, size), dtype=np.uint8)
        for at in halves:
            values = rng.normal(size=(N // block, 1)).astype(np.float16)
            blocks[:, at:at + 2] = values.view(np.uint8)
        values = dequantize(blocks.reshape(-1), kind).astype(np.float32)
        assert values.size == N and np.isfinite(values).all()
        out.write(struct.pack("<8sII", name.encode(), N, blocks.size) + blocks.tobytes() + values.tobytes())
