"""Attention weights of golden models as Transformers gives them, for test_attention.c.

    make_attentions.py GOLDEN OUT.safetensors        (Python with torch, transformers, safetensors)
"""
import os, sys, torch, transformers
from safetensors.torch import load_file, save_file

golden, out = sys.argv[1:3]
maps = {}
for name in ("llama", "gemma3", "bloom"):
    model = transformers.AutoModelForCausalLM.from_pretrained(os.path.join(golden, name), attn_implementation="eager",
                                                              dtype=torch.float64)
    tokens = load_file(os.path.join(golden, name, "expected.safetensors"))["tokens"]
    with torch.no_grad():
        attentions = model(tokens[None], output_attentions=True).attentions
    maps[name] = torch.stack([a[0] for a in attentions]).to(torch.float32)  # [L, H, T, T]
save_file(maps, out)
