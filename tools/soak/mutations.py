"""Damage to files: at random, and with their checksums made right again."""

from __future__ import annotations

import hashlib
import io
import json
import re
import struct
import warnings
import zipfile
import zlib
from typing import Any

import numpy as np

from kflow.storage.tensor_file import sealed

__all__ = ["damaged", "resealed"]

_NUMBERS = (b"0", b"-1", b"1", b"255", b"4294967296", b"18446744073709551616", b"1e999", b"NaN")
_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1,
    2**40,
    1e300,
    0.5,
    "",
    "a",
    [],
    [1],
    {},
    {"a": 1},
    [[]],
)
_PNG_KINDS = (
    b"PLTE",
    b"tRNS",
    b"iCCP",
    b"zTXt",
    b"iTXt",
    b"acTL",
    b"fcTL",
    b"fdAT",
    b"eXIf",
    b"pHYs",
)
_MARK = re.compile(rb'("sha256": ?")([0-9a-f]{64})')


def damaged(raw: bytes, rng: np.random.Generator) -> bytes:
    """Return bytes with a few changes, of which at least one is made."""
    changed = raw
    for _ in range(int(rng.choice([1, 1, 1, 2, 5]))):
        changed = _CHANGES[rng.integers(len(_CHANGES))](changed, rng)
    return changed


def _place(raw: bytes, rng: np.random.Generator) -> int:
    # Half of the changes are near the ends, where headers and directories are.
    if rng.random() < 0.5:
        return int(rng.integers(len(raw) + 1))
    near = int(rng.integers(min(len(raw), 300) + 1))
    return near if rng.random() < 0.5 else len(raw) - near


def _flip(raw: bytes, rng: np.random.Generator) -> bytes:
    if not raw:
        return raw
    place = min(_place(raw, rng), len(raw) - 1)
    return raw[:place] + bytes([raw[place] ^ (1 << rng.integers(8))]) + raw[place + 1 :]


def _overwrite(raw: bytes, rng: np.random.Generator) -> bytes:
    place, width = _place(raw, rng), int(rng.choice([1, 2, 4, 8]))
    fill = rng.bytes(width) if rng.random() < 0.5 else bytes([rng.choice([0, 127, 255])]) * width
    return raw[:place] + fill + raw[place + width :]


def _cut(raw: bytes, rng: np.random.Generator) -> bytes:
    place = _place(raw, rng)
    return raw[:place] + raw[place + int(rng.integers(1, 64)) :]


def _truncate(raw: bytes, rng: np.random.Generator) -> bytes:
    return raw[: _place(raw, rng)]


def _repeat(raw: bytes, rng: np.random.Generator) -> bytes:
    first, place = _place(raw, rng), _place(raw, rng)
    return raw[:place] + raw[first : first + int(rng.integers(1, 64))] + raw[place:]


def _number(raw: bytes, rng: np.random.Generator) -> bytes:
    found = list(re.finditer(rb"-?[0-9]+(\.[0-9]+)?", raw))
    if not found:
        return raw
    match = found[rng.integers(len(found))]
    return raw[: match.start()] + _NUMBERS[rng.integers(len(_NUMBERS))] + raw[match.end() :]


_CHANGES = (_flip, _flip, _overwrite, _cut, _truncate, _repeat, _number)


def resealed(raw: bytes, seal: str, rng: np.random.Generator) -> bytes:
    """Return a file with a change inside, whose checksums are right nevertheless."""
    if seal in ("zip", "pictures"):
        return _zip(raw, rng)
    if seal == "png":
        return _png(raw, rng)
    if seal == "json":
        return _json(raw, rng)
    return _tensors(raw, rng)


def _zip(raw: bytes, rng: np.random.Generator) -> bytes:
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    place = int(rng.integers(len(members)))
    name, content = members[place]
    action = rng.random()
    if action < 0.1:
        del members[place]
    elif action < 0.2:
        members.append((name if action < 0.15 else f"other{action}", content))
    elif name == "model.json":
        members[place] = name, json.dumps(_changed(json.loads(content), rng)).encode()
    elif name.endswith(".safetensors"):
        members[place] = name, _tensors(content, rng)
    elif name.endswith(".png") and action < 0.6:
        members[place] = name, _png(content, rng)
    else:
        members[place] = name, damaged(content, rng)
    file = io.BytesIO()
    kind = zipfile.ZIP_DEFLATED if rng.random() < 0.05 else zipfile.ZIP_STORED
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", kind) as archive:
        warnings.simplefilter("ignore")
        for name, part in members:
            archive.writestr(name, part)
    return file.getvalue()


def _changed(value: Any, rng: np.random.Generator) -> Any:
    """Return JSON data in which one value, at any depth, is another or missing."""
    if isinstance(value, (dict, list)) and value and rng.random() < 0.9:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = keys[rng.integers(len(keys))]
        copy = dict(value) if isinstance(value, dict) else list(value)
        if rng.random() < 0.1:
            del copy[key]
        else:
            copy[key] = _changed(value[key], rng)
        return copy
    return _VALUES[rng.integers(len(_VALUES))]


def _json(raw: bytes, rng: np.random.Generator) -> bytes:
    content = json.loads(raw)
    content.pop("sha256")
    content = _changed(content, rng)
    digits = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    if not isinstance(content, dict):
        return json.dumps(content).encode()
    return json.dumps({**content, "sha256": digits}).encode()


def _tensors(raw: bytes, rng: np.random.Generator) -> bytes:
    """Return a file of tensors with other bytes, or with other text in its header."""
    if rng.random() < 0.5:
        changed = damaged(raw, rng)
    else:
        length = int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8 : 8 + length])
        text = json.dumps(_changed(header, rng), separators=(",", ":")).encode()
        changed = len(text).to_bytes(8, "little") + text + raw[8 + length :]
    found = _MARK.search(changed)
    if found is None:
        return changed
    start, end = found.span(2)
    blank = changed[:start] + b"0" * 64 + changed[end:]
    return changed[:start] + hashlib.sha256(blank).hexdigest().encode() + changed[end:]


def _png(raw: bytes, rng: np.random.Generator) -> bytes:
    """Return a PNG file of which one part is damaged, missing, there twice or another's."""
    start, chunks = 8, []
    while start + 12 <= len(raw):
        length = int.from_bytes(raw[start : start + 4], "big")
        chunks.append((raw[start + 4 : start + 8], raw[start + 8 : start + 8 + length]))
        start += 12 + length
    place = int(rng.integers(len(chunks)))
    kind, content = chunks[place]
    action = rng.random()
    if action < 0.1:
        del chunks[place]
    elif action < 0.2:
        chunks.insert(place, (kind, content))
    elif action < 0.4:
        chunks.insert(
            place, (_PNG_KINDS[rng.integers(len(_PNG_KINDS))], rng.bytes(int(rng.integers(20))))
        )
    elif kind == b"IDAT" and action < 0.7:
        chunks[place] = kind, zlib.compress(damaged(zlib.decompress(content), rng))
    else:
        chunks[place] = kind, damaged(content, rng)
    return raw[:8] + b"".join(
        struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part))
        for name, part in chunks
    )


# `sealed` is what the above undoes: a change of its layout must be followed here.
assert _MARK.search(b"".join(sealed({}, {}, format="f", version=1)))
