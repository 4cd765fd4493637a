"""Reference numbers for the adapter's training, in float64 with gradients derived by hand.

    pip install numpy safetensors && python tests/golden/generate.py [--seed S]

Each case is `NAME.safetensors` (h, w_hd, y, initial weights) and `NAME.json` (settings, losses at
every full-batch Adam step without dropout, and phase 2's first losses and gradients). Inputs are
rounded to float32 first, so that the tests read exactly what was used here.

Row vectors: h [n, d], A [d, r], B [r, d], W [v, d]; s = alpha / r; z = s h A.
    L_rct = mean((z B_rct - h)^2)
    L_pd  = mean_i(logsumexp(l_i) - l_i[y_i]),  l = cap(scale * (z B_pd) W^T)
    cap(u) = softcap * tanh(u / softcap), or u without a softcap
"""

import argparse
import json
import pathlib

import numpy as np
from safetensors.numpy import save_file

CASES = {
    "plain": dict(n=20, d=12, r=4, v=33, alpha=4.0, kappa=0.2, lr=1e-3, steps=12, scale=1.0, softcap=None),
    "softcap": dict(n=17, d=10, r=3, v=29, alpha=6.0, kappa=0.4, lr=3e-3, steps=12, scale=0.7, softcap=5.0),
}


def reconstruction(h, z, b_rct):
    """L_rct and its gradients for z and B_rct."""
    error = z @ b_rct - h
    d_out = 2.0 * error / error.size
    return np.mean(error**2), d_out @ b_rct.T, z.T @ d_out


def prediction(case, z, b_pd, w, y):
    """L_pd and its gradients for z and B_pd."""
    n, cap = len(y), case["softcap"]
    logits = case["scale"] * (z @ b_pd) @ w.T
    slope = np.ones_like(logits)
    if cap is not None:
        squashed = np.tanh(logits / cap)
        logits, slope = cap * squashed, 1.0 - squashed**2
    top = logits.max(axis=1, keepdims=True)
    log_p = logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True))
    d_logits = np.exp(log_p)
    d_logits[np.arange(n), y] -= 1.0
    d_out = case["scale"] * (d_logits * slope / n) @ w
    return -log_p[np.arange(n), y].mean(), d_out @ b_pd.T, z.T @ d_out


class Adam:
    """Adam with betas 0.9, 0.999 and epsilon 1e-8."""

    def __init__(self, lr, params):
        self.lr, self.params, self.t = lr, params, 0
        self.m = [np.zeros_like(p) for p in params]
        self.v = [np.zeros_like(p) for p in params]

    def step(self, grads):
        self.t += 1
        for p, g, m, v in zip(self.params, grads, self.m, self.v):
            m += 0.1 * (g - m)
            v += 0.001 * (g * g - v)
            m_hat, v_hat = m / (1 - 0.9**self.t), v / (1 - 0.999**self.t)
            p -= self.lr * m_hat / (np.sqrt(v_hat) + 1e-8)


def run(case, h, w, y, init):
    s, kappa = case["alpha"] / case["r"], case["kappa"]
    out = dict(case, phase1_loss=[], phase2_loss=[])

    a, b_rct = init["a_rct"].copy(), init["b_rct"].copy()
    adam = Adam(case["lr"], [a, b_rct])
    for _ in range(case["steps"]):
        loss, d_z, d_b = reconstruction(h, s * h @ a, b_rct)
        out["phase1_loss"].append(loss)
        adam.step([s * h.T @ d_z, d_b])

    a, b_pd = init["a"].copy(), init["b_pd"].copy()
    adam = Adam(case["lr"], [a, b_pd])
    for step in range(case["steps"]):
        z = s * h @ a
        l_rct, d_z_rct, _ = reconstruction(h, z, b_rct)
        l_pd, d_z_pd, d_b_pd = prediction(case, z, b_pd, w, y)
        grad_a = s * h.T @ (kappa * d_z_rct + (1 - kappa) * d_z_pd)
        grad_b = (1 - kappa) * d_b_pd
        if step == 0:
            out["phase2_step0"] = dict(l_rct=l_rct, l_pd=l_pd, grad_a=grad_a.tolist(), grad_b_pd=grad_b.tolist())
        out["phase2_loss"].append(kappa * l_rct + (1 - kappa) * l_pd)
        adam.step([grad_a, grad_b])
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=20260)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent)
    args = parser.parse_args()
    for number, (name, case) in enumerate(CASES.items()):
        rng = np.random.default_rng([args.seed, number])
        n, d, r, v = (case[k] for k in "ndrv")
        draw = lambda *shape, width=1.0: (width * rng.standard_normal(shape)).astype(np.float32)
        h, w, y = draw(n, d), draw(v, d, width=0.4), rng.integers(0, v, n)
        init = dict(a_rct=draw(d, r, width=0.3), b_rct=draw(r, d, width=0.3), a=draw(d, r, width=0.3), b_pd=draw(r, d, width=0.3))
        wide = lambda x: x.astype(np.float64)
        out = run(case, wide(h), wide(w), y, {k: wide(x) for k, x in init.items()})
        tensors = dict(h=h, w_hd=w, y=y, **{f"init.{k}": x for k, x in init.items()})
        save_file(tensors, args.out / f"{name}.safetensors")
        (args.out / f"{name}.json").write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
