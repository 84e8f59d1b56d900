"""Spectrograms: values, shapes, weights, what they learn."""

import numpy as np
from nets import numbers
from registry import add, case, config_of, error_of

X = numbers(2, 70, 2)
S = numbers(2, 90, seed=1)
MODES = ("log", "magnitude", "psd", "real", "imag", "angle", "stft")
SMALL = {"frame_length": 12, "frame_step": 5, "fft_length": 16}
STFT = {
    **{mode: {"mode": mode, **SMALL} for mode in MODES},
    "as images": {"expand_dims": True, **SMALL},
    "same": {"padding": "same", **SMALL},
    "channels first as images": {
        "data_format": "channels_first",
        "expand_dims": True,
        "mode": "stft",
        **SMALL,
    },
    "other windows": {"frame_length": 16, "window": "hamming", "scaling": None, "periodic": True},
    "no window": {"frame_length": 10, "window": None, "scaling": "spectrum"},
}
MEL = {
    "short": {"fft_length": 32, "sequence_stride": 8, "num_mel_bins": 6},
    "shorter window": {"fft_length": 32, "sequence_length": 20, "num_mel_bins": 6},
    "energy": {"fft_length": 32, "mag_exp": 1.0, "window": "hamming", "num_mel_bins": 6},
    "power": {"fft_length": 32, "power_to_db": False, "window": None, "num_mel_bins": 6},
    "numbers": {
        "fft_length": 32,
        "sampling_rate": 8000,
        "num_mel_bins": 5,
        "min_freq": 50.0,
        "max_freq": 3500.0,
        "top_db": 15.0,
        "min_power": 1e-3,
        "ref_power": 2.0,
    },
}


def stft(options):
    def run(k):
        first = options.get("data_format") == "channels_first"
        x = X.transpose(0, 2, 1) if first else X
        layer = k.layers.STFTSpectrogram(**options)
        y = np.asarray(layer(x))
        return {
            "y": np.cos(y) if layer.mode == "angle" else y,  # pi and -pi are one angle
            "shape": list(layer.compute_output_shape((None, *x.shape[1:]))),
            "weights": [w.name for w in layer.weights],
            "config": config_of(layer),
        }

    return run


def mel(options):
    def run(k):
        layer = k.layers.MelSpectrogram(**options)
        return {
            "y": np.asarray(layer(S)),
            "one": np.asarray(layer(S[0])),
            "shape": list(layer.compute_output_shape((None, 90))),
            "config": config_of(layer),
        }

    return run


for _name, _options in STFT.items():
    add("sounds", f"STFTSpectrogram {_name}", stft(_options))
for _name, _options in MEL.items():
    add("sounds", f"MelSpectrogram {_name}", mel(_options))


def trained(mode):
    def run(k):
        inputs = k.layers.Input((70, 2))
        y = k.layers.STFTSpectrogram(mode, **SMALL)(inputs)
        model = k.Model(inputs, k.layers.GlobalAveragePooling1D()(y))
        model.compile(k.optimizers.SGD(0.05), "mse")
        history = model.fit(X, np.ones((2, y.shape[-1]), "f"), epochs=3, verbose=0)
        return {"losses": history.history["loss"], "weights": model.get_weights()}

    return run


for _mode in ("log", "psd", "stft"):
    add("sounds", f"trained {_mode}", trained(_mode))


@case("sounds")
def errors(k):
    s, m = k.layers.STFTSpectrogram, k.layers.MelSpectrogram
    calls = {
        "step": lambda: s(frame_length=8, frame_step=9),
        "step 0": lambda: s(frame_step=0),
        "fft": lambda: s(frame_length=8, fft_length=4),
        "mode": lambda: s("power"),
        "window": lambda: s(window="nothing"),
        "scaling": lambda: s(scaling="other"),
        "padding": lambda: s(padding="full"),
        "axes": lambda: s(frame_length=8)(X[0]),
        "numbers": lambda: s(frame_length=8)((10 * X).astype("int32")),
        "mel length": lambda: m(fft_length=16, sequence_length=17),
        "mel window": lambda: m(fft_length=16, window="nothing")(S),
    }
    return {name: error_of(call) for name, call in calls.items()}


@case("sounds")
def bands(k):
    matrix = k.layers.MelSpectrogram().linear_to_mel_weight_matrix
    return {"default": np.asarray(matrix()), "few": np.asarray(matrix(4, 17, 8000, 100.0, 3900.0))}
