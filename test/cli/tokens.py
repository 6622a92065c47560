"""tokens.py EXPECTED.safetensors: the ids of its tensor "tokens", separated by commas. Standard library only."""
import array, json, struct, sys

with open(sys.argv[1], "rb") as f:
    n, = struct.unpack("<Q", f.read(8))
    low, high = json.loads(f.read(n))["tokens"]["data_offsets"]
    f.seek(8 + n + low)
    ids = array.array("q")
    ids.frombytes(f.read(high - low))
print(",".join(map(str, ids)))
