"""`tf.signal`: Fourier transforms, frames and mel scales; complex tensors are pairs of real."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cdl.data.texts import holds_texts
from cdl.layers.preprocessing.spectrograms import mel_weights
from cdl.scripts.tensor import TensorShape, tensors
from cdl.scripts.tf_functions import function


class Complex:
    """A complex tensor, as results of Fourier transforms are.

    Args:
        real: the real part.
        imag: the imaginary part.
    """

    dtype = "complex64"

    def __init__(self, real: Any, imag: Any) -> None:
        self.real, self.imag = real, imag

    @property
    def shape(self) -> TensorShape:
        """The shape as a `TensorShape`."""
        return TensorShape(self.real.shape)

    def numpy(self) -> Any:
        """The values as an array of complex numbers."""
        return (np.asarray(self.real) + 1j * np.asarray(self.imag)).astype(np.complex64)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.numpy() if dtype is None else self.numpy().astype(dtype)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if ufunc is np.absolute:
            return abs(self)
        name = {"multiply": "__rmul__", "add": "__radd__"}.get(ufunc.__name__)
        return NotImplemented if name is None else getattr(self, name)(inputs[0])

    def __getitem__(self, key: Any) -> Complex:
        return Complex(self.real[key], self.imag[key])

    def __abs__(self) -> Any:
        square = function("square")(self.real) + function("square")(self.imag)
        # At 0 the square root has no derivative, and that of TensorFlow's size is 0.
        is_zero = function("equal")(square, 0)
        size = function("sqrt")(function("where")(is_zero, 1.0, square))
        return function("where")(is_zero, 0.0, size)

    def __add__(self, other: Any) -> Complex:
        other = as_complex(other)
        return Complex(self.real + other.real, self.imag + other.imag)

    def __neg__(self) -> Complex:
        return Complex(-self.real, -self.imag)

    def __sub__(self, other: Any) -> Complex:
        return self + -as_complex(other)

    def __mul__(self, other: Any) -> Complex:
        a, b, c, d = self.real, self.imag, *_parts(as_complex(other))
        return Complex(a * c - b * d, a * d + b * c)

    def __truediv__(self, other: Any) -> Complex:
        other = as_complex(other)
        size = other.real * other.real + other.imag * other.imag
        found = self * conj(other)
        return Complex(found.real / size, found.imag / size)

    __radd__, __rmul__ = __add__, __mul__


def as_complex(x: Any) -> Complex:
    """A tensor or array as a complex one, whose imaginary part is 0 unless it is complex."""
    if isinstance(x, Complex):
        return x
    if isinstance(x, complex) or str(getattr(x, "dtype", "")).startswith("complex"):
        return Complex(*map(function("convert_to_tensor"), _parts(np.asarray(x, np.complex64))))
    x = function("cast")(x, "float32")
    return Complex(x, function("zeros_like")(x))


def _parts(x: Any) -> tuple[Any, Any]:
    return x.real, x.imag


def conj(x: Any, name: Any = None) -> Any:
    """`tf.math.conj`: the tensor with the opposite imaginary part."""
    return Complex(x.real, -x.imag) if isinstance(x, Complex) else x


def _complex(real: Any, imag: Any, name: Any = None) -> Complex:
    """`tf.complex`: a complex tensor of two real ones."""
    return Complex(*map(function("convert_to_tensor"), (real, imag)))


def _abs(x: Any, name: Any = None) -> Any:
    """`tf.abs`: absolute values, of complex numbers too."""
    return abs(x) if isinstance(x, Complex) else function("abs")(x)


def _cast(x: Any, dtype: Any, name: Any = None) -> Any:
    """`tf.cast`: to another dtype; of complex numbers to real ones the real parts."""
    if str(dtype).startswith("complex"):
        return as_complex(x)
    if str(dtype) == "string" and holds_texts(x):
        return tensors(np.asarray(x))
    return function("cast")(x.real if isinstance(x, Complex) else x, dtype)


def _angle(input: Any, name: Any = None) -> Any:
    """`tf.math.angle`: the angles of complex numbers."""
    return function("arctan2")(*_parts(as_complex(input))[::-1])


def _transform(which: str) -> Callable[..., Any]:
    def call(input: Any, name: Any = None) -> Complex:
        """`tf.signal.fft` and the like, of complex numbers."""
        return Complex(*function(which)(_parts(as_complex(input))))

    return call


def _inverse(input: Any, name: Any = None) -> Complex:
    """`tf.signal.ifft`: from the transform of conjugates."""
    found = conj(_transform("fft")(conj(as_complex(input))))
    n = found.shape[-1]
    return Complex(found.real / n, found.imag / n)


def _length(fft_length: Any) -> int | None:
    return None if fft_length is None else int(np.ravel(fft_length)[0])


def _rfft(input_tensor: Any, fft_length: Any = None, name: Any = None) -> Complex:
    """`tf.signal.rfft`: the first half of the transform of real numbers."""
    return Complex(*function("rfft")(input_tensor, _length(fft_length)))


def _irfft(input_tensor: Any, fft_length: Any = None, name: Any = None) -> Any:
    """`tf.signal.irfft`: real numbers, from the first half of their transform."""
    return function("irfft")(_parts(as_complex(input_tensor)), _length(fft_length))


def _padded(x: Any, before: int, after: int, axis: int) -> Any:
    widths = [(0, 0)] * len(x.shape)
    widths[axis] = (before, after)
    return function("pad")(x, widths)


def _frame(
    signal: Any,
    frame_length: int,
    frame_step: int,
    pad_end: bool = False,
    pad_value: Any = 0,
    axis: int = -1,
    name: Any = None,
) -> Any:
    """`tf.signal.frame`: windows of an axis, with zeros at the end if `pad_end`."""
    if pad_value or axis % len(signal.shape) != len(signal.shape) - 1:
        raise ValueError("tf.signal.frame: pad_value must be 0 and axis the last one")
    if pad_end:
        n = signal.shape[-1]
        short = (-(-n // frame_step) - 1) * frame_step + frame_length - n
        signal = _padded(signal, 0, max(short, 0), -1)
    return function("extract_sequences")(signal, int(frame_length), int(frame_step))


def _window(a: float, b: float) -> Callable[..., Any]:
    def call(
        window_length: int, periodic: bool = True, dtype: Any = "float32", name: Any = None
    ) -> Any:
        """`tf.signal.hann_window` or `hamming_window`: raised cosines."""
        n = int(window_length)
        turns = np.arange(n) / max(n - 1 + (n % 2 == 0 if periodic else 0), 1)
        window = a - b * np.cos(2 * np.pi * turns) if n > 1 else np.ones(n)
        return function("convert_to_tensor")(window, str(dtype))

    return call


_hann = _window(0.5, 0.5)


def _stft(
    signals: Any,
    frame_length: int,
    frame_step: int,
    fft_length: Any = None,
    window_fn: Any = _hann,
    pad_end: bool = False,
    name: Any = None,
) -> Complex:
    """`tf.signal.stft`: transforms of windows; `fft_length` is a power of 2 unless given."""
    frames = _frame(signals, frame_length, frame_step, pad_end)
    n = _length(fft_length) or 2 ** (int(frame_length) - 1).bit_length()
    return _rfft(frames if window_fn is None else frames * window_fn(int(frame_length)), n)


def _inverse_stft(
    stfts: Any,
    frame_length: int,
    frame_step: int,
    fft_length: Any = None,
    window_fn: Any = _hann,
    name: Any = None,
) -> Any:
    """`tf.signal.inverse_stft`: the signal, from windows that are added where they overlap."""
    frames = _irfft(stfts, fft_length)[..., : int(frame_length)]
    frames = frames if window_fn is None else frames * window_fn(int(frame_length))
    return _overlap_and_add(frames, frame_step)


def _inverse_window(frame_step: int, forward_window_fn: Any = _hann, name: Any = None) -> Any:
    """`tf.signal.inverse_stft_window_fn`: the window with which an inverse is exact."""

    def window_fn(frame_length: int, dtype: Any = "float32") -> Any:
        window = np.asarray(forward_window_fn(frame_length), np.float64)
        rows = -(-frame_length // frame_step)
        squares = np.pad(window**2, (0, rows * frame_step - frame_length)).reshape(rows, -1)
        sums = np.tile(squares.sum(0), rows)[:frame_length]
        return function("convert_to_tensor")(window / sums, str(dtype))

    return window_fn


def _overlap_and_add(signal: Any, frame_step: int, name: Any = None) -> Any:
    """`tf.signal.overlap_and_add`: the sum of windows that begin a step apart."""
    *outer, n, length = signal.shape
    parts = -(-length // frame_step)
    whole = _padded(signal, 0, parts * frame_step - length, -1)
    steps = [whole[..., k * frame_step : (k + 1) * frame_step] for k in range(parts)]
    total = sum(_padded(each, k, parts - 1 - k, -2) for k, each in enumerate(steps))
    sizes = [-1 if size is None else size for size in outer]
    flat = function("reshape")(total, (*sizes, (n + parts - 1) * frame_step))
    return flat[..., : (n - 1) * frame_step + length]


def _mel_weights(
    num_mel_bins: int = 20,
    num_spectrogram_bins: int = 129,
    sample_rate: Any = 8000,
    lower_edge_hertz: float = 125.0,
    upper_edge_hertz: float = 3800.0,
    dtype: Any = "float32",
    name: Any = None,
) -> Any:
    """`tf.signal.linear_to_mel_weight_matrix`: triangles that are even on the mel scale."""
    hertz = float(sample_rate), float(lower_edge_hertz), float(upper_edge_hertz)
    weights = mel_weights(int(num_mel_bins), int(num_spectrogram_bins), *hertz)
    return function("convert_to_tensor")(weights, str(dtype))


def _dct(
    input: Any, type: int = 2, n: Any = None, axis: int = -1, norm: Any = None, name: Any = None
) -> Any:
    """`tf.signal.dct` of type 2 along the last axis."""
    if type != 2 or n is not None or axis != -1:
        raise ValueError("tf.signal.dct: type must be 2, n None and axis -1")
    size = input.shape[-1]
    k = np.arange(size)
    table = 2 * np.cos(np.pi / size * np.outer(k + 0.5, k))
    if norm == "ortho":
        table *= np.where(k, np.sqrt(0.5 / size), np.sqrt(0.25 / size))
    return function("matmul")(input, table.astype(np.float32))


def _mfccs(log_mel_spectrograms: Any, name: Any = None) -> Any:
    """`tf.signal.mfccs_from_log_mel_spectrograms`: cepstral coefficients, as many as bands."""
    size = log_mel_spectrograms.shape[-1]
    return _dct(log_mel_spectrograms) * float(1 / np.sqrt(2 * size))


SIGNAL: dict[str, Any] = {
    "dct": _dct,
    "fft": _transform("fft"),
    "fft2d": _transform("fft2"),
    "frame": _frame,
    "hamming_window": _window(0.54, 0.46),
    "hann_window": _hann,
    "ifft": _inverse,
    "ifft2d": _transform("ifft2"),
    "inverse_stft": _inverse_stft,
    "inverse_stft_window_fn": _inverse_window,
    "irfft": _irfft,
    "linear_to_mel_weight_matrix": _mel_weights,
    "mfccs_from_log_mel_spectrograms": _mfccs,
    "overlap_and_add": _overlap_and_add,
    "rfft": _rfft,
    "stft": _stft,
}
BOTH: dict[str, Any] = {"abs": _abs}
ROOT: dict[str, Any] = {**BOTH, "cast": _cast, "complex": _complex}
MATH: dict[str, Any] = {
    **BOTH,
    "angle": _angle,
    "conj": conj,
    "imag": lambda input, name=None: as_complex(input).imag,
    "real": lambda input, name=None: input.real if isinstance(input, Complex) else input,
}
