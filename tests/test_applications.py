"""Architectures of `cdl.applications`, against what real Keras 3.15 builds."""

import importlib
import json
import zlib

import numpy as np
import pytest

import cdl
from cdl import applications

# Architectures by name: parameters with the classifier and without it, layers, and a checksum of
# the classes and names of all layers of both in order. Written by Keras 3.15 from its constructors.
KERAS = {
    "ConvNeXtBase": (88_591_464, 87_566_464, 261, 1795417153),
    "ConvNeXtLarge": (197_767_336, 196_230_336, 261, 1110194777),
    "ConvNeXtSmall": (50_223_688, 49_454_688, 261, 3178674474),
    "ConvNeXtTiny": (28_589_128, 27_820_128, 135, 1254047772),
    "ConvNeXtXLarge": (350_196_968, 348_147_968, 261, 3295771816),
    "DenseNet121": (8_062_504, 7_037_504, 429, 3590742291),
    "DenseNet169": (14_307_880, 12_642_880, 597, 1829528999),
    "DenseNet201": (20_242_984, 18_321_984, 709, 2021523704),
    "EfficientNetB0": (5_330_571, 4_049_571, 240, 705348340),
    "EfficientNetB1": (7_856_239, 6_575_239, 342, 211838316),
    "EfficientNetB2": (9_177_569, 7_768_569, 342, 211838316),
    "EfficientNetB3": (12_320_535, 10_783_535, 387, 2589383002),
    "EfficientNetB4": (19_466_823, 17_673_823, 477, 2512491126),
    "EfficientNetB5": (30_562_527, 28_513_527, 579, 1598726684),
    "EfficientNetB6": (43_265_143, 40_960_143, 669, 1299288092),
    "EfficientNetB7": (66_658_687, 64_097_687, 816, 671251063),
    "EfficientNetV2B0": (7_200_312, 5_919_312, 273, 2025905298),
    "EfficientNetV2B1": (8_212_124, 6_931_124, 337, 2627340629),
    "EfficientNetV2B2": (10_178_374, 8_769_374, 352, 1873392062),
    "EfficientNetV2B3": (14_467_622, 12_930_622, 412, 1023207111),
    "EfficientNetV2L": (119_027_848, 117_746_848, 1031, 3362358130),
    "EfficientNetV2M": (54_431_388, 53_150_388, 743, 1739899120),
    "EfficientNetV2S": (21_612_360, 20_331_360, 516, 1902828047),
    "InceptionResNetV2": (55_873_736, 54_336_736, 782, 3941066500),
    "InceptionV3": (23_851_784, 21_802_784, 313, 152944860),
    "MobileNet": (4_253_864, 3_228_864, 91, 36322565),
    "MobileNetV2": (3_538_984, 2_257_984, 156, 3423861065),
    "MobileNetV3Large": (5_507_432, 2_996_352, 194, 897023351),
    "MobileNetV3Small": (2_554_968, 939_120, 164, 391263877),
    "NASNetLarge": (88_949_818, 84_916_818, 1041, 944195619),
    "NASNetMobile": (5_326_716, 4_269_716, 771, 4231087900),
    "ResNet101": (44_707_176, 42_658_176, 347, 817664841),
    "ResNet101V2": (44_675_560, 42_626_560, 379, 3392600341),
    "ResNet152": (60_419_944, 58_370_944, 517, 2149971227),
    "ResNet152V2": (60_380_648, 58_331_648, 566, 1355045221),
    "ResNet50": (25_636_712, 23_587_712, 177, 4137617408),
    "ResNet50V2": (25_613_800, 23_564_800, 192, 1030091254),
    "VGG16": (138_357_544, 14_714_688, 23, 397813553),
    "VGG19": (143_667_240, 20_024_384, 26, 1224428),
    "Xception": (22_910_480, 20_861_480, 134, 2575745659),
}


@pytest.fixture
def zeros(monkeypatch):
    """No numbers are drawn: memory of zeros that nobody touches costs nothing."""
    scaling = cdl.initializers.VarianceScaling
    monkeypatch.setattr(scaling, "__call__", lambda self, shape, dtype=None: np.zeros(shape, "f4"))
    cdl.utils.clear_session()


def layers(model):
    return [[type(layer).__name__, layer.name] for layer in model.layers]


def test_all_of_keras_are_there():
    assert sorted(KERAS) == [name for name in dir(applications) if name[0].isupper()]


@pytest.mark.parametrize("name", sorted(KERAS))
def test_layers_and_parameters_are_those_of_keras(name, zeros):
    make = getattr(applications, name)
    with_top = make(weights=None)
    cdl.utils.clear_session()
    without = make(weights=None, include_top=False, input_shape=(96, 96, 3), pooling="avg")
    found = [with_top.count_params(), without.count_params(), len(with_top.layers)]
    checksum = zlib.crc32(json.dumps([layers(with_top), layers(without)]).encode())
    assert (*found, checksum) == KERAS[name]


def test_importing_cdl_loads_none(run_python):
    run_python(
        """if True:
        import sys, cdl
        cdl.layers.Dense(3), cdl.applications
        assert [name for name in sys.modules if name.startswith("cdl.applications.")] == []
        """
    )


def test_modules_have_what_keras_has_in_them():
    for module, names in applications._MODULES.items():
        home = importlib.import_module(f"cdl.applications.{module}")
        assert {"decode_predictions", "preprocess_input"} <= {*dir(home)}
        if module != "mobilenet_v3":
            assert all(getattr(home, name) is getattr(applications, name) for name in names)
    assert cdl.applications.resnet50.ResNet50 is cdl.applications.resnet.ResNet50


# --- arguments ---

SMALL = {"weights": None, "include_top": False, "input_shape": (32, 32, 3), "alpha": 0.25}


def test_weights_of_imagenet_are_refused_with_the_file_and_where_it_would_be(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="resnet50_weights_tf_dim_ordering_tf_kernels"):
        applications.ResNet50()
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        applications.VGG16(include_top=False)
    with pytest.raises(FileNotFoundError, match="weights=None"):
        applications.EfficientNetB0(weights="imagenet")


@pytest.mark.parametrize(
    ("name", "arguments", "file"),
    [
        ("MobileNet", {"alpha": 0.5, "include_top": False}, "mobilenet_5_0_224_tf_no_top.h5"),
        ("MobileNet", {"input_shape": (128, 128, 3)}, "mobilenet_1_0_128_tf.h5"),
        ("MobileNetV2", {}, "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5"),
        ("MobileNetV3Large", {}, "weights_mobilenet_v3_large_224_1.0_float.h5"),
        ("MobileNetV3Small", {"minimalistic": True, "include_top": False},
         "weights_mobilenet_v3_small_minimalistic_224_1.0_float_no_top_v2.h5"),
        ("NASNetLarge", {}, "NASNet-large.h5"),
        ("EfficientNetV2S", {"include_top": False}, "efficientnetv2-s_notop.h5"),
        ("ConvNeXtTiny", {}, "convnext_tiny.h5"),
        ("DenseNet169", {}, "densenet169_weights_tf_dim_ordering_tf_kernels.h5"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:`input_shape` is undefined")
def test_the_file_of_imagenet_is_keras_s(name, arguments, file, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=file):
        getattr(applications, name)(**arguments)


def test_weights_of_imagenet_in_the_cache_are_loaded(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    made = applications.MobileNet(alpha=0.25, weights=None)
    made.save(str(tmp_path / "models" / "mobilenet_2_5_224_tf.h5"))
    model = applications.MobileNet(alpha=0.25)
    assert model.name == "mobilenet_0.25_224"
    for a, b in zip(made.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_weights_of_a_file_are_loaded(tmp_path):
    made = applications.MobileNet(**SMALL, pooling="max")
    path = tmp_path / "a.weights.h5"
    made.save_weights(path)
    x = np.random.RandomState(0).normal(size=(2, 32, 32, 3)).astype("f4")
    model = applications.MobileNet(**SMALL | {"weights": str(path)}, pooling="max")
    np.testing.assert_array_equal(made.predict(x, verbose=0), model.predict(x, verbose=0))
    with pytest.raises(ValueError, match="Only `None` and `softmax`"):
        applications.MobileNet(weights=str(path), classifier_activation="relu")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"weights": "nowhere.h5"}, "`weights` argument should be either"),
        ({"classes": 10}, "`classes` should be 1000"),
        ({"weights": None, "input_shape": (32, 3)}, "tuple of three integers"),
        ({"weights": None, "input_shape": (31, 32, 3)}, "at least 32x32"),
        ({"weights": None, "input_shape": (None, None, 3)}, "static `input_shape`"),
        ({"input_shape": (64, 64, 3)}, "`input_shape` should be"),
        ({"input_shape": (64, 64, 1), "include_top": False}, "3 channels"),
        ({"weights": None, "pooling": "mean"}, "pooling"),
    ],
)
def test_what_keras_refuses_is_refused(arguments, error):
    with pytest.raises(ValueError, match=error):
        applications.ResNet50(**arguments)


def test_other_refusals():
    with pytest.raises(ValueError, match="depth multiplier must be 1"):
        applications.MobileNet(depth_multiplier=2)
    with pytest.raises(ValueError, match="alpha"):
        applications.MobileNetV2(alpha=0.3)
    with pytest.raises(ValueError, match="three ints"):
        applications.NASNetLarge(weights=None, include_top=False)
    with pytest.raises(TypeError, match=r"ResNet50.*unexpected keyword argument 'top'"):
        applications.ResNet50(top=False)
    with pytest.warns(UserWarning, match="1 or 3 input channels"):
        applications.MobileNet(**SMALL | {"input_shape": (32, 32, 4)})


def test_channels_first(zeros):
    cdl.config.set_image_data_format("channels_first")
    try:
        model = applications.MobileNetV2(weights=None, include_top=False, input_shape=(3, 32, 32))
        assert model.output_shape == (None, 1280, 1, 1)
        with pytest.raises(ValueError, match="channels_first"):
            applications.ConvNeXtTiny(weights=None)
    finally:
        cdl.config.set_image_data_format("channels_last")


def test_a_model_may_begin_at_a_tensor():
    inputs = cdl.Input((32, 32, 3))
    x = cdl.layers.Rescaling(1 / 255)(inputs)
    model = applications.MobileNet(weights=None, include_top=False, input_tensor=x, alpha=0.25)
    assert model.inputs[0] is inputs
    assert model.layers[1].name.startswith("rescaling")
    assert cdl.utils.get_source_inputs(model.output) == [inputs]


def test_it_trains_and_goes_through_a_file(tmp_path):
    x = np.random.RandomState(0).normal(size=(8, 32, 32, 3)).astype("f4")
    base = applications.MobileNetV3Small(
        weights=None, include_top=False, pooling="avg", input_shape=(32, 32, 3), alpha=0.25
    )
    model = cdl.Sequential([base, cdl.layers.Dense(2, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(x, np.arange(8) % 2, batch_size=4, verbose=0)
    model.save(tmp_path / "a.keras")
    again = cdl.models.load_model(tmp_path / "a.keras")
    np.testing.assert_array_equal(model.predict(x, verbose=0), again.predict(x, verbose=0))


@pytest.mark.parametrize("name", ["convnext.LayerScale", "inception_resnet_v2.CustomScaleLayer"])
def test_layers_of_their_own_are_found_by_the_module_of_keras(name):
    module, _, cls = name.partition(".")
    home = importlib.import_module(f"cdl.applications.{module}")
    arguments = (1e-6, 3) if cls == "LayerScale" else (0.1,)
    config = cdl.saving.serialize_keras_object(getattr(home, cls)(*arguments))
    assert config["module"] == f"keras.src.applications.{module}"
    assert config["registered_name"] == cls
    assert type(cdl.saving.deserialize_keras_object(config)).__name__ == cls


# --- pixels and names ---


@pytest.mark.parametrize("mode", ["caffe", "tf", "torch"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_pixels_as_the_modes_have_them(mode, data_format):
    x = np.random.RandomState(0).uniform(0, 255, (2, 4, 5, 3)).astype("f4")
    mean = {"caffe": [103.939, 116.779, 123.68], "torch": [0.485, 0.456, 0.406]}
    wanted = {
        "caffe": lambda: x[..., ::-1] - mean["caffe"],
        "tf": lambda: x / 127.5 - 1,
        "torch": lambda: (x / 255 - mean["torch"]) / [0.229, 0.224, 0.225],
    }[mode]()
    first = data_format == "channels_first"
    given = np.moveaxis(x, -1, 1).copy() if first else x.copy()
    before = given.copy()
    preprocess = applications.imagenet_utils.preprocess_input
    found = preprocess(given, data_format, mode)
    found = np.moveaxis(found, 1, -1) if first else found
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    assert not np.array_equal(given, before)  # in place, as in Keras
    one = preprocess(before[0].astype(int), data_format, mode)
    assert one.dtype == "float32"
    inputs = cdl.Input(before.shape[1:])
    model = cdl.Model(inputs, preprocess(inputs, data_format, mode))
    found = model.predict(before, verbose=0)
    found = np.moveaxis(found, 1, -1) if first else found
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_pixels_that_are_refused_or_left():
    with pytest.raises(ValueError, match="mode"):
        applications.imagenet_utils.preprocess_input(np.zeros((2, 2, 3)), mode="keras")
    with pytest.raises(ValueError, match="data_format"):
        applications.vgg16.preprocess_input(np.zeros((2, 2, 3)), "last")
    x = np.ones((2, 2, 3))
    for module in ("efficientnet", "efficientnet_v2", "convnext", "mobilenet_v3"):
        assert getattr(applications, module).preprocess_input(x) is x


def test_classes_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    decode = applications.vgg16.decode_predictions
    rows = np.zeros((2, 1000), "f4")
    rows[0, [3, 5]], rows[1, 7] = [0.25, 0.5], 1
    with pytest.raises(FileNotFoundError, match="imagenet_class_index"):
        decode(rows)
    with pytest.raises(ValueError, match=r"\(samples, 1000\)"):
        decode(rows[:, :10])
    (tmp_path / "models").mkdir()
    index = {str(i): [f"n{i}", f"thing {i}"] for i in range(1000)}
    (tmp_path / "models" / "imagenet_class_index.json").write_text(json.dumps(index))
    assert decode(rows, top=2)[0] == [("n5", "thing 5", 0.5), ("n3", "thing 3", 0.25)]
    assert len(decode(rows)[1]) == 5
    assert decode(rows)[1][0] == ("n7", "thing 7", 1.0)
