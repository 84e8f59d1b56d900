"""Files that no library wrote: damaged, inconsistent, or malicious.

Each function of a table writes one, and the table has the error that it must get. All start from
one small model, saved by cdl.
"""

import io
import json
import struct
import zipfile

import h5py
import numpy as np

import cdl
from cdl.layers import BatchNormalization, Dense, Dropout, Input
from cdl.models import Sequential

CONFIG, WEIGHTS, RANDOM = "config.json", "model.weights.h5", "random_state.json"
KERNEL = "layers/dense/vars/0"
CODE = {"class_name": "__lambda__", "config": {"value": "4wEAAAAAAAA=", "defaults": None}}


def model():
    cdl.utils.clear_session()
    made = Sequential([Input((6,)), Dense(5, "relu"), BatchNormalization(), Dense(2), Dropout(0.5)])
    made.compile("adam", "mse", metrics=["mae"])
    made.fit(np.ones((4, 6)), np.ones((4, 2)), verbose=0)
    return made


def contents(path):
    """The members of a saved model by name."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def archive(path, members, **kwargs):
    """A zip file of members by name; a list of pairs may have a name twice."""
    pairs = members.items() if isinstance(members, dict) else members
    with zipfile.ZipFile(path, "w", **kwargs) as file:
        for name, data in pairs:
            file.writestr(name, data)


# --- the zip file around; each gets the path and the good members ---


def raw(data):
    return lambda path, members: path.write_bytes(data)


def only(*names):
    return lambda path, members: archive(path, {name: members[name] for name in names})


def cut(part):
    def make(path, members):
        archive(path, members)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * part)])

    return make


def twice(path, members):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive(path, [*members.items(), (CONFIG, members[CONFIG])])


def named(name):
    return lambda path, members: archive(path, members | {name: b"x"})


def link(path, members):
    info = zipfile.ZipInfo(WEIGHTS)
    info.external_attr = 0o120777 << 16
    archive(path, [(CONFIG, members[CONFIG]), (info, b"/etc/passwd")])


def patched(offset, data):
    """Bytes at an offset of the config's entry in the table of contents written over."""

    def make(path, members):
        archive(path, members)
        whole = bytearray(path.read_bytes())
        at = whole.rfind(CONFIG.encode()) - 46 + offset
        whole[at : at + len(data)] = data
        path.write_bytes(whole)

    return make


def flipped(member):
    """A member's contents with one bit flipped."""

    def make(path, members):
        archive(path, members)
        whole = bytearray(path.read_bytes())
        whole[whole.find(members[member]) + len(members[member]) // 2] ^= 4
        path.write_bytes(whole)

    return make


def bomb(path, members):
    archive(path, members | {WEIGHTS: bytes(300_000_000)}, compression=zipfile.ZIP_DEFLATED)


def many_members(path, members):
    archive(path, members)
    whole = bytearray(path.read_bytes())
    end = whole.rfind(b"PK\5\6")
    struct.pack_into("<L", whole, end + 12, 2**31)
    path.write_bytes(whole)


ZIPS = {
    "empty": (raw(b""), "is no zip file"),
    "text": (raw(b"not a model"), "is no zip file"),
    "zeros": (raw(bytes(100_000)), "is no zip file"),
    "end_alone": (raw(b"PK\5\6" + bytes(18)), "it has no config.json"),
    "cut_in_half": (cut(0.5), "is no zip file"),
    "cut_at_the_end": (cut(0.999), "is no zip file|not a .keras file"),
    "without_config": (only(WEIGHTS), "it has no config.json"),
    "without_weights": (only(CONFIG), "it has no model.weights.h5"),
    "member_twice": (twice, "'config.json' must be there once"),
    "path_that_leads_out": (named("../../evil"), "must be a path within the file"),
    "absolute_path": (named("/etc/passwd"), "must be a path within the file"),
    "path_of_windows": (named("..\\evil"), "must be a path within the file"),
    "drive": (named("C:evil"), "must be a path within the file"),
    "link": (link, "must be a file, got a link"),
    "encrypted": (patched(8, b"\1"), "config.json must not be encrypted"),
    "unknown_compression": (patched(10, b"\x63"), "config.json is damaged"),
    "offset_lies": (patched(42, b"\xff\xff\xff\x7f"), "config.json must be within the file"),
    "offset_of_another": (patched(42, b"\0\0\0\0"), "config.json is damaged"),
    "checksum_lies": (patched(16, b"\0\0\0\0"), "config.json is damaged"),
    "size_lies": (patched(24, b"\xff\xff\xff\x7f"), "it is stored with two sizes"),
    "both_sizes_lie": (patched(20, b"\xff\xff\xff\x7f" * 2), "config.json must be within the file"),
    "config_flipped": (flipped(CONFIG), "config.json is damaged"),
    "weights_flipped": (flipped(WEIGHTS), "model.weights.h5 is damaged"),
    "bomb": (bomb, "must not unpack to more than 100 times its size"),
    "long_directory": (many_members, "its table of contents has 2147483648 bytes"),
}


# --- the config; each changes the dict, or gives the text ---


def at(*keys, value):
    def change(config):
        inner = config
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value

    return change


def layer(*keys, value):
    return at("config", "layers", 1, *keys, value=value)


def instead(thing):
    return lambda config: json.dumps(thing)


def text(text):
    return lambda config: text


def metric(name, **arguments):
    config = {"module": "keras.metrics", "class_name": name, "config": arguments}
    return at("compile_config", "metrics", value=[config])


CONFIGS = {
    "no_json": (text("{"), "it is not JSON"),
    "no_text": (text(b"\xff\xfe\x00"), "it is not JSON"),
    "null": (text("null"), "must hold the config of a model"),
    "list": (text("[]"), "must hold the config of a model"),
    "deep_list": (text("[" * 90_000 + "]" * 90_000), "it is too deep"),
    "deeper_list": (text("[" * 1_000_000), "at most 100000 lists and dicts"),
    "deep_dict": (text('{"name":' * 90_000 + "1" + "}" * 90_000), "it is too deep"),
    "many_objects": (text('{"class_name":' * 30_000 + "1" + "}" * 30_000), "at most 20000 obj"),
    "long_number": (text('{"class_name": ' + "9" * 10_000 + ', "config": {}}'), "it is not JSON"),
    "wide": (text("[" + "{}," * 200_000 + "{}]"), "at most 100000 lists and dicts"),
    "no_class": (instead({"config": {}}), "must hold the config of a model"),
    "class_is_a_number": (at("class_name", value=3), "class_name must be a string"),
    "class_is_a_list": (at("class_name", value=["Sequential"]), "class_name must be a string"),
    "config_is_null": (at("config", value=None), "must be a dictionary"),
    "config_is_text": (at("config", value="x"), "to be a dict"),
    "not_a_model": (
        instead({"module": "keras.layers", "class_name": "Dense", "config": {"units": 1}}),
        "must be that of a model",
    ),
    "layers_are_a_number": (at("config", "layers", value=3), "config.json"),
    "layer_is_text": (at("config", "layers", 1, value="Dense"), "containing a 'config' key"),
    "layer_is_null": (at("config", "layers", 1, value=None), "containing a 'config' key"),
    "layer_is_a_model_config": (layer("class_name", value="Adam"), "'Adam' of module"),
    "layer_of_a_metric": (layer("module", value="keras.metrics"), "'Dense' of module"),
    "unknown_class": (layer("class_name", value="Dens"), "did you mean 'Dense'"),
    "long_class": (layer("class_name", value="D" * 1_000_000), "Could not locate class"),
    "unknown_module": (layer("module", value="os"), "'Dense' of module 'os'"),
    "registered_name": (layer("registered_name", value="os>system"), "which is not known"),
    "os_system": (
        at("config", "layers", 1, value={"module": "os", "class_name": "system", "config": {}}),
        "Could not locate class 'system' of module 'os'",
    ),
    "eval": (
        at(
            "config",
            "layers",
            1,
            value={"module": "builtins", "class_name": "eval", "config": {"name": "1"}},
        ),
        "Could not locate class 'eval' of module 'builtins'",
    ),
    "function": (
        layer(
            "config",
            "activation",
            value={
                "module": "builtins",
                "class_name": "function",
                "config": "exec",
                "registered_name": "function",
            },
        ),
        "'exec'",
    ),
    "code_of_an_activation": (layer("config", "activation", value=CODE), "never runs"),
    "code_of_a_lambda_layer": (
        at(
            "config",
            "layers",
            1,
            value={
                "module": "keras.layers",
                "class_name": "Lambda",
                "config": {"name": "own", "function": CODE},
            },
        ),
        "never runs",
    ),
    "code_of_the_loss": (at("compile_config", "loss", value=CODE), "never runs"),
    "unknown_initializer": (
        layer(
            "config",
            "kernel_initializer",
            value={"module": "subprocess", "class_name": "Popen", "config": {"args": "id"}},
        ),
        "'Popen' of module 'subprocess'",
    ),
    "units_are_huge": (layer("config", "units", value=10**12), "larger than all that the file"),
    "units_are_huger": (layer("config", "units", value=10**400), "."),
    "units_are_large": (layer("config", "units", value=10**7), "larger than all that the file"),
    "units_are_a_float": (layer("config", "units", value=5.5), "units must be a positive int"),
    "units_are_nan": (layer("config", "units", value=float("nan")), "units must be a positive int"),
    "units_are_infinite": (layer("config", "units", value=float("inf")), "units must be"),
    "units_are_text": (layer("config", "units", value="5"), "units must be a positive int"),
    "units_are_negative": (layer("config", "units", value=-5), "units must be a positive int"),
    "units_are_true": (layer("config", "units", value=True), "units must be a positive int"),
    "units_do_not_fit": (layer("config", "units", value=7), "shape"),
    "input_is_huge": (
        at("config", "layers", 0, "config", "batch_shape", value=[None, 10**12]),
        "must have size 6",
    ),
    "input_is_negative": (
        at("config", "layers", 0, "config", "batch_shape", value=[None, -6]),
        "batch_shape",
    ),
    "input_is_text": (at("config", "layers", 0, "config", "batch_shape", value="6"), "batch_shape"),
    "build_config_is_a_list": (layer("build_config", value=[1]), "build_config must be a dict"),
    "build_shape_is_text": (layer("build_config", value={"input_shape": "x"}), "config.json"),
    "unknown_argument": (layer("config", "unit", value=3), "not recognized|unexpected"),
    "array_of_records": (
        layer(
            "config",
            "kernel_initializer",
            value={
                "module": "keras.initializers",
                "class_name": "Constant",
                "config": {
                    "value": {
                        "class_name": "__numpy__",
                        "config": {"value": [1, 2], "dtype": "V1000000000"},
                    }
                },
            },
        ),
        "dtype must be one of numbers",
    ),
    "optimizer_of_another_kind": (
        at(
            "compile_config",
            "optimizer",
            value={"module": "keras.layers", "class_name": "Dense", "config": {"units": 3}},
        ),
        "optimizer",
    ),
    "rate_is_nan": (
        at("compile_config", "optimizer", "config", "learning_rate", value=float("nan")),
        "learning_rate must be",
    ),
    "compile_config_is_a_list": (at("compile_config", value=[1]), "compile_config|dict"),
    "unknown_compile_argument": (at("compile_config", "shell", value="sh"), "shell"),
    "thresholds_are_many": (metric("AUC", num_thresholds=10**10), "larger than all that the file"),
    "classes_are_many": (metric("MeanIoU", num_classes=10**6), "larger than all that the file"),
    "sensitivities_are_many": (
        metric("SensitivityAtSpecificity", specificity=0.5, num_thresholds=10**10),
        "larger than all",
    ),
}


# --- the weights; each changes the HDF5 file ---


def at_kernel(make):
    """Something else at the place of a kernel; `make(root, name)` puts it there."""

    def change(root):
        del root[KERNEL]
        make(root, KERNEL)

    return change


def dataset(shape, dtype="f4", **kwargs):
    return at_kernel(lambda root, name: root.create_dataset(name, shape, dtype, **kwargs))


def filled(values, **kwargs):
    return at_kernel(lambda root, name: root.create_dataset(name, data=values, **kwargs))


def _elsewhere(link):
    def put(root, name):
        root["elsewhere"] = np.ones((6, 5), "f4")
        root[name] = link

    return at_kernel(put)


def _virtual(root, name):
    layout = h5py.VirtualLayout((6, 5), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (6, 5))
    root.create_virtual_dataset(name, layout)


def _unknown_filter(root, name):
    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_chunk((6, 5))
    made.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (1,))
    space = h5py.h5s.create_simple((6, 5))
    data = h5py.h5d.create(root.id, name.encode(), h5py.h5t.IEEE_F32LE, space, made)
    h5py.Dataset(data).id.write_direct_chunk((0, 0), bytes(120), 0)


def _soft_group(root):
    del root["layers/dense"]
    root["layers/dense"] = h5py.SoftLink("/layers/dense_1")


def _group_that_is_a_dataset(root):
    del root["layers/dense"]
    root["layers/dense"] = np.ones(3)


def _circle(root):
    del root["layers/dense/vars"]
    root["layers/dense/vars"] = root["layers"]


COMPOUND = np.dtype([(f"f{i}", "f8", (100,)) for i in range(20)])

FILES = {
    "external_link": (_elsewhere(h5py.ExternalLink("/etc/passwd", "x")), "got a link to another"),
    "soft_link": (_elsewhere(h5py.SoftLink("/elsewhere")), "got a link to elsewhere"),
    "link_of_a_group": (_soft_group, "got a link to elsewhere"),
    "external_storage": (
        dataset((6, 5), external=[("/etc/passwd", 0, 120)]),
        "must be in the file itself",
    ),
    "virtual": (at_kernel(_virtual), "must be in the file itself"),
    "filter_from_the_disk": (at_kernel(_unknown_filter), "got filter 32015"),
    "group_is_a_dataset": (_group_that_is_a_dataset, "received 0 variables"),
    "dataset_is_a_group": (
        at_kernel(lambda root, name: root.create_group(name)),
        "must be a dataset of numbers",
    ),
    "circle": (_circle, "expected 2 variables|must be a dataset"),
    "missing": (lambda root: root.pop(KERNEL), "expected 2 variables, but received 1"),
    "empty": (lambda root: root.clear(), "received 0 variables"),
    "text": (filled(["a"] * 5), "must be a dataset of numbers"),
    "record": (dataset((6, 5), COMPOUND), "must be a dataset of numbers"),
    "object": (filled(np.array([b"x" * 100] * 30)), "must be a dataset of numbers"),
    "reference": (dataset((6, 5), h5py.ref_dtype), "must be a dataset of numbers"),
    "complex": (filled(np.ones((6, 5), "c8")), "must be a dataset of numbers"),
    "null_space": (
        at_kernel(lambda root, name: root.create_dataset(name, data=h5py.Empty("f4"))),
        "must have shape",
    ),
    "scalar": (filled(np.float32(1)), "must have shape"),
    "transposed": (filled(np.ones((5, 6), "f4")), "must have shape"),
    "claims_a_terabyte": (dataset((10**6, 10**6), chunks=(1000, 1000)), "must have shape"),
    "never_written": (dataset((6, 5), chunks=(6, 5)), "must be whole, got 0 bytes"),
    "huge_chunks": (
        dataset((6, 5), maxshape=(None, None), chunks=(30_000, 30_000), compression="gzip"),
        "must be whole|smaller chunks",
    ),
}


# --- the random state; each changes what it says, or gives another text ---


def _numpys(**values):
    return lambda state: state["generators"]["numpy"].update(values)


def _position(value):
    return lambda state: state["generators"]["numpy"]["state"].update(pos=value)


def _pythons(values):
    return lambda state: state["generators"].update(python=values)


def _stream(values):
    return lambda state: state["layers"].update({"layers/dropout": values})


NO_STATE = "state must be what state"
STATES = {
    "no_json": (lambda state: "{", "Expecting"),
    "deep": (lambda state: "[" * 10**6, "too deep"),
    "long": (lambda state: " " * 5_000_000, "at most 4000000 bytes"),
    "a_list": (lambda state: "[]", "must be a dict of generators and layers"),
    "no_layers": (lambda state: {"generators": state["generators"]}, "generators and layers"),
    "no_generators": (lambda state: {"layers": {}}, NO_STATE),
    "seed_is_text": (lambda state: state["generators"].update(seed="x"), NO_STATE),
    "seed_is_negative": (lambda state: state["generators"].update(seed=-1), "from 0 to"),
    "seed_is_infinite": (lambda state: state["generators"].update(seed=float("inf")), NO_STATE),
    "unknown_kind": (_numpys(bit_generator="RandomState"), NO_STATE),
    "kind_is_a_list": (_numpys(bit_generator=[]), NO_STATE),
    "state_is_null": (_numpys(state=None), NO_STATE),
    "key_is_short": (_numpys(state={"key": [1] * 623, "pos": 0}), NO_STATE),
    "key_is_large": (_numpys(state={"key": [2**70] * 624, "pos": 0}), NO_STATE),
    "position_is_beyond": (_position(625), "pos must be from 0 to 624"),
    "position_is_far": (_position(10**30), "pos must be from 0 to 624"),
    "position_is_negative": (_position(-1), "pos must be from 0 to 624"),
    "position_is_nan": (_position(float("nan")), "pos must be from 0 to 624"),
    "spare_number_is_text": (_numpys(has_gauss=1, gauss="x"), NO_STATE),
    "pythons_is_text": (_pythons("abc"), NO_STATE),
    "pythons_is_short": (_pythons([3, [1] * 624, None]), NO_STATE),
    "pythons_position_is_far": (_pythons([3, [1] * 624 + [10**6], None]), NO_STATE),
    "pythons_version": (_pythons([4, [1] * 624 + [1], None]), NO_STATE),
    "pythons_spare_number": (_pythons([3, [1] * 624 + [1], [2]]), NO_STATE),
    "stream_is_a_number": (_stream(3), "must have pairs of ints"),
    "stream_of_one": (_stream([[1]]), "must have pairs of ints"),
    "stream_is_negative": (_stream([[1, -1]]), "must have pairs of ints"),
    "stream_is_large": (_stream([[2**32, 1]]), "must have pairs of ints"),
    "stream_is_a_fraction": (_stream([[1.5, 1]]), "must have pairs of ints"),
}


def weights_with(change, data):
    """The bytes of a weights file after a change."""
    buffer = io.BytesIO(data)
    with h5py.File(buffer, "r+") as root:
        change(root)
    return buffer.getvalue()


def config_with(change, data):
    """The text of a config after a change."""
    config = json.loads(data)
    changed = change(config)
    if changed is None or isinstance(changed, dict):
        return json.dumps(changed or config)
    return changed
