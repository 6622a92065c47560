#!/usr/bin/env python3
"""Writes the first inputs of the fuzz targets for model files into seeds/: small valid files, and one broken file for
each check that a reader makes. Inputs that fuzzing found lie beside them and are not made here."""
import json
import os
import struct
import sys

U8, I8, U16, I16, U32, I32, F32, BOOL, TEXT, ARRAY, U64, I64, F64 = range(13)
NUMBERS = {U8: "<B", I8: "<b", U16: "<H", I16: "<h", U32: "<I", I32: "<i", F32: "<f", BOOL: "<B", U64: "<Q", I64: "<q", F64: "<d"}


def text(s):
    b = s.encode()
    return struct.pack("<Q", len(b)) + b


def value(kind, v):
    if kind == TEXT:
        return text(v)
    if kind == ARRAY:
        element, items = v
        return struct.pack("<IQ", element, len(items)) + b"".join(value(element, x) for x in items)
    return struct.pack(NUMBERS[kind], v)


def gguf(keys, tensors, version=3, alignment=32, n_keys=None, n_tensors=None):
    """keys: (name, kind, value); tensors: (name, dims innermost first, type number, offset, bytes)."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors) if n_tensors is None else n_tensors,
                                 len(keys) if n_keys is None else n_keys)
    for name, kind, v in keys:
        head += text(name) + struct.pack("<I", kind) + value(kind, v)
    data = b""
    for name, dims, kind, offset, raw in tensors:
        head += text(name) + struct.pack("<I", len(dims)) + b"".join(struct.pack("<Q", d) for d in dims)
        head += struct.pack("<IQ", kind, offset)
        if len(data) < offset <= 1 << 16:
            data += bytes(offset - len(data))
        data += raw
    return head + bytes(-len(head) % alignment) + data


def arch_keys(arch, **more):
    keys = [("general.architecture", TEXT, arch)]
    sizes = {"block_count": 2, "embedding_length": 8, "context_length": 64, "feed_forward_length": 16,
             "attention.head_count": 2}
    keys += [(f"{arch}.{k}", U32, v) for k, v in sizes.items()]
    keys += [(f"{arch}.{k.replace('__', '.')}", kind, v) for k, (kind, v) in more.items()]
    return keys


EMBEDDING = ("token_embd.weight", [8, 3], 0, 0, struct.pack("<24f", *range(24)))
NORM = ("output_norm.weight", [8], 0, 96, struct.pack("<8f", *[1] * 8))

ALL_KINDS = [("k.u8", U8, 200), ("k.i8", I8, -100), ("k.u16", U16, 60000), ("k.i16", I16, -30000), ("k.u32", U32, 4000000000),
             ("k.i32", I32, -2000000000), ("k.f32", F32, 0.5), ("k.bool", BOOL, 1), ("k.text", TEXT, "grüße"),
             ("k.u64", U64, 2**64 - 1), ("k.i64", I64, -2**63), ("k.f64", F64, 1e300),
             ("k.texts", ARRAY, (TEXT, ["a", "", "ccc"])), ("k.ints", ARRAY, (I32, [1, -2, 3])),
             ("k.bools", ARRAY, (BOOL, [1, 0])), ("k.none", ARRAY, (U8, [])),
             ("k.nested", ARRAY, (ARRAY, [(TEXT, ["x"]), (F64, [1.0, 2.0])]))]


def gguf_seeds():
    llama = arch_keys("llama", rope__freq_base=(F32, 1e5), attention__head_count_kv=(U32, 1),
                      attention__layer_norm_rms_epsilon=(F32, 1e-5), rope__scaling__type=(TEXT, "yarn"),
                      rope__scaling__factor=(F32, 4.0), rope__scaling__original_context_length=(U32, 32))
    gemma = arch_keys("gemma3", attention__sliding_window=(U32, 4), attention__key_length=(U32, 4),
                      attention__sliding_window_pattern=(ARRAY, (BOOL, [1, 0])))
    good = gguf(llama, [EMBEDDING, NORM])
    yield "llama", good
    yield "llama-v2", gguf(llama, [EMBEDDING, NORM], version=2)
    yield "gemma3", gguf(gemma, [EMBEDDING])
    yield "kv-heads-array", gguf(arch_keys("qwen2", attention__head_count_kv=(ARRAY, (I32, [1, 1]))), [EMBEDDING])
    yield "kinds", gguf(ALL_KINDS, [])
    yield "alignment-64", gguf(arch_keys("gpt2") + [("general.alignment", U32, 64)], [EMBEDDING], alignment=64)
    yield "quantised", gguf(arch_keys("bloom"), [EMBEDDING, ("q", [32, 2], 3, 96, bytes(40))])
    yield "cut", good[:-5]
    yield "big-endian", b"GGUF" + struct.pack(">IQQ", 3, 0, 0)
    yield "v1", b"GGUF" + struct.pack("<III", 1, 0, 0)
    yield "lying-keys", gguf(llama, [], n_keys=2**60)
    yield "lying-tensors", gguf([], [EMBEDDING], n_tensors=2**61)
    yield "lying-array", gguf([("k", ARRAY, (U64, [1]))], []).replace(struct.pack("<IQ", U64, 1), struct.pack("<IQ", U64, 2**61))
    yield "deep-array", b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<I", ARRAY) + struct.pack("<IQ", ARRAY, 1) * 40
    yield "overlap", gguf(llama, [EMBEDDING, ("x", [8], 0, 64, bytes(64))])
    yield "unaligned", gguf(llama, [EMBEDDING, ("x", [8], 0, 100, bytes(64))])
    yield "huge-dims", gguf(llama, [("x", [2**62, 2**62], 0, 0, b"")])
    yield "zero-dim", gguf(llama, [("x", [0], 0, 0, b"")])
    yield "iq4", gguf(llama, [("x", [256], 20, 0, bytes(256))])
    yield "part-block", gguf(llama, [("x", [33], 2, 0, bytes(64))])


def safetensors(header, data=b"", pad=8):
    h = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    h += b" " * (-len(h) % pad)
    return struct.pack("<Q", len(h)) + h + data


def entry(kind, shape, begin, end):
    return {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}


def safetensors_seeds():
    good = {"__metadata__": {"format": "pt"}, "model.norm.weight": entry("F32", [2], 0, 8), "ids": entry("I64", [1], 8, 16),
            "h.1.attn.c_attn.weight": entry("BF16", [1, 3], 16, 22), "none": entry("F16", [0, 5], 22, 22),
            "scalar": entry("U8", [], 22, 23)}
    yield "good", safetensors(good, bytes(23))
    yield "odd-address", safetensors({"a": entry("U8", [1], 0, 1), "b": entry("F32", [2, 1], 1, 9)}, bytes(9), pad=1)
    yield "cut", safetensors(good, bytes(23))[:-3]
    yield "cut-header", safetensors(good)[:60]
    yield "long-header", struct.pack("<Q", 2**40) + b"{}"
    yield "overlap", safetensors({"a": entry("F32", [2], 0, 8), "b": entry("F32", [2], 4, 12)}, bytes(12))
    yield "twice", safetensors(b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"x")
    yield "wrong-size", safetensors({"a": entry("F32", [3], 0, 8)}, bytes(8))
    yield "huge-dims", safetensors({"a": entry("F32", [2**62, 2**62], 0, 8)}, bytes(8))
    yield "unknown-type", safetensors({"a": entry("Q7", [8], 0, 8)}, bytes(8))
    yield "negative", safetensors({"a": entry("F32", [-1], 0, 8)}, bytes(8))
    yield "brackets", safetensors(b"{\"a\":" + b"[" * 500 + b"]" * 500 + b"}")
    yield "six-bits", safetensors({"a": entry("F6_E2M3", [4], 0, 3)}, bytes(3))


def config_seeds(golden):
    for arch in sorted(os.listdir(golden)):
        path = os.path.join(golden, arch, "config.json")
        if os.path.exists(path):
            with open(path, "rb") as f:
                yield arch, f.read()
    base = {"num_hidden_layers": 3, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 99}
    odd = {
        "mistral": {"model_type": "mistral", "sliding_window": 16, "num_key_value_heads": 2, **base},
        "llama3": {"model_type": "llama", "rope_theta": 5e5, "rope_scaling": {
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192}, **base},
        "yarn": {"model_type": "qwen2", "use_sliding_window": True, "max_window_layers": 1, "rope_scaling": {
            "type": "yarn", "factor": 4, "mscale": 1.0, "mscale_all_dim": 0.5}, **base},
        "gemma3-wrapped": {"model_type": "gemma3", "text_config": {
            "model_type": "gemma3_text", "num_hidden_layers": 7, "hidden_size": 64, "sliding_window_pattern": 3,
            "rope_scaling": {"rope_type": "linear", "factor": 8.0}}},
        "dynamic": {"model_type": "llama", "rope_scaling": {"type": "dynamic", "factor": 2.0}, **base},
        "huge": {"model_type": "llama", **base, "num_hidden_layers": 10**15},
        "wrong-kinds": {"model_type": "llama", **base, "hidden_size": "32"},
        "no-heads": {"model_type": "gpt2", **base, "num_attention_heads": 0},
    }
    for name, config in odd.items():
        yield name, json.dumps(config).encode()
    yield "not-json", b'{"model_type": '
    yield "numbers", b"{\"a\":[" + b"1," * 9000 + b"1]}"


def settings_seeds():
    text = {
        "tuned": "model: {from: smollm2}\ndata: {jsonl: a.jsonl, end: '<|im_end|>'}\n"
                 "train: {steps: 500, lr: 2e-4, betas: [0.9, 0.95], lora: {rank: 16, targets: attn_q attn_v}}\nseeds: [1, 2, 3]\n",
        "lines": "model:\n  arch: llama\n  vocab: task\n  init_std: 1e-1\ndata:\n  task: parity\n  lengths: [1, 20]\n"
                 "  curriculum: 4\n  mix: {task: remember, share: .25}\neval: {exact: true}\n",
        "blocks": "model: {arch: gemma3}\nmemory: {kind: xl, block: 8, window: 4}\ndata.text: \"a\\x07'b\"\n",
        "dotted": "train.lr: 1\ntrain: {lr: 2}\n",
        "unknown": "model: {from: a}\ntrain: {stepps: 3}\n",
        "out-of-range": "train: {steps: -1}\n",
        "no-yaml": "model: {from: [\n",
        "anchors": "a: &a [*a]\nb: *a\n",
        "deep": "[" * 300 + "]" * 300,
        "list": "- model\n- data\n",
        "empty": "",
    }
    for name, content in text.items():
        yield name, content.encode()


def jsonl_seeds():
    lines = ['{"text": "a b c"}', '{"prompt": "a a", "completion": "b c"}', '{"tokens": [1, 2, 3]}',
             '{"tokens": [3, 4, 5, 6], "weights": [0, 0.5, 1, 2e5]}']
    yield "forms", "\n".join(lines).encode()
    yield "blank-lines", ("\r\n \t\n" + "\r\n\r\n".join(lines) + "\n\n").encode()
    bad = ['{"text": 3}', '{"prompt": "a"}', '{"text": "a", "tokens": [1, 2]}', '{"tokens": [1, 99]}', '{"tokens": [1, 1.5]}',
           '{"tokens": [1, 2], "weights": [1]}', '{"tokens": [1, 2], "weights": [1, -1]}', '{"tokens": [1, 2], "weights": [1, 0]}',
           '{"weights": [1], "text": "a"}', '[]', '{', '{"text": "a", "text": "b"}', '{"text": "\\u0000 <s>"}', '{"tokens": []}',
           '{"text": "' + "a " * 30 + '"}', "nul\0"]
    yield "bad-and-good", "\n".join(bad + lines).encode()
    for i, line in enumerate(bad):
        yield f"bad-{i:02}", line.encode()
    yield "invalid-utf8", b'{"text": "\xff\xfe"}\n{"text": "b a"}'
    yield "empty", b""


def bench_seeds():
    row = {"test": "prompt", "tokens": 512, "depth": 0, "repetitions": 5, "median": 367.4, "min": 349.5, "max": 373.2}
    machine = {"cpu": "AMD EPYC", "cores": 2, "threads": 2, "isa": "avx512"}
    run = {"version": "0.1.0", "model": "models/smollm2.gguf", "arch": "llama", "memory": "full", "cache": "f32",
           "machine": machine, "results": [row, {**row, "test": "decode", "depth": 2048}, row]}
    plain = {k: v for k, v in run.items() if k not in ("memory", "cache")}
    forms = {
        "sessions": run,
        "train": {**plain, "results": [{**row, "test": "train"}, {**row, "test": "small"}]},
        "compared": {**run, "results": [{**row, "before": None, "ratio": None}]},
        "no-rows": {**run, "results": []},
        "odd-texts": {**run, "model": "/gr\u00fc\u00dfe\u001b[2J//",
                      "machine": {**machine, "cpu": "\u007f" * 200, "isa": "\n"}},
        "stream": {"version": "0.1.0", "memory": "fam", "decoded": 2, "results": [{"tokens": 1024, "prompt": 9.5}]},
        "no-machine": {k: v for k, v in run.items() if k != "machine"},
        "no-threads": {**run, "machine": {"cpu": "C", "isa": "avx2"}},
        "memory-null": {**run, "memory": None},
        "row-list": {**run, "results": [[]]},
        "no-depth": {**run, "results": [{k: v for k, v in row.items() if k != "depth"}]},
        "tokens-real": {**run, "results": [{**row, "tokens": 1.5}]},
        "tokens-negative": {**run, "results": [{**row, "tokens": -1}]},
        "rate-zero": {**run, "results": [{**row, "min": 0}]},
        "rate-huge": {**run, "results": [{**row, "max": 1e300}]},
        "out-of-order": {**run, "results": [{**row, "min": 370}]},
    }
    for name, form in forms.items():
        yield name, json.dumps(form).encode()
    yield "cut", json.dumps(run).encode()[:150]
    yield "twice", b'{"model": "a", "model": "b"}'
    yield "brackets", b"[" * 1000
    yield "list", b"[1, 2]"
    yield "integer-huge", b'{"results": [{"tokens": 99999999999999999999}]}'
    yield "invalid-utf8", b'{"model": "\xff\xfe"}'
    yield "nul", b'{"model": "a\0b"}'
    yield "empty", b""


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    golden = os.path.join(here, "..", "test", "golden")
    for target, seeds in (("gguf", gguf_seeds()), ("safetensors", safetensors_seeds()), ("config", config_seeds(golden)),
                          ("jsonl", jsonl_seeds()), ("settings", settings_seeds()), ("bench", bench_seeds())):
        folder = os.path.join(here, "seeds", target)
        os.makedirs(folder, exist_ok=True)
        for name, content in seeds:
            with open(os.path.join(folder, name), "wb") as f:
                f.write(content)


if __name__ == "__main__":
    sys.exit(main())
