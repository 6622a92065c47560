"""Loss, gradients, logits and the last memory of a recurrent memory (arXiv 2207.06881) on the golden model, by PyTorch.
Run by hand (pip install torch==2.15.0 numpy safetensors; python3 make_rmt.py ../golden/fam rmt-b8-f4.safetensors); the
tests only read the file.

As the paper writes it: each segment is one sequence [read rows; tokens; written rows] through the whole decoder, where
a mask says who sees whom; the written rows after the last layer are the memory of the next segment. In double
precision, then f32."""
import sys

import torch
from safetensors.torch import load_file, save_file

BLOCK, FAM, LAYERS, HEADS, KV_HEADS, DIM, EPS, THETA = 8, 4, 3, 4, 2, 8, 1e-6, 10000.0

folder, out = sys.argv[1:]
inputs = load_file(folder + "/inputs.safetensors")
w = {name: t.double().requires_grad_() for name, t in load_file(folder + "/model.safetensors").items()}
w["fam.prompt"] = inputs["fam.prompt"].double().requires_grad_()
tokens, weight = inputs["tokens"], inputs["weight"].double()


def norm(x, scale):
    return scale * x / (x.square().mean(-1, keepdim=True) + EPS).sqrt()


def turn(x, places):
    """x [rows, heads, DIM]: its halves are the parts of complex numbers that turn with their place."""
    angles = places[:, None, None] * THETA ** (-2 * torch.arange(DIM // 2, dtype=torch.float64) / DIM)
    z = torch.complex(x[..., :DIM // 2], x[..., DIM // 2:]) * torch.polar(torch.ones_like(angles), angles)
    return torch.cat([z.real, z.imag], -1)


def decoder(x, places, seen):
    """x [rows, d] after the last layer; seen [rows, rows] true where a row sees another."""
    for i in range(LAYERS):
        part = lambda name: w[f"model.layers.{i}.{name}.weight"]
        h = norm(x, part("input_layernorm"))
        heads = lambda name, n: (h @ part(f"self_attn.{name}_proj").T).unflatten(-1, (n, DIM))
        group = HEADS // KV_HEADS
        q, k = turn(heads("q", HEADS), places), turn(heads("k", KV_HEADS), places).repeat_interleave(group, 1)
        v = heads("v", KV_HEADS).repeat_interleave(group, 1)
        scores = torch.einsum("qhe,khe->hqk", q, k) / DIM ** 0.5
        mix = torch.einsum("hqk,khe->qhe", scores.where(seen, -torch.inf).softmax(-1), v).flatten(1)
        x = x + mix @ part("self_attn.o_proj").T
        h = norm(x, part("post_attention_layernorm"))
        up = torch.nn.functional.silu(h @ part("mlp.gate_proj").T) * (h @ part("mlp.up_proj").T)
        x = x + up @ part("mlp.down_proj").T
    return x


def mask(n):
    """[FAM read, n tokens, FAM written]"""
    seen = torch.ones(2 * FAM + n, 2 * FAM + n, dtype=torch.bool)
    seen[:FAM, FAM:] = False
    seen[FAM:FAM + n, FAM:] = torch.cat([torch.ones(n, n).tril(), torch.zeros(n, FAM)], 1).bool()
    return seen


table, memory, rows = w["model.embed_tokens.weight"], w["fam.prompt"], []
for begin in range(0, len(tokens), BLOCK):
    segment = tokens[begin:begin + BLOCK]
    n, row = len(segment), torch.arange(FAM)
    places = torch.cat([begin - FAM + row, begin + torch.arange(n), begin + n - FAM + row]).double()
    x = decoder(torch.cat([memory, table[segment], memory]), places, mask(n))
    rows.append(x[FAM:FAM + n])
    if n == BLOCK:
        memory = x[FAM + n:]
logits = norm(torch.cat(rows), w["model.norm.weight"]) @ table.T
losses = torch.nn.functional.cross_entropy(logits[:-1], tokens[1:], reduction="none")
loss = (losses * weight[1:]).sum() / weight[1:].sum()
loss.backward()
result = {"grad." + name: value.grad for name, value in w.items()}
result |= {"loss": loss[None], "logits": logits, "memory": memory}
save_file({name: t.detach().float().contiguous() for name, t in result.items()}, out)
