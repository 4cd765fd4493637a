"""Writes memory-v1.safetensors: a memory shard of format version 1, byte by byte from its
description in `pema_core::memory` and without its code.

    python make_memory_sample.py
"""
import json
import pathlib
import struct

prompt, step, token = [3, 3, 3, 4, 4], [0, 1, 2, 0, 1], [7, 8, 2, 49151, 0]
h = [i / 8 - 1 for i in range(20)]
n, d = len(prompt), 4

tensors, data = {}, b""
for name, dtype, shape, bytes_ in [
    ("prompt", "U32", [n], struct.pack(f"<{n}I", *prompt)),
    ("step", "U32", [n], struct.pack(f"<{n}I", *step)),
    ("token", "U32", [n], struct.pack(f"<{n}I", *token)),
    ("h", "F16", [n, d], struct.pack(f"<{n * d}e", *h)),
]:
    tensors[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(bytes_)]}
    data += bytes_
header = {"__metadata__": {"format": "pema-shard", "version": "1"}, **tensors}
header = json.dumps(header, separators=(",", ":")).encode()
header += b" " * (-len(header) % 8)
path = pathlib.Path(__file__).with_name("memory-v1.safetensors")
path.write_bytes(struct.pack("<Q", len(header)) + header + data)
