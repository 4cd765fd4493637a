"""The same training step in PyTorch on the CPU: seconds of five, as JSON."""

import json
import os
import sys
import time

import torch

shape = json.loads(sys.argv[1])
n, d, v, r = (shape[name] for name in "ndvr")
torch.set_num_threads(os.cpu_count() or 1)
torch.manual_seed(1)
h, a, b, w = (torch.rand(*size) - 0.5 for size in [(n, d), (d, r), (r, d), (v, d)])
a.requires_grad_()
b.requires_grad_()
y = torch.arange(n) * 7919 % v

seconds = []
for _ in range(6):
    start = time.perf_counter()
    loss = torch.nn.functional.cross_entropy(h @ a @ b @ w.T, y)
    torch.autograd.grad(loss, [a, b])
    seconds.append(time.perf_counter() - start)

print(json.dumps({"version": torch.__version__, "threads": torch.get_num_threads(), "seconds": seconds[1:]}))
