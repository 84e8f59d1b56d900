"""TensorBoard reads the values that `fit` logged."""

import copy
import pickle
import struct
import sys

import numpy as np
import pytest

import cdl
from cdl import callbacks, layers
from cdl.layers import Dense, Input
from cdl.models import Sequential
from cdl.optimizers import SGD
from cdl.optimizers.schedules import ExponentialDecay

pytest.importorskip("tensorboardX")
X = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
Y = X[:, :2] * 2


def events(folder):
    """All values in the event files of a folder: (tag, step, value)."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.glob("events.*")):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            found += [(value.tag, event.step, value) for value in event.summary.value]
            data = data[16 + length :]
    return found


def scalars(folder):
    found = {}
    for tag, step, value in events(folder):
        if value.HasField("simple_value"):
            found.setdefault(tag, []).append((step, pytest.approx(value.simple_value, rel=1e-6)))
    return found


def net(rate=0.1):
    model = Sequential([Input((4,)), Dense(3, "relu"), Dense(2)])
    model.compile(SGD(rate), "mse", metrics=["mae"])
    return model


def fit(model, board, **kwargs):
    given = {"epochs": 3, "batch_size": 10, "verbose": 0, "validation_split": 0.5} | kwargs
    return model.fit(X, Y, callbacks=[board], **given).history


def test_epochs_are_written_for_training_and_validation(tmp_path):
    history = fit(net(), callbacks.TensorBoard(tmp_path))
    for folder, prefix in (("train", ""), ("validation", "val_")):
        found = scalars(tmp_path / folder)
        for name in ("loss", "mae"):
            key = "mean_absolute_error" if f"{prefix}{name}" not in history else name
            values = history[f"{prefix}{key}"]
            assert [(s, v) for s, v in enumerate(values)] == found[f"epoch_{key}"]
    assert not any(tag.startswith("batch_") for tag, _, _ in events(tmp_path / "train"))


def test_rate_is_that_of_the_schedule(tmp_path):
    model = net(ExponentialDecay(0.1, 2, 0.5))
    fit(model, callbacks.TensorBoard(tmp_path))
    rates = scalars(tmp_path / "train")["epoch_learning_rate"]
    assert [step for step, _ in rates] == [0, 1, 2]
    assert [0.1 * 0.5**n for n in (1, 2, 3)] == [value for _, value in rates]


@pytest.mark.parametrize(("freq", "steps"), [("batch", range(8)), (3, [2, 5])])
def test_batches_are_written_if_they_are_asked_for(freq, steps, tmp_path):
    board = callbacks.TensorBoard(tmp_path, update_freq=freq, write_steps_per_second=True)
    fit(net(), board, epochs=2, validation_split=0)
    found = scalars(tmp_path / "train")
    assert [step for step, _ in found["batch_loss"]] == list(steps)
    assert [step for step, _ in found["epoch_steps_per_second"]] == [0, 1]
    assert len(found["batch_steps_per_second"]) == len(list(steps))


def test_epochs_alone_do_not_bring_the_core_back_at_each_batch(tmp_path):
    from cdl.callbacks import CallbackList

    assert not CallbackList([callbacks.TensorBoard(tmp_path)]).wants_batches("train")
    assert CallbackList([callbacks.TensorBoard(tmp_path, update_freq=5)]).wants_batches("train")


def test_histograms_are_those_of_the_weights(tmp_path):
    model = net()
    fit(model, callbacks.TensorBoard(tmp_path, histogram_freq=2), epochs=3)
    found = {}
    for tag, step, value in events(tmp_path / "train"):
        if value.HasField("histo"):
            found.setdefault(tag, []).append((step, value.histo))
    assert set(found) == {f"{weight.path}/histogram" for weight in model.weights}
    for weight in model.weights:
        steps = found[f"{weight.path}/histogram"]
        assert [step for step, _ in steps] == [0, 2]
        last, values = steps[-1][1], weight.numpy()
        assert (last.num, last.min, last.max) == (values.size, values.min(), values.max())


def test_model_is_there_as_text(tmp_path):
    model = net()
    fit(model, callbacks.TensorBoard(tmp_path))
    texts = {tag: value for tag, _, value in events(tmp_path / "train") if "model/" in tag}
    assert len(texts) == 2
    whole = b"".join(each.tensor.string_val[0] for each in texts.values()).decode()
    assert "(Dense)" in whole
    assert '"class_name": "Sequential"' in whole
    fit(net(), callbacks.TensorBoard(tmp_path / "b", write_graph=False))
    assert not any("model/" in tag for tag, _, _ in events(tmp_path / "b" / "train"))


def test_graph_has_a_node_for_each_layer_and_says_what_it_reads(tmp_path):
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.graph_pb2 import GraphDef

    x = Input((3,), name="x")
    both = layers.Add(name="both")([Dense(2, name="a")(x), Dense(2, name="b")(x)])
    model = cdl.Model(x, cdl.ops.tanh(both))
    model.compile("sgd", "mse")
    model.fit(
        np.ones((4, 3)), np.ones((4, 2)), verbose=0, callbacks=callbacks.TensorBoard(tmp_path)
    )
    (path,) = (tmp_path / "train").glob("events.*")
    data, graph = path.read_bytes(), GraphDef()
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        graph.MergeFromString(Event.FromString(data[12 : 12 + length]).graph_def)
        data = data[16 + length :]
    found = {node.name: (node.op, list(node.input)) for node in graph.node}
    assert found["x"] == ("InputLayer", [])
    assert found["both"] == ("Add", ["a", "b"])
    assert ("Tanh", ["both"]) in found.values()


def test_evaluations_are_written_by_steps(tmp_path):
    model, board = net(), callbacks.TensorBoard(tmp_path)
    fit(model, board, epochs=2, validation_split=0)
    loss = model.evaluate(X, Y, verbose=0, callbacks=[board])[0]
    found = scalars(tmp_path / "validation")
    assert found["evaluation_loss_vs_iterations"] == [(8, loss)]


def test_callback_is_copied_without_its_files(tmp_path):
    board = callbacks.TensorBoard(tmp_path)
    fit(net(), board)
    assert pickle.loads(pickle.dumps(board)).log_dir == copy.copy(board).log_dir == str(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"log_dir": 3}, TypeError, "log_dir must be a path"),
        ({"histogram_freq": -1}, ValueError, "histogram_freq must be an int >= 0"),
        ({"update_freq": "step"}, ValueError, "update_freq must be 'epoch', 'batch' or a number"),
        ({"update_freq": 0}, ValueError, "update_freq must be 'epoch' or a positive"),
        ({"write_images": 2}, ValueError, "write_images must be True or False"),
        ({"profile_batch": 2}, ValueError, "profile_batch must be 0"),
        ({"embeddings_freq": -1}, ValueError, "embeddings_freq must be an int >= 0"),
    ],
    ids=str,
)
def test_bad_argument_is_refused(arguments, error, text):
    with pytest.raises(error, match=text):
        callbacks.TensorBoard(**arguments)


def test_missing_package_is_an_error_that_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"pip install 'cdl-nn\[tensorboard\]'"):
        fit(net(), callbacks.TensorBoard(tmp_path))


def test_weights_are_written_as_images(tmp_path):
    pytest.importorskip("PIL")
    board = callbacks.TensorBoard(tmp_path, histogram_freq=2, write_images=True)
    model = net()
    fit(model, board)
    found = {}
    for tag, step, value in events(tmp_path / "train"):
        if value.HasField("image"):
            found.setdefault(tag, []).append((step, value.image.height, value.image.width))
    kernel, bias = model.layers[0].weights
    assert [each[0] for each in found[f"{kernel.path}/image"]] == [0, 2]
    assert found[f"{kernel.path}/image"][0][1:] == (3, 4)  # (4, 3) on its side
    assert found[f"{bias.path}/image"][0][1:] == (3, 1)


@pytest.mark.parametrize(
    ("shape", "images"),
    [
        ((5,), (1, 5, 1, 1)),
        ((4, 3), (1, 3, 4, 1)),
        ((3, 4), (1, 3, 4, 1)),
        ((3, 4, 7), (3, 3, 4, 1)),
        ((2, 5, 6, 3), (2, 5, 6, 3)),
        ((3, 3, 8, 16), None),
        ((2, 2, 2, 2, 2), None),
    ],
)
def test_images_of_weights(shape, images):
    found = callbacks.weight_images.as_images(np.ones(shape))
    assert (None if found is None else found.shape) == images


def test_embeddings_are_named_and_written(tmp_path):
    model = Sequential(
        [Input((2,)), layers.Embedding(5, 3, name="words"), layers.Flatten(), Dense(1)]
    )
    model.compile("sgd", "mse")
    x, y = np.ones((8, 2), int), np.ones((8, 1))
    board = callbacks.TensorBoard(tmp_path, embeddings_freq=2, embeddings_metadata="names.tsv")
    model.fit(x, y, epochs=3, callbacks=[board], verbose=0)
    assert (tmp_path / "projector_config.pbtxt").read_text().splitlines() == [
        "embeddings {",
        '  tensor_name: "layer_with_weights-0/embeddings/.ATTRIBUTES/VARIABLE_VALUE"',
        '  metadata_path: "names.tsv"',
        "}",
    ]
    names = sorted(path.name for path in (tmp_path / "train").glob("*.h5"))
    assert names == [f"keras_embedding.ckpt-{epoch}.weights.h5" for epoch in (0, 2)]
    model.load_weights(tmp_path / "train" / names[1])
    board = callbacks.TensorBoard(tmp_path, embeddings_freq=1, embeddings_metadata={"z": "a"})
    with pytest.raises(ValueError, match=r"Unrecognized `Embedding` layer names .* got"):
        model.fit(x, y, callbacks=[board], verbose=0)
