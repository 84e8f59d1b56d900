"""Short-time Fourier transform as the kernel of a convolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl._common.dtypes import astype, standardize_dtype
from cdl._common.validation import expected, flag, one_of
from cdl.initializers.initializer import Initializer, checked_shape, registry

# Windows that are sums of cosines: sum (-1)^k a_k cos(2 pi k t) for t from 0 to 1. Coefficients:
# Harris, 1978; Nuttall, 1981; flattop: D'Antona and Ferrero, 2006.
_COSINES = {
    "boxcar": (1.0,),
    "hann": (0.5, 0.5),
    "hamming": (0.54, 0.46),
    "blackman": (0.42, 0.50, 0.08),
    "nuttall": (0.3635819, 0.4891775, 0.1365995, 0.0106411),
    "blackmanharris": (0.35875, 0.48829, 0.14128, 0.01168),
    "flattop": (0.21557895, 0.41663158, 0.277263158, 0.083578947, 0.006947368),
}


@registry.add("STFTInitializer")
class STFT(Initializer):
    """Short-time Fourier kernel: ``window[t] cos(-2 pi t f / n) / norm`` at (t, 0, f), or the sine.

    The shape is (T, 1, F): T samples of a window, F = n / 2 + 1 frequencies.

    Args:
        side: "real" for the cosines, "imag" for the sines.
        window: a name, an array of T numbers, or None for 1 everywhere. boxcar, hann, hamming,
            blackman, nuttall, blackmanharris, flattop and bartlett are built in; other names of
            `scipy.signal.windows` need scipy.
        scaling: what norm is: "density" the root of the window's sum of squares, "spectrum" the
            sum of its absolute values, None 1. Without a window it is 1.
        periodic: whether the window is one period of a periodic function, rather than symmetric.

    Raises:
        ValueError: an invalid argument; or a shape that is not (T, 1, F), or not T
            numbers in the window, when it is called.
    """

    def __init__(
        self,
        side: str = "real",
        window: Any = "hann",
        scaling: str | None = "density",
        periodic: bool = False,
    ) -> None:
        self.side = one_of("STFT", "side", side, ("real", "imag"))
        self.window = window
        self.scaling = one_of("STFT", "scaling", scaling, ("density", "spectrum", None))
        self.periodic = flag("STFT", "periodic", periodic)
        if isinstance(window, str):
            _named_window(window, 1, self.periodic)

    def __call__(self, shape: int | Sequence[int], dtype: Any = None) -> NDArray[Any]:
        """Array of that shape, (T, 1, F)."""
        sizes = checked_shape(self, shape)
        if len(sizes) != 3:
            raise ValueError(f"STFT: shape must have 3 axes, (T, 1, F), got {sizes}")
        length, _, frequencies = sizes
        angles = -2 * np.pi * np.outer(np.arange(length), np.arange(frequencies))
        angles /= max(1, 2 * (frequencies - 1))
        kernel: NDArray[Any] = np.cos(angles) if self.side == "real" else np.sin(angles)
        if self.window is not None:
            kernel *= self._scaled_window(length)[:, None]
        return astype(kernel[:, None, :], standardize_dtype(dtype))

    def _scaled_window(self, length: int) -> NDArray[np.float64]:
        """Window divided by its norm."""
        window = self.window
        if isinstance(window, str):
            window = _named_window(window, length, self.periodic)
        values = np.asarray(window, np.float64)
        if values.shape != (length,):
            raise expected("STFT", "window", f"{length} numbers, the first axis of shape", window)
        if self.scaling == "density":
            values = values / np.sqrt((values**2).sum())
        return values / np.abs(values).sum() if self.scaling == "spectrum" else values


def _named_window(name: str, length: int, periodic: bool) -> NDArray[Any]:
    """Values of a window by its name."""
    if length == 1 and name in (*_COSINES, "bartlett"):
        return np.ones(1)
    t = np.arange(length) / max(1, length if periodic else length - 1)
    if name in _COSINES:
        signed = [(-1) ** k * a * np.cos(2 * np.pi * k * t) for k, a in enumerate(_COSINES[name])]
        return np.asarray(sum(signed))
    if name == "bartlett":
        return 1 - np.abs(2 * t - 1)
    try:
        from scipy import signal
    except ImportError:
        known = ", ".join((*_COSINES, "bartlett"))
        hint = f"one of {known}; scipy, which has others, is not installed"
        raise expected("STFT", "window", hint, name) from None
    try:
        values: NDArray[Any] = signal.get_window(name, length, fftbins=periodic)
    except ValueError as error:
        raise ValueError(f"STFT: window must be a window of scipy, got {name!r}: {error}") from None
    return values
