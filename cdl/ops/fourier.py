"""Fourier transforms of arrays; complex numbers are pairs of their real and imaginary parts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl._common.validation import expected, one_of, positive_int
from cdl._tracing.operation import operation
from cdl.ops.arrays import real

_HINT = "work on arrays; layers.STFTSpectrogram and MelSpectrogram are compiled"


def _complex(name: str, x: Any) -> Any:
    """Complex array of a pair.

    Raises:
        ValueError: no pair of arrays of floats of one shape.
    """
    if not isinstance(x, (tuple, list)) or len(x) != 2:
        raise expected(name, "x", "a tuple of real and imaginary parts", x)
    parts = [np.asarray(each) for each in x]
    if parts[0].shape != parts[1].shape or any(each.dtype.kind != "f" for each in parts):
        kinds = [(each.dtype.name, each.shape) for each in parts]
        raise ValueError(f"{name}: x must be two arrays of floats of one shape, got {kinds}")
    return parts[0] + 1j * parts[1]


def _pair(x: Any) -> tuple[Any, Any]:
    return x.real.astype(np.float32), x.imag.astype(np.float32)


@operation(untraced=_HINT)
def fft(x: Any) -> Any:
    """Fourier transform along the last axis: (real, imaginary) of (real, imaginary)."""
    return _pair(np.fft.fft(_complex("fft", x)))


@operation(untraced=_HINT)
def fft2(x: Any) -> Any:
    """Fourier transform along the last two axes: (real, imaginary) of (real, imaginary)."""
    return _pair(np.fft.fft2(_complex("fft2", x)))


@operation(untraced=_HINT)
def ifft2(x: Any) -> Any:
    """Inverse Fourier transform along the last two axes, as of `fft2`."""
    return _pair(np.fft.ifft2(_complex("ifft2", x)))


@operation(untraced=_HINT)
def rfft(x: ArrayLike, fft_length: int | None = None) -> Any:
    """Fourier transform of real numbers along the last axis, its first half.

    Args:
        x: numbers.
        fft_length: how many of them count, or zeros are put behind; None for all.
    """
    return _pair(np.fft.rfft(real(x), fft_length))


@operation(untraced=_HINT)
def irfft(x: Any, fft_length: int | None = None) -> Any:
    """Inverse Fourier transform to real numbers, as of `rfft`.

    Args:
        x: real and imaginary parts.
        fft_length: how many numbers; None for ``2 * (n - 1)``.
    """
    return np.fft.irfft(_complex("irfft", x), fft_length).astype(np.float32)


def window_values(name: str, window: Any, length: int) -> Any:
    """Factors of a window.

    Args:
        name: who asks, for errors.
        window: "hann", "hamming", or the factors.
        length: how many there are.

    Raises:
        ValueError: another name or number of factors.
    """
    if isinstance(window, str):
        one_of(name, "window", window, ("hann", "hamming"))
        share = 0.5 if window == "hann" else 0.54
        return share - (1 - share) * np.cos(2 * np.pi * np.arange(length) / length)
    if np.shape(window) != (length,):
        raise expected(name, "window", f"{length} numbers, as sequence_length", window)
    return window


def _check_sizes(name: str, length: Any, stride: Any, fft_length: Any) -> None:
    """Check lengths of windows, positive ints."""
    positive_int(name, "sequence_length", length)
    positive_int(name, "sequence_stride", stride)
    positive_int(name, "fft_length", fft_length)


def _padded_window(name: str, window: Any, length: int, fft_length: int) -> Any:
    """Window in the middle of zeros."""
    if fft_length < length:
        raise expected(name, "fft_length", f"at least sequence_length={length}", fft_length)
    if window is None:
        return np.ones(fft_length)
    values = window_values(name, window, length)
    before = (fft_length - length) // 2
    return np.pad(np.asarray(values, np.float64), (before, fft_length - length - before))


@operation(untraced=_HINT)
def stft(
    x: ArrayLike,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    window: Any = "hann",
    center: bool = True,
) -> Any:
    """Short-time Fourier transform of the last axis: (real, imaginary), (..., windows, n).

    Args:
        x: floats of 32 or 64 bits.
        sequence_length: of a window.
        sequence_stride: from a window to the next.
        fft_length: of a transform; n is half of it, and 1.
        window: "hann", "hamming", `sequence_length` numbers, or None.
        center: whether x is mirrored at its ends, so that windows lie around their numbers.

    Raises:
        TypeError: x of another dtype.
    """
    _check_sizes("stft", sequence_length, sequence_stride, fft_length)
    factors = _padded_window("stft", window, sequence_length, fft_length)
    array = np.asarray(x)
    if array.dtype not in (np.float32, np.float64):
        raise TypeError(f"stft: x must be of `float32` or `float64`, got {array.dtype.name}")
    if center:
        ends = [(0, 0)] * (array.ndim - 1) + [(fft_length // 2,) * 2]
        array = np.pad(array, ends, "reflect")
    frames = np.lib.stride_tricks.sliding_window_view(array, fft_length, -1)
    return _pair(np.fft.rfft(frames[..., ::sequence_stride, :] * factors))


@operation(untraced=_HINT)
def istft(
    x: Any,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    length: int | None = None,
    window: Any = "hann",
    center: bool = True,
) -> Any:
    """Inverse short-time Fourier transform, by least squares.

    Args:
        x: real and imaginary parts.
        sequence_length: of a window.
        sequence_stride: from a window to the next.
        fft_length: of a transform.
        length: how many numbers; None for all that windows tell.
        window: "hann", "hamming", `sequence_length` numbers, or None.
        center: whether what was mirrored is cut off.
    """
    _check_sizes("istft", sequence_length, sequence_stride, fft_length)
    transforms = _complex("istft", x)
    if transforms.ndim < 2:
        raise expected("istft", "x", "at least two axes", transforms.shape)
    factors = _padded_window("istft", window, sequence_length, fft_length)
    frames = np.fft.irfft(transforms, fft_length) * factors
    count = frames.shape[-2]
    whole = fft_length + sequence_stride * (count - 1)
    total = np.zeros((*frames.shape[:-2], whole))
    weight = np.zeros(whole)
    for i in range(count):
        here = slice(i * sequence_stride, i * sequence_stride + fft_length)
        total[..., here] += frames[..., i, :]
        weight[here] += factors**2
    total /= np.where(weight > 1e-10, weight, 1.0)
    if window is None:
        total *= fft_length / sequence_stride  # as Keras scales them
    start = fft_length // 2 if center else 0
    end = whole - start if length is None else start + length
    return total[..., start:end].astype(np.float32)
