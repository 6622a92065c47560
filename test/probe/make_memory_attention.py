"""What the memory rows of the golden model look at, worked out in plain double arithmetic, for test_memory.c.

    make_memory_attention.py GOLDEN/fam OUT.safetensors        (standard library only; some seconds)

fam [layers, blocks, F, F + b], rmt [layers, blocks, F, F + b + F]: mean over heads of the weights that the F rows lay
on the memory before, on the block's tokens and (rmt) on one another, while a block is compressed; arXiv 2404.09173,
algorithm 2, and 2207.06881. Blocks of 8 tokens, 4 rows; fam also sees the block before (m = 1).
"""
import array, json, math, struct, sys

B, F, LAYERS, HEADS, KV_HEADS, DIM, EPS, THETA = 8, 4, 3, 4, 2, 8, 1e-6, 10000.0


def read(path):
    with open(path, "rb") as f:
        n, = struct.unpack("<Q", f.read(8))
        head, data = json.loads(f.read(n)), f.read()
    tensors = {}
    for name, t in head.items():
        if name == "__metadata__":
            continue
        values = array.array({"F32": "f", "I64": "q"}[t["dtype"]], data[slice(*t["data_offsets"])]).tolist()
        width = t["shape"][-1]
        tensors[name] = values if len(t["shape"]) == 1 else [values[i:i + width] for i in range(0, len(values), width)]
    return tensors


def write(path, tensors):
    head, data = {}, b""
    for name, (shape, values) in tensors.items():
        raw = array.array("f", values).tobytes()
        head[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(head).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def dot(a, b):
    return sum(x * y for x, y in zip(a, b))


def linear(w, x):
    return [dot(row, x) for row in w]


def add(a, b):
    return [x + y for x, y in zip(a, b)]


def norm(x, w):
    scale = 1 / math.sqrt(dot(x, x) / len(x) + EPS)
    return [v * scale * g for v, g in zip(x, w)]


def turned(row, position):
    """Rotary positions on each head of a row; halves turn against each other."""
    out = []
    for h in range(0, len(row), DIM):
        head, half = row[h:h + DIM], DIM // 2
        turns = [position * THETA ** (-2 * i / DIM) for i in range(half)]
        out += [head[i] * math.cos(a) - head[i + half] * math.sin(a) for i, a in enumerate(turns)]
        out += [head[i + half] * math.cos(a) + head[i] * math.sin(a) for i, a in enumerate(turns)]
    return out


class Layer:
    def __init__(self, weights, i):
        self.w = {name[len(f"model.layers.{i}."):-len(".weight")]: t for name, t in weights.items()
                  if name.startswith(f"model.layers.{i}.")}

    def project(self, x, position):
        """query, key, value of a row"""
        h = norm(x, self.w["input_layernorm"])
        q, k, v = (linear(self.w[f"self_attn.{c}_proj"], h) for c in "qkv")
        return turned(q, position), turned(k, position), v

    def attend(self, q, keys, values):
        """mixed values, and the weights, mean over heads"""
        mix, mean = [], [0.0] * len(keys)
        for h in range(HEADS):
            at = h // (HEADS // KV_HEADS) * DIM
            scores = [dot(q[h * DIM:(h + 1) * DIM], k[at:at + DIM]) / math.sqrt(DIM) for k in keys]
            top = max(scores)
            weights = [math.exp(s - top) for s in scores]
            total = sum(weights)
            weights = [x / total for x in weights]
            mix += [sum(p * v[at + e] for p, v in zip(weights, values)) for e in range(DIM)]
            mean = [m + p / HEADS for m, p in zip(mean, weights)]
        return mix, mean

    def finish(self, x, mix):
        x = add(x, linear(self.w["self_attn.o_proj"], mix))
        h = norm(x, self.w["post_attention_layernorm"])
        gate, up = linear(self.w["mlp.gate_proj"], h), linear(self.w["mlp.up_proj"], h)
        return add(x, linear(self.w["mlp.down_proj"], [g / (1 + math.exp(-g)) * u for g, u in zip(gate, up)]))

    def alone(self, rows, first):
        """Rows that see one another, from position `first` on: what they become, their keys and values."""
        parts = [self.project(x, first + i) for i, x in enumerate(rows)]
        keys, values = [p[1] for p in parts], [p[2] for p in parts]
        return [self.finish(x, self.attend(p[0], keys, values)[0]) for x, p in zip(rows, parts)], keys, values

    def block(self, rows, first, keys, values):
        """Rows that see `keys` and their own block up to themselves."""
        parts = [self.project(x, first + i) for i, x in enumerate(rows)]
        own_keys, own_values = [p[1] for p in parts], [p[2] for p in parts]
        out = [self.finish(x, self.attend(p[0], keys + own_keys[:i + 1], values + own_values[:i + 1])[0])
               for i, (x, p) in enumerate(zip(rows, parts))]
        return out, own_keys, own_values


def fam(layers, x, prompt):
    maps = []
    for layer in layers:
        memory, fresh, before = prompt, True, ([], [])
        prompt, _, _ = layer.alone(prompt, -F)
        out, weights = [], []
        for at in range(0, len(x), B):
            rows = x[at:at + B]
            parts = [layer.project(r, at - F + i) for i, r in enumerate(memory)]
            keys, values = [p[1] for p in parts], [p[2] for p in parts]
            result, own_keys, own_values = layer.block(rows, at, before[0] + keys, before[1] + values)
            out += result
            before = own_keys, own_values
            if len(rows) < B:
                break
            new = []
            for i, r in enumerate(memory):
                q, _, _ = layer.project(r, at + B - F + i)
                mix, seen = layer.attend(q, keys + own_keys, values + own_values)
                new.append(layer.finish([0.0] * len(r) if fresh else r, mix))
                weights += seen
            memory, fresh = new, False
        x = out
        maps.append(weights)
    return [v for m in maps for v in m]


def rmt(layers, x, memory):
    n_blocks = (len(x) - 1) // B
    maps = [[] for _ in layers]
    for at in range(0, n_blocks * B, B):
        read, rows, written = memory, x[at:at + B], memory
        for l, layer in enumerate(layers):
            read, keys, values = layer.alone(read, at - F)
            rows, own_keys, own_values = layer.block(rows, at, keys, values)
            parts = [layer.project(r, at + B - F + i) for i, r in enumerate(written)]
            all_keys = keys + own_keys + [p[1] for p in parts]
            all_values = values + own_values + [p[2] for p in parts]
            mixed = [layer.attend(p[0], all_keys, all_values) for p in parts]
            written = [layer.finish(r, mix) for r, (mix, _) in zip(written, mixed)]
            for _, seen in mixed:
                maps[l] += seen
        memory = written
    return [v for m in maps for v in m]


weights, inputs = read(sys.argv[1] + "/model.safetensors"), read(sys.argv[1] + "/inputs.safetensors")
layers = [Layer(weights, i) for i in range(LAYERS)]
embedded = [weights["model.embed_tokens.weight"][t] for t in inputs["tokens"]]
n = len(embedded)
write(sys.argv[2], {"fam": ([LAYERS, n // B, F, F + B], fam(layers, embedded, inputs["fam.prompt"])),
                    "rmt": ([LAYERS, (n - 1) // B, F, F + B + F], rmt(layers, embedded, inputs["fam.prompt"]))})
