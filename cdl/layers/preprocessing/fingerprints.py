"""Hashes of texts as in TensorFlow: FarmHash's Fingerprint64, and SipHash-2-4 with a key.

All texts are hashed at once, as arrays of 64-bit words; they are sorted by how many blocks they
have, so that each step works on those that still have one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Words = Any  # an array of uint64, or one such number

_K0, _K1, _K2 = (np.uint64(k) for k in (0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F))
_CROSSING_KEY, _CROSSING_MUL = np.uint64(0xDECAFCAFFE), np.uint64(0xC6A4A7935BD1E995)
_SIP = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)


def bins_of(texts: Sequence[bytes], salt: Sequence[int] | None, bins: int) -> Any:
    """Bin of each text, from 0: its Fingerprint64, or with a salt its SipHash, modulo the bins."""
    hashes = fingerprints(texts) if salt is None else keyed_hashes(texts, salt)
    return (hashes % np.uint64(bins)).astype(np.int64)


def fingerprints(texts: Sequence[bytes]) -> Words:
    """Fingerprint64 of each text."""
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    bytes_of = _Bytes(texts, lengths)
    hashes = np.full(len(texts), _K2, np.uint64)
    limits = ((1, 3, _up_to_3), (4, 7, _up_to_7), (8, 16, _up_to_16), (17, 32, _up_to_32))
    for low, high, function in (*limits, (33, 64, _up_to_64), (65, None, _longer)):
        chosen = lengths >= low if high is None else (lengths >= low) & (lengths <= high)
        which = np.flatnonzero(chosen)
        if len(which):
            hashes[which] = function(bytes_of.of(which), lengths[which])
    return hashes


def keyed_hashes(texts: Sequence[bytes], key: Sequence[int]) -> Words:
    """SipHash-2-4 of each text.

    Args:
        texts: the texts.
        key: two numbers of 64 bits.
    """
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    blocks = lengths // 8
    order = np.argsort(-blocks, kind="stable")
    at, blocks, lengths = _Bytes(texts, lengths).of(order), blocks[order], lengths[order]
    k0, k1 = (int(k) % 2**64 for k in key)
    state = [np.full(len(texts), np.uint64(k ^ m)) for k, m in zip((k0, k1) * 2, _SIP, strict=True)]
    for i in range(int(blocks[0]) if len(blocks) else 0):
        n = int(np.searchsorted(-blocks, -i))  # those with more than i blocks
        _sip_block([each[:n] for each in state], at.word(8 * i, n), 2)
    # The rest, and the length in the highest byte: a whole word is read and cut.
    rest = (8 * (lengths % 8)).astype(np.uint64)
    last = at.word(8 * blocks) & ((np.uint64(1) << rest) - np.uint64(1))
    _sip_block(state, last | (lengths.astype(np.uint64) << np.uint64(56)), 2)
    state[2] ^= np.uint64(0xFF)
    _sip_block(state, None, 4)
    hashes = np.empty(len(texts), np.uint64)
    hashes[order] = state[0] ^ state[1] ^ state[2] ^ state[3]
    return hashes


def crossed(columns: Sequence[Words]) -> Words:
    """Combined hash of a hash, or a number, from each column, as `tf.sparse.cross_hashed`."""
    h = np.full(len(columns[0]), _CROSSING_KEY)
    for x in columns:
        mixed = _shift_mix(x * _CROSSING_MUL) * _CROSSING_MUL
        h = (h ^ _CROSSING_MUL ^ mixed) * _CROSSING_MUL
        h = _shift_mix(_shift_mix(h) * _CROSSING_MUL)
    return h


class _Bytes:
    """Concatenated texts, from which words are read at any place."""

    def __init__(self, texts: Sequence[bytes], lengths: Any, starts: Any = None) -> None:
        if starts is None:
            self._text = b"".join((*texts, bytes(8)))  # a word may be read at the very end
            starts = np.cumsum(lengths) - lengths
        self._starts = starts

    def of(self, which: Any) -> _Bytes:
        """Some of the texts, by index."""
        some = _Bytes((), None, self._starts[which])
        some._text = self._text
        return some

    def word(self, at: Any, n: int | None = None, kind: str = "<u8") -> Words:
        """Number at a place of each text, or of the first n."""
        dtype = np.dtype(kind)
        places = len(self._text) - dtype.itemsize + 1
        words: Any = np.ndarray((places,), dtype, self._text, strides=(1,))
        return words[self._starts[:n] + at].astype(np.uint64)


def _rotated(v: Words, n: int) -> Words:
    return (v >> np.uint64(n)) | (v << np.uint64(64 - n))


def _shift_mix(v: Words) -> Words:
    return v ^ (v >> np.uint64(47))


def _joined(u: Words, v: Words, mul: Words) -> Words:
    """Two words hashed to one."""
    a = _shift_mix((u ^ v) * mul)
    return _shift_mix((v ^ a) * mul) * mul


def _mul(n: Any) -> Words:
    return _K2 + n.astype(np.uint64) * np.uint64(2)


def _up_to_3(s: _Bytes, n: Any) -> Words:
    a, b, c = (s.word(at, kind="u1") for at in (0, n >> 1, n - 1))
    y, z = a + (b << np.uint64(8)), n.astype(np.uint64) + (c << np.uint64(2))
    return _shift_mix(y * _K2 ^ z * _K0) * _K2


def _up_to_7(s: _Bytes, n: Any) -> Words:
    a, b = (s.word(at, kind="<u4") for at in (0, n - 4))
    return _joined(n.astype(np.uint64) + (a << np.uint64(3)), b, _mul(n))


def _up_to_16(s: _Bytes, n: Any) -> Words:
    a, b, mul = s.word(0) + _K2, s.word(n - 8), _mul(n)
    return _joined(_rotated(b, 37) * mul + a, (_rotated(a, 25) + b) * mul, mul)


def _halves(s: _Bytes, n: Any, factor: Words) -> tuple[Words, Words, Words]:
    """Two words of the first and last 16 bytes, and the first of them."""
    mul = _mul(n)
    a, b = s.word(0) * factor, s.word(8)
    c, d = s.word(n - 8) * mul, s.word(n - 16) * _K2
    return _rotated(a + b, 43) + _rotated(c, 30) + d, a + _rotated(b + _K2, 18) + c, a


def _up_to_32(s: _Bytes, n: Any) -> Words:
    y, z, _ = _halves(s, n, _K1)
    return _joined(y, z, _mul(n))


def _up_to_64(s: _Bytes, n: Any) -> Words:
    mul = _mul(n)
    y, z, a = _halves(s, n, _K2)
    z = _joined(y, z, mul)
    e, f = s.word(16) * mul, s.word(24)
    g, h = (y + s.word(n - 32)) * mul, (z + s.word(n - 24)) * mul
    return _joined(_rotated(e + f, 43) + _rotated(g, 30) + h, e + _rotated(f + a, 18) + g, mul)


def _longer(s: _Bytes, n: Any) -> Words:
    order = np.argsort(-n, kind="stable")
    s, n = s.of(order), n[order]
    blocks = (n - 1) // 64
    y = np.full(len(n), np.uint64(81)) * _K1 + np.uint64(113)
    z = _shift_mix(y * _K2 + np.uint64(113)) * _K2
    x = np.full(len(n), np.uint64(81)) * _K2 + s.word(0)
    state = np.stack([x, y, z, *np.zeros((4, len(n)), np.uint64)])  # x, y, z, v, w
    for i in range(int(blocks[0])):
        m = int(np.searchsorted(-blocks, -i))
        state[:, :m] = _block(s, 64 * i, m, state[:, :m], _K1, np.uint64(1))
    x, y, z, v0, v1, w0, w1 = state
    mul = _K1 + ((z & np.uint64(0xFF)) << np.uint64(1))
    w0 = w0 + ((n - 1) & 63).astype(np.uint64)
    v0 = v0 + w0
    w0 = w0 + v0
    last = np.stack([x, y, z, v0, v1, w0, w1])
    x, y, z, v0, v1, w0, w1 = _block(s, n - 64, None, last, mul, np.uint64(9))
    u = _joined(v0, w0, mul) + _shift_mix(y) * _K0 + z
    hashes = np.empty(len(n), np.uint64)
    hashes[order] = _joined(u, _joined(v1, w1, mul) + x, mul)
    return hashes


def _block(s: _Bytes, at: Any, m: int | None, state: Words, mul: Any, factor: Any) -> Any:
    """State after 64 more bytes; `factor` is 9 for the last ones."""
    x, y, z, v0, v1, w0, w1 = state
    f = [s.word(at + 8 * i, m) for i in range(8)]
    x = _rotated(x + y + v0 + f[1], 37) * mul
    y = _rotated(y + v1 + f[6], 42) * mul
    x = x ^ w1 * factor
    y = y + v0 * factor + f[5]
    z = _rotated(z + w0, 33) * mul
    v0, v1 = _weak(f[:4], v1 * mul, x + w0)
    w0, w1 = _weak(f[4:], z + w1, y + f[2])
    return np.stack([z, y, x, v0, v1, w0, w1])


def _weak(f: list[Words], a: Words, b: Words) -> tuple[Words, Words]:
    a = a + f[0]
    b = _rotated(b + a + f[3], 21)
    c = a
    a = a + f[1] + f[2]
    b = b + _rotated(a, 44)
    return a + f[3], b + c


def _sip_block(state: list[Words], word: Words | None, rounds: int) -> None:
    """Mix a word into the state, in place."""
    v0, v1, v2, v3 = state
    if word is not None:
        v3 ^= word
    for _ in range(rounds):
        v0 += v1
        v1[:] = _rotated(v1, 51) ^ v0
        v0[:] = _rotated(v0, 32)
        v2 += v3
        v3[:] = _rotated(v3, 48) ^ v2
        v0 += v3
        v3[:] = _rotated(v3, 43) ^ v0
        v2 += v1
        v1[:] = _rotated(v1, 47) ^ v2
        v2[:] = _rotated(v2, 32)
    if word is not None:
        v0 ^= word
