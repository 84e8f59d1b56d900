"""Images of all modes of Pillow: the same picture has the same numbers, and no file stays open."""

import io
import warnings

import numpy as np
import pytest

import cdl
from cdl.utils import image_dataset_from_directory, load_img

Image = pytest.importorskip("PIL.Image")

GRAY = np.linspace(0, 255, 20).astype("uint8").reshape(4, 5)
WIDE = GRAY.astype("uint16") * 256 + 7  # of 16 bits
COLORS = np.stack([GRAY, GRAY[::-1], GRAY[:, ::-1]], -1)


def palette(transparent):
    image = Image.fromarray(COLORS).quantize(64)
    if transparent is not None:
        image.info["transparency"] = transparent
    return image


def written(folder, image, name="a.png", **options):
    (folder / "x").mkdir(exist_ok=True)
    image.save(folder / "x" / name, **options)
    return folder / "x" / name


def of_directory(folder, mode):
    data = image_dataset_from_directory(folder, labels=None, color_mode=mode, image_size=(4, 5),
                                        verbose=False)  # fmt: skip
    return next(iter(data))[0]


@pytest.mark.parametrize("mode", ["rgb", "rgba", "grayscale"])
def test_sixteen_bits_become_eight_in_a_data_set(mode, tmp_path):
    path = written(tmp_path, Image.fromarray(WIDE))
    found = of_directory(tmp_path, mode)
    shown = GRAY[..., None] if mode == "grayscale" else np.stack([GRAY] * 3, -1)
    np.testing.assert_array_equal(found[..., : shown.shape[-1]], shown)
    if mode == "grayscale":  # as in Keras, the numbers of the file
        np.testing.assert_array_equal(np.asarray(load_img(path, mode)), WIDE)
    else:
        np.testing.assert_array_equal(np.asarray(load_img(path, mode))[..., :3], shown)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "lanczos"])
def test_sixteen_bits_are_resized(interpolation, tmp_path):
    path = written(tmp_path, Image.fromarray(WIDE))
    small = np.asarray(load_img(path, "grayscale", (2, 2), interpolation))
    assert small.shape == (2, 2) and small.max() > 255


EIGHT = {
    "L": Image.fromarray(GRAY),
    "RGB": Image.fromarray(COLORS),
    "LA": Image.fromarray(GRAY).convert("LA"),
    "RGBA": Image.fromarray(COLORS).convert("RGBA"),
    "1": Image.fromarray(GRAY).convert("1"),
    "P": palette(None),
    "P, one transparent": palette(3),
    "P, bytes": palette(bytes([0, 128, 255, 9])),
    "CMYK": Image.fromarray(COLORS).convert("CMYK"),
    "gray CMYK": Image.fromarray(np.stack([GRAY] * 3, -1)).convert("CMYK"),
}


@pytest.mark.parametrize("kind", EIGHT)
def test_images_of_eight_bits_have_the_colors_that_are_seen(kind, tmp_path):
    image = EIGHT[kind]
    name = "a.jpg" if image.mode == "CMYK" else "a.png"
    path = written(tmp_path, image, name, **({"quality": 100} if name == "a.jpg" else {}))
    with Image.open(path) as stored:
        seen = np.asarray(stored.convert("RGBA" if "P" in image.mode else "RGB"))[..., :3]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = np.asarray(load_img(path, "rgb"))
        gray = np.asarray(load_img(path, "grayscale"))
        alpha = np.asarray(load_img(path, "rgba"))
        np.testing.assert_array_equal(of_directory(tmp_path, "rgb"), seen)
        np.testing.assert_array_equal(of_directory(tmp_path, "grayscale")[..., 0], gray)
    np.testing.assert_array_equal(found, seen)
    luma = seen @ np.array([0.299, 0.587, 0.114])
    assert gray.ndim == 2 and np.abs(gray - luma).max() <= 2
    assert alpha.shape == (4, 5, 4)
    if kind == "P, one transparent":
        assert (alpha[..., 3] == 0).any()


def test_numbers_that_eight_bits_have_not_are_refused(tmp_path):
    for values in (GRAY / 1.0 * 300, np.full((2, 2), np.nan), GRAY - 255.0):
        path = written(tmp_path, Image.fromarray(values.astype("float32")), "a.tiff")
        with pytest.raises(ValueError, match="load_img: color_mode must be 'grayscale' for an"):
            load_img(path, "rgb")
    path = written(tmp_path, Image.fromarray(GRAY.astype("float32")), "a.tiff")
    np.testing.assert_array_equal(np.asarray(load_img(path, "rgb"))[..., 1], GRAY)
    np.testing.assert_array_equal(np.asarray(load_img(path, "grayscale")), GRAY)


def test_numbers_beyond_eight_bits_go_through_a_file(tmp_path):
    cdl.utils.save_img(tmp_path / "a.png", WIDE[..., None], scale=False)
    found = cdl.utils.img_to_array(load_img(tmp_path / "a.png", "grayscale"))
    np.testing.assert_array_equal(found[..., 0], WIDE)


def test_sixteen_bits_of_the_other_order_are_read(tmp_path):
    image = Image.frombytes("I;16B", (5, 4), WIDE.astype(">u2").tobytes())
    path = written(tmp_path, image, "a.tiff")
    np.testing.assert_array_equal(np.asarray(load_img(path))[..., 0], GRAY)
    np.testing.assert_array_equal(np.asarray(load_img(path, "grayscale")), WIDE)


@pytest.mark.parametrize("frames", [1, 3])
def test_no_file_stays_open(frames, tmp_path):
    pictures = [Image.fromarray(COLORS // (i + 1)) for i in range(frames)]
    more = {"save_all": True, "append_images": pictures[1:]} if frames > 1 else {}
    for name in ("a.gif", "b.png", "c.tiff"):
        path = written(tmp_path, pictures[0], name, **(more if name != "b.png" else {}))
        import os

        before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
        kept = [load_img(path), load_img(path, "grayscale", (2, 2)), load_img(str(path), "rgba")]
        if before:
            assert len(os.listdir("/proc/self/fd")) == before
        assert all(np.asarray(each).size for each in kept)
        data = io.BytesIO(path.read_bytes())
        assert np.array_equal(np.asarray(load_img(data)), np.asarray(kept[0]))
        assert not data.closed


# --- map ---


@pytest.fixture
def folder(tmp_path):
    for i in range(10):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        Image.fromarray(np.full((3, 3, 3), i, "uint8")).save(tmp_path / "ab"[i % 2] / f"{i}.png")
    return tmp_path


@pytest.mark.parametrize("calls", [None, 1, 2, 3, -1, 50])
def test_a_folder_maps_in_its_order_by_so_many_threads(calls, folder):
    given = {"image_size": (3, 3), "batch_size": 2, "shuffle": False, "verbose": False}
    data = image_dataset_from_directory(folder, **given)
    mapped = data.map(lambda x, y: (x / 2, y), num_parallel_calls=calls, deterministic=False)
    both = mapped.map(lambda x, y: (x * 4, y))
    for _ in range(2):
        found = list(both)
        assert len(found) == len(data) == 5
        for (x, y), (raw, label) in zip(found, data, strict=True):
            np.testing.assert_array_equal(x, raw * 2)
            np.testing.assert_array_equal(y, label)
    import threading

    before = threading.active_count()
    first = iter(both)
    next(first)
    first.close()  # a pass that ends early leaves no thread
    assert threading.active_count() == before


def test_an_error_of_the_function_comes_through(folder):
    data = image_dataset_from_directory(folder, image_size=(3, 3), batch_size=2, verbose=False)
    with pytest.raises(ZeroDivisionError):
        list(data.map(lambda x, y: 1 / 0, num_parallel_calls=2))
    with pytest.raises(ValueError, match="num_parallel_calls"):
        data.map(lambda x, y: x, num_parallel_calls=0)
    with pytest.raises(TypeError, match="map_func must be a function"):
        data.map(3)
    model = cdl.Sequential([cdl.layers.Flatten(), cdl.layers.Dense(1)])
    model.compile("sgd", "mse")
    scaled = data.map(lambda x, y: (x / 255, y), num_parallel_calls=2)
    assert len(model.fit(scaled, epochs=2, verbose=0).epoch) == 2


def test_a_script_maps_a_folder_as_a_data_set(folder, run_python, tmp_path):
    (tmp_path / "script.py").write_text(
        "import tensorflow as tf, keras\n"
        f"data = keras.utils.image_dataset_from_directory({str(folder)!r}, image_size=(3, 3),\n"
        "    batch_size=5, shuffle=False)\n"
        "def scaled(x, y):\n"
        "    return tf.cast(x, 'float32') / 2.0, y\n"
        "data = data.map(scaled, num_parallel_calls=tf.data.AUTOTUNE, deterministic=False)\n"
        "data = data.cache().prefetch(tf.data.AUTOTUNE)\n"
        "print([x.numpy().max() for x, y in data], len(data))\n"
    )
    done = run_python("-m", "cdl", "script.py")
    assert done.stdout.endswith("[np.float32(4.0), np.float32(4.5)] 2\n")
