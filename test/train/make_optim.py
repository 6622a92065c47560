"""Makes optim.json: ten steps of PyTorch's optimisers on a small matrix and a vector with fixed gradients.
Run by hand (pip install torch==2.15.0; python3 make_optim.py optim.json); the tests only read the file.

Weight decay is on the matrix only. "adafactor" has no relative step: a least root mean square far above that of the
tensors makes PyTorch's step a given one."""
import json
import sys

import torch

STEPS = 10
torch.manual_seed(5)
START = [torch.randn(5, 3), torch.randn(4)]
GRADS = [[torch.randn_like(v) * 3 ** torch.randn(()) for v in START] for _ in range(STEPS)]
LEAST = 1e3
RUNS = {
    "adamw": dict(lr=0.01, betas=(0.9, 0.95), eps=1e-6, weight_decay=0.1),
    "adafactor": dict(lr=0.01, weight_decay=0.1),
    "adafactor relative": dict(lr=0.3, weight_decay=0.1),
    "sgd": dict(lr=0.01, weight_decay=0.1),
    "sgd momentum": dict(lr=0.01, momentum=0.9, weight_decay=0.1),
}


def optimiser(name, params, options):
    decay = options.pop("weight_decay")
    kind = name.split()[0]
    if name == "adafactor":
        options = dict(lr=options["lr"] / LEAST, eps=(None, LEAST))
        decay *= LEAST
    groups = [dict(params=[params[0]], weight_decay=decay), dict(params=[params[1]], weight_decay=0.0)]
    return {"adamw": torch.optim.AdamW, "adafactor": torch.optim.Adafactor, "sgd": torch.optim.SGD}[kind](groups, **options)


runs = []
for name, options in RUNS.items():
    params = [torch.nn.Parameter(v.clone()) for v in START]
    step = optimiser(name, params, dict(options))
    after = []
    for grads in GRADS:
        for p, g in zip(params, grads):
            p.grad = g.clone()
        step.step()
        after.append([p.detach().flatten().tolist() for p in params])
    runs.append(dict(name=name, **options, after=after))

flat = lambda tensors: [t.flatten().tolist() for t in tensors]
with open(sys.argv[1], "w") as out:
    json.dump(dict(start=flat(START), grads=[flat(g) for g in GRADS], runs=runs), out)
    out.write("\n")
