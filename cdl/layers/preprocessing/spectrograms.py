"""STFTSpectrogram, MelSpectrogram: time-frequency representations of audio."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cdl import initializers
from cdl._common.errors import warn
from cdl._common.validation import expected, flag, one_of, positive_int
from cdl.config import epsilon, standardize_data_format
from cdl.layers.arguments import LayerArguments, NDArray, Shape, Unpack
from cdl.layers.input_spec import InputSpec
from cdl.layers.layer import Layer, registry
from cdl.ops.core.tensors import cast
from cdl.ops.fourier import window_values
from cdl.ops.nn.convolution import conv
from cdl.ops.numpy.arithmetic import maximum, power, sqrt, square
from cdl.ops.numpy.elementary import arctan2, log, log10
from cdl.ops.numpy.indexing import get_item
from cdl.ops.numpy.joining import concatenate, pad, stack
from cdl.ops.numpy.products import matmul
from cdl.ops.numpy.reductions import max as largest
from cdl.ops.numpy.shapes import expand_dims, transpose

_MODES = ("log", "magnitude", "psd", "real", "imag", "angle", "stft")


@registry.add()
class STFTSpectrogram(Layer):
    """Short-time Fourier transform of each channel, by convolutions with trainable kernels.

    From (n, time, channels) to (n, frames, channels * frequencies), where there are
    ``fft_length // 2 + 1`` frequencies; twice as many with mode "stft".

    Args:
        mode: "magnitude", "log" of it, its square "psd" (power in both halves of the spectrum),
            "real", "imag", "angle", or "stft": real and imaginary parts.
        frame_length: samples of a frame.
        frame_step: from the start of a frame to that of the next; None for half its length.
        fft_length: of the transform; None for the power of two from `frame_length` on.
        window: a name, numbers, or None; see `initializers.STFT`.
        periodic: whether the window is one period of a periodic function.
        scaling: "density", "spectrum" or None; see `initializers.STFT`.
        padding: "valid", or "same": zeros around.
        expand_dims: whether frequencies are an axis of their own, as rows of an image:
            (n, frames, frequencies, channels).
        data_format: "channels_last", or "channels_first" for (n, channels, time), and frames last,
            or (n, channels, frames, frequencies); None is the configured one.

    Raises:
        ValueError: an invalid argument, or an input that has not three axes.
        TypeError: an input of integers.
    """

    def __init__(
        self,
        mode: str = "log",
        frame_length: int = 256,
        frame_step: int | None = None,
        fft_length: int | None = None,
        window: Any = "hann",
        periodic: bool = False,
        scaling: str | None = "density",
        padding: str = "valid",
        expand_dims: bool = False,
        data_format: str | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        owner = "STFTSpectrogram"
        super().__init__(**kwargs)
        self.mode = one_of(owner, "mode", mode, _MODES)
        self.frame_length = positive_int(owner, "frame_length", frame_length)
        if frame_step is not None and positive_int(owner, "frame_step", frame_step) > frame_length:
            raise expected(owner, "frame_step", f"at most frame_length={frame_length}", frame_step)
        if fft_length is not None:
            if positive_int(owner, "fft_length", fft_length) < frame_length:
                what = f"at least frame_length={frame_length}"
                raise expected(owner, "fft_length", what, fft_length)
            if fft_length & (fft_length - 1):
                warn(f"{owner}: fft_length should be a power of two, got {fft_length}")
        self.frame_step, self.fft_length = frame_step, fft_length
        self.window, self.periodic = window, flag(owner, "periodic", periodic)
        self.scaling = scaling
        initializers.STFT("real", window, scaling, periodic)  # checks them
        self.padding = one_of(owner, "padding", padding, ("valid", "same"))
        self.expand_dims = flag(owner, "expand_dims", expand_dims)
        self.data_format = standardize_data_format(data_format, owner)
        self.input_spec = InputSpec(ndim=3)

    def build(self, input_shape: Shape) -> None:
        """Create the kernels: cosines, sines, or both."""
        self.real_kernel: Any = None
        self.imag_kernel: Any = None
        for side in ("real", "imag"):
            if self.mode != {"real": "imag", "imag": "real"}[side]:
                rows = initializers.STFT(side, self.window, self.scaling, self.periodic)
                shape = (self.frame_length, 1, self._frequencies())
                kernel = self.add_weight(shape=shape, initializer=rows, name=f"{side}_kernel")
                setattr(self, f"{side}_kernel", kernel)
        super().build(input_shape)

    def _frequencies(self) -> int:
        length = self.fft_length or 2 ** math.ceil(math.log2(self.frame_length))
        return length // 2 + 1

    def call(self, inputs: Any) -> Any:
        """Spectrogram of the inputs.

        Args:
            inputs: sounds, (n, time, channels).

        Raises:
            TypeError: they are integers.
        """
        if "float" not in str(inputs.dtype):
            raise TypeError(f"STFTSpectrogram: inputs must be floats, got {inputs.dtype}")
        first = self.data_format == "channels_first"
        x = transpose(inputs, (0, 2, 1)) if first else inputs
        channels = range(x.shape[2])
        each = [self._of_channel(get_item(x, (..., slice(c, c + 1)))) for c in channels]
        if self.expand_dims:
            return stack(each, 1 if first else -1)
        found = each[0] if len(each) == 1 else concatenate(each, -1)
        return transpose(found, (0, 2, 1)) if first else found

    def _of_channel(self, x: Any) -> Any:
        """Spectrogram of one channel: (n, frames, frequencies) of (n, time, 1)."""

        def part(kernel: Any) -> Any:
            step = self.frame_step or self.frame_length // 2
            return conv(x, kernel, step, self.padding, "channels_last")

        real = None if self.mode == "imag" else part(self.real_kernel)
        imag = None if self.mode == "real" else part(self.imag_kernel)
        if real is None or imag is None:
            return imag if real is None else real
        if self.mode == "angle":
            return arctan2(imag, real)
        if self.mode == "stft":
            return concatenate([real, imag], -1)
        squares = square(real) + square(imag)
        if self.mode == "psd":
            factors = np.full(self._frequencies(), 2.0, np.float32)
            factors[[0, -1]] = 1.0
            return squares * factors
        size = sqrt(maximum(squares, epsilon()))
        return size if self.mode == "magnitude" else log(maximum(size, epsilon()))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The shape of the output, batch axis included."""
        first = self.data_format == "channels_first"
        n, time, channels = input_shape
        if first:
            time, channels = channels, time
        step = self.frame_step or self.frame_length // 2
        frames: int | None = None
        if time is not None:
            over = time - self.frame_length if self.padding == "valid" else time - 1
            frames = over // step + 1
        rows = self._frequencies() * (2 if self.mode == "stft" else 1)
        if self.expand_dims:
            return (n, channels, frames, rows) if first else (n, frames, rows, channels)
        found = None if channels is None else rows * channels
        return (n, found, frames) if first else (n, frames, found)


@registry.add()
class MelSpectrogram(Layer):
    """Mel spectrogram: the power of audio in mel bands, in decibels.

    From (n, samples) to (n, bands, frames), or without n. Sounds are mirrored at their ends, so
    that frames are centred at each `sequence_stride`-th sample.

    Args:
        fft_length: of the Fourier transform of a frame.
        sequence_stride: from a frame to the next.
        sequence_length: of the window; None for `fft_length`.
        window: "hann", "hamming", that many numbers, or None.
        sampling_rate: samples of a second.
        num_mel_bins: bands.
        min_freq: where the first band begins, in Hertz.
        max_freq: where the last one ends; None for half of `sampling_rate`.
        power_to_db: whether powers become decibels.
        top_db: what is more decibels below the largest number of a batch becomes as many below.
        mag_exp: power of the magnitude, 2 for power and 1 for energy.
        min_power: what is below becomes as much, in decibels.
        ref_power: the power of 0 decibels.

    Raises:
        ValueError: a window that does not fit, or longer than `fft_length`.
    """

    def __init__(
        self,
        fft_length: int = 2048,
        sequence_stride: int = 512,
        sequence_length: int | None = None,
        window: Any = "hann",
        sampling_rate: int = 16000,
        num_mel_bins: int = 128,
        min_freq: float = 20.0,
        max_freq: float | None = None,
        power_to_db: bool = True,
        top_db: float = 80.0,
        mag_exp: float = 2.0,
        min_power: float = 1e-10,
        ref_power: float = 1.0,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        owner = "MelSpectrogram"
        super().__init__(**kwargs)
        self.fft_length = positive_int(owner, "fft_length", fft_length)
        self.sequence_stride = positive_int(owner, "sequence_stride", sequence_stride)
        length = sequence_length or fft_length
        self.sequence_length = positive_int(owner, "sequence_length", length)
        if length > fft_length:
            raise expected(owner, "sequence_length", f"at most fft_length={fft_length}", length)
        self.window = window
        self._kernel = self._make_kernel()
        self.sampling_rate = sampling_rate
        self.num_mel_bins = positive_int(owner, "num_mel_bins", num_mel_bins)
        self.min_freq, self.max_freq = min_freq, max_freq or int(sampling_rate / 2)
        self.power_to_db, self.top_db, self.mag_exp = power_to_db, top_db, mag_exp
        self.min_power, self.ref_power = min_power, ref_power
        self._build_at_init()

    def _make_kernel(self) -> NDArray[Any]:
        """Cosines and sines within the window: (samples, 1, frequencies of both)."""
        length = self.sequence_length
        window: Any = 1.0
        if self.window is not None:
            window = window_values("MelSpectrogram", self.window, length)
        shape = (length, 1, self.fft_length // 2 + 1)
        turns = np.arange(length)[:, None] * np.arange(shape[2]) % self.fft_length
        angles = turns * (2 * np.pi / self.fft_length)
        both = np.concatenate([np.cos(angles), np.sin(angles)], -1)
        return (both * np.reshape(window, (-1, 1)))[:, None].astype(np.float32)

    def call(self, inputs: Any) -> Any:
        """Mel spectrogram of the inputs.

        Args:
            inputs: sounds, (n, samples), or one.
        """
        if len(inputs.shape) == 1:
            return get_item(self.call(expand_dims(inputs, 0)), 0)
        margin = self.fft_length // 2
        before = (self.fft_length - self.sequence_length) // 2
        behind = self.fft_length - self.sequence_length - before
        x = pad(cast(inputs, "float32"), ((0, 0), (margin, margin)), "reflect")
        x = get_item(x, (slice(None), slice(before, None if not behind else -behind)))
        parts = square(
            conv(expand_dims(x, -1), self._kernel, self.sequence_stride, "valid", "channels_last")
        )
        bins = margin + 1
        y = get_item(parts, (..., slice(0, bins))) + get_item(parts, (..., slice(bins, None)))
        if self.mag_exp != 2.0:
            y = power(y, self.mag_exp / 2)
        y = matmul(
            y,
            self.linear_to_mel_weight_matrix(
                self.num_mel_bins, bins, self.sampling_rate, self.min_freq, self.max_freq
            ),
        )
        if self.power_to_db:
            reference = 10 * math.log10(max(abs(self.ref_power), self.min_power))
            y = 10.0 * log10(maximum(y, self.min_power)) - reference
            y = maximum(y, largest(y) - self.top_db)
        return transpose(y, (0, 2, 1))

    def linear_to_mel_weight_matrix(
        self,
        num_mel_bins: int = 20,
        num_spectrogram_bins: int = 129,
        sampling_rate: float = 8000,
        lower_edge_hertz: float = 125.0,
        upper_edge_hertz: float = 3800.0,
        dtype: str = "float32",
    ) -> NDArray[Any]:
        """The matrix from frequencies to mel bands: triangles of equal width on the mel scale.

        Args:
            num_mel_bins: bands.
            num_spectrogram_bins: frequencies, from 0 to half of `sampling_rate`.
            sampling_rate: samples of a second.
            lower_edge_hertz: where the first band begins.
            upper_edge_hertz: where the last one ends.
            dtype: of the matrix.
        """
        hertz = sampling_rate, lower_edge_hertz, upper_edge_hertz
        return mel_weights(num_mel_bins, num_spectrogram_bins, *hertz).astype(dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The shape of the output, for sounds or for one."""
        *n, time = input_shape
        over = None if time is None else time + 2 * (self.fft_length // 2) - self.fft_length
        frames = None if over is None else over // self.sequence_stride + 1
        return (*n, self.num_mel_bins, frames)


def mel_weights(
    bands: int, frequencies: int, sampling_rate: float, lower: float, upper: float
) -> NDArray[np.float64]:
    """Weights of frequencies in mel bands; see `MelSpectrogram.linear_to_mel_weight_matrix`."""

    def mel(hertz: Any) -> Any:
        return 1127.0 * np.log(1.0 + np.asarray(hertz, np.float64) / 700.0)

    at = mel(np.linspace(0.0, sampling_rate / 2.0, frequencies))[1:, None]
    edges = np.linspace(mel(lower), mel(upper), bands + 2)
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    both = np.minimum((at - low) / (middle - low), (high - at) / (high - middle))
    return np.pad(np.maximum(both, 0.0), ((1, 0), (0, 0)))
