"""Spectrograms in models: open lengths, threads, files, gradients; values stand in tests/golden."""

import numpy as np
import pytest

import cdl
from cdl import layers

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 60, 2)).astype("f")
SOUNDS = X[:, :, 0]


def net(time=60, mode="log", **options):
    inputs = layers.Input((time, 2))
    y = layers.STFTSpectrogram(mode, frame_length=12, frame_step=6, **options)(inputs)
    return cdl.Model(inputs, y)


def mel_net(samples=60):
    inputs = layers.Input((samples,))
    layer = layers.MelSpectrogram(fft_length=32, sequence_stride=8, num_mel_bins=5)
    return cdl.Model(inputs, layer(inputs))


@pytest.mark.parametrize("make", [net, mel_net])
def test_a_model_gives_what_the_layer_gives_also_for_open_lengths(make):
    x = X if make is net else SOUNDS
    model = make()
    expected = model.layers[1](x)
    assert model.output_shape[1:] == expected.shape[1:]
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, 1e-5, 1e-5)
    open_lengths = make(None)
    assert None in open_lengths.output_shape[1:]
    open_lengths.set_weights(model.get_weights())
    np.testing.assert_allclose(open_lengths.predict(x, verbose=0), expected, 1e-5, 1e-5)
    assert cdl.Sequential([model.layers[1]]).predict(x, verbose=0).shape == expected.shape


@pytest.mark.parametrize("make", [net, mel_net])
def test_files_bring_it_back(make, tmp_path):
    x = X if make is net else SOUNDS
    model = make()
    model.save(tmp_path / "net.keras")
    again = cdl.models.load_model(tmp_path / "net.keras")
    assert again.get_config() == model.get_config()
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    model.save_weights(tmp_path / "net.weights.h5")
    make().load_weights(tmp_path / "net.weights.h5")


@pytest.mark.parametrize("mode", ["log", "psd", "angle", "stft"])
def test_gradients_of_the_kernels_are_central_differences(mode):
    model = net(mode=mode)
    model.compile("sgd", "mse")
    y = np.ones((4, *model.output_shape[1:]), "f")
    found = model.gradients(X, y)
    names = [weight.path for weight in model.weights]
    for name, weight in zip(names, model.get_weights(), strict=True):
        at = (5, 0, 3)
        losses = []
        for h in (1e-2, -1e-2):
            moved = [w.copy() for w in model.get_weights()]
            moved[names.index(name)][at] += h
            other = net(mode=mode)
            other.set_weights(moved)
            losses.append(np.mean((other.predict(X, verbose=0).astype(float) - y) ** 2))
        expected = (losses[0] - losses[1]) / 2e-2
        gradient = np.asarray(found[name])
        assert gradient.shape == weight.shape
        assert gradient[at] == pytest.approx(expected, rel=0.05, abs=1e-3)


def test_a_tone_is_loudest_in_its_band():
    tone = np.sin(2 * np.pi * 1000 * np.arange(4000) / 8000).astype("f")
    layer = layers.MelSpectrogram(fft_length=256, sampling_rate=8000, num_mel_bins=20)
    bands = layer(tone)
    matrix = layer.linear_to_mel_weight_matrix(20, 129, 8000, 20.0, 4000.0)
    assert bands.shape == (20, 8)
    assert (bands.argmax(0) == matrix[32].argmax()).all()  # 1000 Hz of 4000 in 128 steps


def test_a_gradient_passes_the_bands():
    inputs = layers.Input((60,))
    gain = layers.Dense(60, kernel_initializer="identity", use_bias=False)
    y = layers.MelSpectrogram(fft_length=32, sequence_stride=8, num_mel_bins=5)(gain(inputs))
    model = cdl.Model(inputs, layers.Flatten()(y))
    model.compile(cdl.optimizers.SGD(1e-4), "mse")
    y = np.zeros((4, *model.output_shape[1:]), "f")
    losses = model.fit(SOUNDS, y, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_integers_are_refused_where_keras_refuses_them():
    with pytest.raises(TypeError, match="must be floats, got int32"):
        layers.STFTSpectrogram(frame_length=8)((10 * X).astype("int32"))
    sounds = (100 * SOUNDS).astype("int16")
    layer = layers.MelSpectrogram(fft_length=32)
    np.testing.assert_array_equal(layer(sounds), layer(sounds.astype("f")))


def test_a_transform_of_another_length_than_a_power_of_two_warns():
    with pytest.warns(UserWarning, match="should be a power of two, got 20"):
        layers.STFTSpectrogram(frame_length=8, fft_length=20)
