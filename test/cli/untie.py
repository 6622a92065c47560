"""untie.py FILE: gives a folder's weights an output matrix of their own, a copy of the embedding."""
import json
import struct
import sys

with open(sys.argv[1], "rb") as f:
    (n,) = struct.unpack("<Q", f.read(8))
    header, data = json.loads(f.read(n)), f.read()
embedding = header["model.embed_tokens.weight"]
copy = data[slice(*embedding["data_offsets"])]
header["lm_head.weight"] = {**embedding, "data_offsets": [len(data), len(data) + len(copy)]}
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
with open(sys.argv[1], "wb") as f:
    f.write(struct.pack("<Q", len(text)) + text + data + copy)
