"""compare.py GOT.safetensors EXPECTED.safetensors NAME LIMIT: largest absolute difference of one tensor.
Prints "NAME [shape] within LIMIT" and exits 0, or says how far off it is and exits 1. Standard library only."""
import array, json, struct, sys


def read(path, name):
    with open(path, "rb") as f:
        n, = struct.unpack("<Q", f.read(8))
        head = json.loads(f.read(n))
        if name not in head:
            sys.exit(f"{path}: has no {name}, only {sorted(head)}")
        low, high = head[name]["data_offsets"]
        f.seek(8 + n + low)
        values = array.array({"F32": "f", "I64": "q", "I32": "i"}[head[name]["dtype"]])
        values.frombytes(f.read(high - low))
    return head[name]["shape"], values


def main():
    got, expected, name, limit = sys.argv[1:5]
    shape, a = read(got, name)
    wanted, b = read(expected, name)
    count = 1
    for d in shape:
        count *= d
    if count != len(a) or [d for d in shape if d > 1] != [d for d in wanted if d > 1]:
        sys.exit(f"{name}: shape {shape}, {wanted} expected")
    worst = max(abs(x - y) if x == x else float("inf") for x, y in zip(a, b))
    if not worst <= float(limit):
        sys.exit(f"{name}: off by {worst:g}, {limit} allowed")
    print(f"{name} {shape} within {limit}")


main()
