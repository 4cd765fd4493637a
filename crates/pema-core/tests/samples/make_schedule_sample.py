"""Writes schedules.json: Gradual Unrolling and log-space mixing in exact arithmetic, rounded once.

    python make_schedule_sample.py

`pema` and `plm` are logits; `log_prob` is log(lam * softmax(pema) + (1 - lam) * softmax(plm)).
"""
import json
import pathlib
import random
import struct
from decimal import Decimal, getcontext
from fractions import Fraction

getcontext().prec = 60
rng = random.Random(311_08590)


def f32(x):
    """The nearest float32, so that readers start from exactly these numbers."""
    return struct.unpack("<f", struct.pack("<f", x))[0]


def schedule(kind, lambda_max, source_len):
    def at(t):
        top = Fraction(lambda_max)
        linear = max(top - t * top / source_len, Fraction(0))
        return float({"constant": top, "linear": linear, "quadratic": linear * linear}[kind])

    values = [at(t) for t in range(source_len + 4)]
    return dict(kind=kind, lambda_max=lambda_max, source_len=source_len, values=values)


def softmax(logits):
    exps = [Decimal(x).exp() for x in logits]
    return [x / sum(exps) for x in exps]


def mixture(v, width, lam):
    pema, plm = ([f32(rng.gauss(0, width)) for _ in range(v)] for _ in range(2))
    lam = f32(lam)
    weight = Decimal(lam)
    mixed = [weight * p + (1 - weight) * q for p, q in zip(softmax(pema), softmax(plm))]
    return dict(lam=lam, pema=pema, plm=plm, log_prob=[float(p.ln()) for p in mixed])


sample = dict(
    made_by="make_schedule_sample.py",
    schedules=[
        schedule(kind, f32(lambda_max), source_len)
        for kind in ("constant", "linear", "quadratic")
        for lambda_max, source_len in ((0.9, 10), (0.5, 7), (1.0, 1), (0.0, 3), (0.3, 23))
    ],
    mixtures=[mixture(v, 1.5, lam) for v in (2, 17) for lam in (0.0, 0.001, 0.3, 0.5, 0.999, 1.0)],
)
path = pathlib.Path(__file__).with_name("schedules.json")
path.write_text(json.dumps(sample, indent=1) + "\n")
