"""Images from files and into files; folders of images and of sounds."""

import io
import wave

import numpy as np
import pytest

import cdl
from cdl.utils import audio_dataset_from_directory, image_dataset_from_directory

Image = pytest.importorskip("PIL.Image")


def picture(height=4, width=6, channels=3):
    return np.random.RandomState(0).randint(0, 256, (height, width, channels)).astype("uint8")


def test_an_array_goes_through_a_file(tmp_path):
    x = picture()
    cdl.utils.save_img(tmp_path / "a.png", x, scale=False)
    image = cdl.utils.load_img(tmp_path / "a.png")
    assert image.size == (6, 4)
    found = cdl.utils.img_to_array(image)
    assert found.dtype == "float32"
    assert np.array_equal(found, x)
    first = cdl.utils.img_to_array(image, "channels_first", "uint8")
    assert np.array_equal(first, x.transpose(2, 0, 1))
    again = cdl.utils.array_to_img(first, "channels_first", scale=False)
    assert np.array_equal(np.asarray(again), x)
    assert cdl.preprocessing.image.load_img is cdl.utils.load_img


def test_scaling_spreads_the_numbers():
    x = np.array([[[-1.0], [0.0]], [[1.0], [3.0]]])
    image = np.asarray(cdl.utils.array_to_img(x))
    assert image.tolist() == [[0, 63], [127, 255]]
    assert np.asarray(cdl.utils.array_to_img(np.zeros((2, 2, 3)))).max() == 0


def test_modes_and_sizes(tmp_path):
    Image.fromarray(picture(8, 6)).save(tmp_path / "a.png")
    load = cdl.utils.load_img
    assert load(tmp_path / "a.png", "grayscale").mode == "L"
    assert load(str(tmp_path / "a.png"), "rgba").mode == "RGBA"
    assert load(io.BytesIO((tmp_path / "a.png").read_bytes())).mode == "RGB"
    assert load(tmp_path / "a.png", target_size=(3, 5)).size == (5, 3)
    kept = load(tmp_path / "a.png", target_size=(2, 3), keep_aspect_ratio=True)
    part = Image.fromarray(picture(8, 6)).resize((3, 2), Image.Resampling.NEAREST, (0, 2, 6, 6))
    assert np.array_equal(np.asarray(kept), np.asarray(part))
    with pytest.raises(ValueError, match="color_mode"):
        load(tmp_path / "a.png", "cmyk")
    with pytest.raises(ValueError, match="interpolation"):
        load(tmp_path / "a.png", target_size=(2, 2), interpolation="area")
    with pytest.raises(TypeError, match="path-like"):
        load(3)


def test_what_is_no_image_is_refused(tmp_path):
    with pytest.raises(ValueError, match="rank 3"):
        cdl.utils.array_to_img(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="channel number: 2"):
        cdl.utils.array_to_img(np.zeros((2, 2, 2)))
    with pytest.raises(ValueError, match="Unsupported image shape"):
        cdl.utils.img_to_array(np.zeros(3))
    with pytest.warns(UserWarning, match="RGBA"):
        cdl.utils.save_img(tmp_path / "a.jpg", picture(channels=4))


def test_smart_resize_takes_the_middle():
    x = picture(8, 4).astype("float32")
    resize = cdl.preprocessing.image.smart_resize
    wanted = cdl.ops.image.resize(x[2:6], (2, 2))
    assert np.array_equal(resize(x, (2, 2)), wanted)
    first = resize(x.transpose(2, 0, 1)[None], (2, 2), data_format="channels_first")
    assert np.array_equal(first[0].transpose(1, 2, 0), wanted)
    with pytest.raises(ValueError, match="size"):
        resize(x, (2, 2, 2))
    with pytest.raises(ValueError, match="incorrect rank"):
        resize(x[0], (2, 2))


@pytest.fixture
def folder(tmp_path):
    for name in ("cats", "dogs"):
        (tmp_path / name).mkdir()
        for i in range(5):
            x = np.full((6 + i, 8, 3), 10 * i + 100 * (name == "dogs"), "uint8")
            Image.fromarray(x).save(tmp_path / name / f"{i}.png")
    return tmp_path


def test_a_folder_of_images(folder, capsys):
    dataset = image_dataset_from_directory(folder, image_size=(4, 5), batch_size=4, shuffle=False)
    assert "Found 10 files belonging to 2 classes." in capsys.readouterr().out
    assert dataset.class_names == ["cats", "dogs"]
    x, y = (np.concatenate(each) for each in zip(*dataset, strict=True))
    assert x.shape == (10, 4, 5, 3)
    assert x.dtype == "float32"
    assert y.tolist() == [0] * 5 + [1] * 5
    assert np.allclose(x[:, 0, 0, 0], [10 * i + 100 * c for c in (0, 1) for i in range(5)])
    model = cdl.Sequential([cdl.Input((4, 5, 3)), cdl.layers.Flatten(), cdl.layers.Dense(1)])
    model.compile("sgd", "mse")
    assert len(model.fit(dataset.map(lambda x, y: (x / 255, y)), verbose=0).epoch) == 1


def test_images_are_padded_with_zeros_on_both_sides_or_on_one(folder):
    """The reference is `tf.image.resize_with_pad`, which resizes first."""
    given = {"image_size": (4, 4), "shuffle": False, "verbose": False}
    x, _ = next(iter(image_dataset_from_directory(folder, pad_to_aspect_ratio=True, **given)))
    dogs = x[5:, :, 0, 0]
    rows = [[100] * 3 + [0], [110] * 3 + [0], [120] * 4, [130] * 4, [140] * 4]
    np.testing.assert_allclose(dogs, rows)
    given["image_size"] = (8, 8)
    x, _ = next(iter(image_dataset_from_directory(folder, pad_to_aspect_ratio=True, **given)))
    np.testing.assert_allclose(x[5, :, 0, 0], [0, *[100] * 6, 0])


def test_nearest_pixels_stay_integers(folder):
    x, _ = next(iter(image_dataset_from_directory(folder, interpolation="nearest", verbose=False)))
    assert x.dtype == "uint8"


def test_arguments_of_a_folder_of_images(folder):
    given = {"image_size": 4, "verbose": False, "seed": 1}
    parts = image_dataset_from_directory(folder, validation_split=0.3, subset="both", **given)
    assert [len(part.file_paths) for part in parts] == [7, 3]
    gray = image_dataset_from_directory(
        folder, None, color_mode="grayscale", data_format="channels_first", **given
    )
    assert next(iter(gray)).shape == (10, 1, 4, 4)
    for keep in ({"crop_to_aspect_ratio": True}, {"pad_to_aspect_ratio": True}):
        x, y = next(
            iter(image_dataset_from_directory(folder, "inferred", "binary", **keep, **given))
        )
        assert x.shape == (10, 4, 4, 3)
        assert y.shape == (10, 1)
    with pytest.raises(ValueError, match="Only one of"):
        image_dataset_from_directory(
            folder, crop_to_aspect_ratio=True, pad_to_aspect_ratio=True, **given
        )
    for bad in ({"color_mode": "hsv"}, {"interpolation": "area"}, {"format": "np"}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            image_dataset_from_directory(folder, **bad)
    with pytest.raises(ValueError, match="image_size"):
        image_dataset_from_directory(folder, image_size=(2, 2, 2))
    for size in (0, (2, -1), (2.5, 2), ("2", 2)):
        with pytest.raises(ValueError, match="image_size must be a positive int"):
            image_dataset_from_directory(folder, image_size=size)


def sound(path, samples, rate=8000, width=2, channels=1):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(np.asarray(samples, "<i2" if width == 2 else "u1").tobytes())


def test_a_folder_of_sounds(tmp_path):
    for name, n in (("high", 5), ("low", 3)):
        (tmp_path / name).mkdir()
        sound(tmp_path / name / "a.wav", np.arange(n) * 1024)
    load = audio_dataset_from_directory
    x, y = next(iter(load(tmp_path, shuffle=False, verbose=False)))
    assert x.shape == (2, 5, 1)
    assert x[1, :, 0].tolist() == [0, 1 / 32, 2 / 32, 0, 0]
    assert y.tolist() == [0, 1]
    x, _ = next(iter(load(tmp_path, output_sequence_length=4, sampling_rate=8000, verbose=False)))
    assert x.shape == (2, 4, 1)
    with pytest.raises(ValueError, match="sampling_rate"):
        next(iter(load(tmp_path, sampling_rate=16000, verbose=False)))
    with pytest.raises(ValueError, match="ragged"):
        load(tmp_path, ragged=True)
    sound(tmp_path / "low" / "b.wav", [1, 2], width=1)
    with pytest.raises(ValueError, match="16 bits"):
        list(load(tmp_path, verbose=False))
    (tmp_path / "low" / "b.wav").write_bytes(b"no sound")
    with pytest.raises(ValueError, match=r"b\.wav"):
        list(load(tmp_path, verbose=False))
