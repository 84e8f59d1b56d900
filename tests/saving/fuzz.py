"""Mutants of good files, one for each seed: bytes, the zip's tables, JSON, HDF5."""

import io
import json
import random
import zipfile

from saving.hostile import CONFIG, WEIGHTS

# Values put in the place of a value of a config.
ODD = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    10**12,
    2**63,
    10**40,
    -(10**12),
    0.5,
    1e-300,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "relu",
    "Dense",
    "__lambda__",
    "\u0000",
    "x" * 1000,
    [],
    [[]],
    [None, 10**12],
    [1, 2, 3],
    {},
    {"class_name": "Dense"},
    {"class_name": "Dense", "config": {"units": 10**12}},
    {"class_name": "__numpy__", "config": {"value": [1], "dtype": "O"}},
    {"module": "os", "class_name": "system", "config": {"command": "exit 1"}},
    {"class_name": "function", "module": "builtins", "config": "eval"},
)
# Words put in the place of eight bytes of a binary file.
WORDS = (
    bytes(8),
    b"\xff" * 8,
    (2**31).to_bytes(8, "little"),
    (2**62).to_bytes(8, "little"),
    (2**63).to_bytes(8, "little"),
    b"HEAP\0\0\0\0",
    b"TREE\0\0\0\0",
    b"PK\1\2PK\3\4",
)


def mutant(seed, data):
    """A mutant of a `.keras` or `.h5` file, given as bytes."""
    draw = random.Random(seed)
    if not data.startswith(b"PK"):
        return _bytes(draw, data)
    kind = draw.choice(("bytes", "table", "config", "config", "config", "weights", "weights"))
    if kind == "bytes":
        return _bytes(draw, data)
    if kind == "table":
        start = data.rfind(b"PK\1\2", 0, data.rfind(b"PK\1\2"))
        return data[:start] + _bytes(draw, data[start:])
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    if kind == "config":
        members[CONFIG] = config(draw, members[CONFIG])
    else:
        members[WEIGHTS] = _bytes(draw, members[WEIGHTS])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _bytes(draw, data):
    data = bytearray(data)
    kind = draw.randrange(6)
    if kind == 0:
        for _ in range(draw.choice((1, 1, 2, 8))):
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    elif kind == 1:
        for _ in range(draw.choice((1, 2, 4))):
            data[draw.randrange(len(data))] = draw.choice((0, 1, 127, 128, 255))
    elif kind == 2:
        at = draw.randrange(max(1, len(data) - 8)) // 8 * 8
        near = draw.randrange(len(data)).to_bytes(8, "little")
        data[at : at + 8] = draw.choice((*WORDS, near))
    elif kind == 3:
        del data[draw.randrange(len(data)) :]
    elif kind == 4:
        size, there = draw.choice((8, 64, 512)), draw.randrange(len(data))
        at = draw.randrange(len(data))
        data[at : at + size] = data[there : there + size]
    else:
        at = draw.randrange(len(data))
        data[at:at] = draw.randbytes(draw.choice((1, 4, 100)))
    return bytes(data)


def config(draw, text):
    """A config with some of its values, keys or characters changed."""
    if draw.random() < 0.15:
        return _bytes(draw, text)
    whole = json.loads(text)
    for _ in range(draw.choice((1, 1, 1, 2, 5))):
        places = [(inner, key) for inner in _containers(whole) for key in _keys(inner)]
        inner, key = draw.choice(places)
        action = draw.randrange(5)
        if action == 0:
            del inner[key]
        elif action == 1 and isinstance(inner, dict):
            inner[draw.choice(("units", "class_name", "config", "nothing"))] = inner.pop(key)
        elif action == 2:
            there, other = draw.choice(places)
            inner[key] = json.loads(json.dumps(there[other])) if other in _keys(there) else None
        else:
            inner[key] = draw.choice(ODD)
    return json.dumps(whole).encode()


def _keys(inner):
    return list(inner) if isinstance(inner, dict) else range(len(inner))


def _containers(thing):
    if isinstance(thing, (dict, list)):
        yield thing
        for value in thing.values() if isinstance(thing, dict) else thing:
            yield from _containers(value)
