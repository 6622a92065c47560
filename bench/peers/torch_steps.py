"""torch_steps.py THREADS REPETITIONS: how fast PyTorch trains, measured as `snellen bench --train` measures: one step
that is not counted, then REPETITIONS of forward, backward, the norm of all gradients, and AdamW over all weights, on
random tokens in f32. AdamW is the fused one, the fastest that PyTorch has on a processor. Prints JSON.

Run by bench/peers/compare with the Python that has PyTorch and Transformers."""
import json
import sys
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM

SMOLLM2 = dict(vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
               num_key_value_heads=3, max_position_embeddings=8192)
SMALL = dict(vocab_size=348, hidden_size=128, intermediate_size=352, num_hidden_layers=4, num_attention_heads=4,
             num_key_value_heads=4, max_position_embeddings=1024)
WORKS = [("train", SMOLLM2, 2, 512), ("small", SMALL, 64, 60)]    # name, shape, sequences, tokens of each


def step(model, optimizer, tokens):
    optimizer.zero_grad()
    model(input_ids=tokens, labels=tokens).loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def measure(shape, n_seqs, n_tokens, repetitions):
    """Weights of the model, and tokens a second of each step."""
    torch.manual_seed(1)
    model = LlamaForCausalLM(LlamaConfig(tie_word_embeddings=True, use_cache=False, **shape))
    assert all(p.dtype == torch.float32 for p in model.parameters())
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    tokens = torch.randint(shape["vocab_size"], (n_seqs, n_tokens))
    rates = []
    for i in range(repetitions + 1):
        start = time.perf_counter()
        step(model, optimizer, tokens)
        if i:
            rates.append(n_seqs * n_tokens / (time.perf_counter() - start))
    return sum(p.numel() for p in model.parameters()), rates


def main():
    threads, repetitions = map(int, sys.argv[1:])
    torch.set_num_threads(threads)
    results = []
    for name, shape, n_seqs, n_tokens in WORKS:
        weights, rates = measure(shape, n_seqs, n_tokens, repetitions)
        results.append({"test": name, "tokens": n_seqs * n_tokens, "weights": weights, "samples": rates})
    print(json.dumps({"threads": threads, "results": results}))


main()
