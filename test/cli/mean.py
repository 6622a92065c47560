"""mean.py MEAN MODEL ..: are all tensors of the folder MEAN the mean of those of the others? Prints how many."""
import array
import json
import struct
import sys


def tensors(path):
    with open(path, "rb") as f:
        (n,) = struct.unpack("<Q", f.read(8))
        header, data = json.loads(f.read(n)), f.read()
    return {name: array.array("f", data[slice(*t["data_offsets"])]) for name, t in header.items() if t.get("dtype") == "F32"}


def folder(path):
    return {**tensors(path + "/model.safetensors"), **tensors(path + "/fam.safetensors")}


mean, *models = [folder(path) for path in sys.argv[1:]]
for name, values in mean.items():
    assert all(m.keys() == mean.keys() for m in models)
    for i, value in enumerate(values):
        expected = sum(m[name][i] for m in models) / len(models)
        assert abs(value - expected) <= 1e-6 * max(1, abs(expected)), (name, i, value, expected)
print(len(mean), "tensors")
