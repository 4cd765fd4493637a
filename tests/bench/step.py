"""The same training step in PyTorch: seconds of five, as JSON. `step.py SHAPE [cpu | cuda]`."""

import json
import os
import sys
import time

import torch

shape = json.loads(sys.argv[1])
device = sys.argv[2] if len(sys.argv) > 2 else "cpu"
n, d, v, r = (shape[name] for name in "ndvr")
torch.set_num_threads(os.cpu_count() or 1)
torch.manual_seed(1)
h, a, b, w = (torch.rand(*size, device=device) - 0.5 for size in [(n, d), (d, r), (r, d), (v, d)])
a.requires_grad_()
b.requires_grad_()
y = torch.arange(n, device=device) * 7919 % v

seconds = []
for _ in range(6):
    start = time.perf_counter()
    loss = torch.nn.functional.cross_entropy(h @ a @ b @ w.T, y)
    gradient, _ = torch.autograd.grad(loss, [a, b])
    gradient[0, 0].item()  # Waits, as Pema's step does.
    seconds.append(time.perf_counter() - start)

held = torch.cuda.max_memory_reserved() if device == "cuda" else None
print(json.dumps({"version": torch.__version__, "threads": torch.get_num_threads(), "seconds": seconds[1:], "device_bytes": held}))
