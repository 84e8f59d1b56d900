"""Fourier transforms; complex numbers are pairs of their real and imaginary parts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl import tree
from cdl._common.shared_arguments import described_by
from cdl._common.validation import expected, one_of, positive_int
from cdl._tracing.array_call import on_arrays
from cdl._tracing.operation import Saved, operation
from cdl.ops.arrays import real, samples_apart


def _apart(axes: Any) -> Any:
    """Advice where the samples are along one of the axes that are transformed."""
    return lambda x, *_: next(filter(None, (samples_apart(a, axes) for a in tree.flatten(x))), "")


def _complex(name: str, x: Any) -> Any:
    """Complex array of a pair; ValueError if it is none of floats of one shape."""
    if not isinstance(x, (tuple, list)) or len(x) != 2:
        raise expected(name, "x", "a tuple of real and imaginary parts", x)
    parts = [np.asarray(each) for each in x]
    if parts[0].shape != parts[1].shape or any(each.dtype.kind != "f" for each in parts):
        kinds = [(each.dtype.name, each.shape) for each in parts]
        raise ValueError(f"{name}: x must be two arrays of floats of one shape, got {kinds}")
    return parts[0] + 1j * parts[1]


def _pair(x: Any) -> tuple[Any, Any]:
    return x.real, x.imag


# --- gradients: the transposed transforms ---


def _of_fft(dy: Any, y: Any, x: Any) -> Any:
    return (_pair(np.fft.ifft(dy[0] + 1j * dy[1], norm="forward")),)


def _of_fft2(dy: Any, y: Any, x: Any) -> Any:
    return (_pair(np.fft.ifft2(dy[0] + 1j * dy[1], norm="forward")),)


def _of_ifft2(dy: Any, y: Any, x: Any) -> Any:
    return (_pair(np.fft.fft2(dy[0] + 1j * dy[1], norm="forward")),)


def _resized(x: Any, n: int) -> Any:
    """First n numbers of lines, or all and zeros behind them."""
    more = max(0, n - x.shape[-1])
    return np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, more)])[..., :n]


def _of_rfft(dy: Any, y: Any, x: Any, fft_length: int | None) -> Any:
    n = fft_length or x.shape[-1]
    whole = np.fft.ifft(_resized(dy[0] + 1j * dy[1], n), norm="forward")
    return _resized(whole.real, x.shape[-1])


def _of_irfft(dy: Any, y: Any, x: Any, fft_length: int | None) -> Any:
    n = y.shape[-1]
    found = np.fft.rfft(dy, norm="forward") * 2.0
    found[..., 0] /= 2.0
    if not n % 2:
        found[..., -1] /= 2.0
    return (_pair(_resized(found, x[0].shape[-1])),)


def _added_up(frames: Any, stride: int, n: int) -> Any:
    """Sum of windows, each a stride behind the one before, as n numbers."""
    found = np.zeros((*frames.shape[:-2], n), frames.dtype)
    for i in range(frames.shape[-2]):
        found[..., i * stride : i * stride + frames.shape[-1]] += frames[..., i, :]
    return found


def _of_stft(
    dy: Any, y: Any, x: Any, length: int, stride: int, fft_length: int, window: Any, center: bool
) -> Any:
    factors = _padded_window("stft", window, length, fft_length)
    frames = np.fft.ifft(_resized(dy[0] + 1j * dy[1], fft_length), norm="forward").real * factors
    n, at = x.shape[-1], fft_length // 2 if center else 0
    places: Any = (..., np.pad(np.arange(n), (at, at), "reflect"))
    found = np.zeros_like(x)
    np.add.at(found, places, _added_up(frames, stride, n + 2 * at))
    return found


def _of_istft(
    dy: Any,
    y: Any,
    x: Any,
    sequence_length: int,
    stride: int,
    fft_length: int,
    length: int | None,
    window: Any,
    center: bool,
) -> Any:
    factors, count = _padded_window("istft", window, sequence_length, fft_length), x[0].shape[-2]
    whole = fft_length + stride * (count - 1)
    start = fft_length // 2 if center else 0
    numbers = np.zeros((*dy.shape[:-1], whole))
    numbers[..., start : start + dy.shape[-1]] = dy[..., : whole - start]
    numbers *= _scale(factors, stride, count, window is None)
    frames = np.lib.stride_tricks.sliding_window_view(numbers, fft_length, -1)[..., ::stride, :]
    return _of_irfft(frames * factors, frames, x, None)


@operation(
    on_arrays(_of_fft, linear=True), untraced=_apart(-1), saved=Saved("FFT", submodule="math")
)
def fft(x: Any) -> Any:
    """Fourier transform along the last axis: (real, imaginary) of (real, imaginary)."""
    return _pair(np.fft.fft(_complex("fft", x)))


@operation(
    on_arrays(_of_fft2, linear=True),
    untraced=_apart((-2, -1)),
    saved=Saved("FFT2", submodule="math"),
)
def fft2(x: Any) -> Any:
    """Fourier transform along the last two axes: (real, imaginary) of (real, imaginary)."""
    return _pair(np.fft.fft2(_complex("fft2", x)))


@operation(
    on_arrays(_of_ifft2, linear=True),
    untraced=_apart((-2, -1)),
    saved=Saved("IFFT2", submodule="math"),
)
def ifft2(x: Any) -> Any:
    """Inverse Fourier transform along the last two axes, as of `fft2`."""
    return _pair(np.fft.ifft2(_complex("ifft2", x)))


@operation(
    on_arrays(_of_rfft, linear=True), untraced=_apart(-1), saved=Saved("RFFT", submodule="math")
)
def rfft(x: ArrayLike, fft_length: int | None = None) -> Any:
    """Fourier transform of real numbers along the last axis, its first half.

    Args:
        x: numbers.
        fft_length: how many of them count, or zeros are put behind; None for all.
    """
    return _pair(np.fft.rfft(real(x), fft_length))


@operation(
    on_arrays(_of_irfft, linear=True), untraced=_apart(-1), saved=Saved("IRFFT", submodule="math")
)
def irfft(x: Any, fft_length: int | None = None) -> Any:
    """Inverse Fourier transform to real numbers, as of `rfft`.

    Args:
        x: real and imaginary parts.
        fft_length: how many numbers; None for ``2 * (n - 1)``.
    """
    return np.fft.irfft(_complex("irfft", x), fft_length)


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


def _scale(factors: Any, stride: int, count: int, without_window: bool) -> Any:
    """Factors of the sums of windows."""
    squares = np.broadcast_to(factors**2, (count, len(factors)))
    weight = _added_up(squares, stride, len(factors) + stride * (count - 1))
    scale = len(factors) / stride if without_window else 1.0  # as Keras scales them
    return scale / np.where(weight > 1e-10, weight, 1.0)


@operation(
    on_arrays(_of_stft, linear=True), untraced=_apart(-1), saved=Saved("STFT", submodule="math")
)
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


@operation(
    on_arrays(_of_istft, linear=True),
    untraced=_apart((-2, -1)),
    saved=Saved("ISTFT", submodule="math"),
)
@described_by(stft)
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
        fft_length: of a transform.
        length: how many numbers; None for all that windows tell.
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
    total = _added_up(frames, sequence_stride, whole)
    total *= _scale(factors, sequence_stride, count, window is None)
    start = fft_length // 2 if center else 0
    end = whole - start if length is None else start + length
    return total[..., start:end]
