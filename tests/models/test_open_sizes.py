"""Models whose inputs have open axes: a program for each size, one set of weights and metrics."""

import gc
import threading
import weakref

import numpy as np
import pytest

import cdl
from cdl import Input, layers, ops
from cdl.trainers import sizes

RNG = np.random.default_rng(0)


def texts(lengths, rows=6, words=20):
    """A batch of word numbers for each length, and two classes."""
    return [(RNG.integers(1, words, (rows, n)), RNG.integers(0, 2, rows)) for n in lengths]


def bag(length=None, seed=3):
    cdl.utils.set_random_seed(seed)
    model = cdl.Sequential(
        [
            Input((length,)),
            layers.Embedding(20, 4),
            layers.GlobalAveragePooling1D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def images(size=(None, None), seed=3):
    cdl.utils.set_random_seed(seed)
    x = Input((*size, 3))
    y = layers.Conv2D(4, 3, activation="relu", padding="same")(x)
    y = layers.BatchNormalization()(layers.MaxPooling2D(2)(y))
    y = layers.Dense(2)(layers.Dropout(0.5)(layers.GlobalMaxPooling2D()(y)))
    model = cdl.Model(x, y)
    model.compile(cdl.optimizers.SGD(0.1, momentum=0.9), "mse", metrics=["mae"])
    return model


def tagger(length=None, seed=3):
    cdl.utils.set_random_seed(seed)
    x = Input((length, 5))
    y = layers.Dense(3, activation="softmax")(layers.Conv1D(4, 3, padding="same")(x) * 2.0)
    model = cdl.Model(x, y)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


class Squares(cdl.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, x):
        return ops.mean(ops.square(self.dense(x)), axis=1) * x.shape[1]


def test_shapes_carry_none_and_summary_prints_it(capsys):
    model = bag()
    assert model.input_shape == (None, None)
    assert model.layers[0].output.shape == (None, None, 4)
    model.summary()
    assert "(None, None, 4)" in capsys.readouterr().out


@pytest.mark.parametrize("length", [1, 2, 7, 40])
def test_predictions_have_the_bits_of_a_model_of_that_size(length):
    ((x, _),) = texts([length])
    assert np.array_equal(bag().predict(x, verbose=0), bag(length).predict(x, verbose=0))
    assert np.array_equal(bag()(x), bag(length)(x))


@pytest.mark.parametrize("size", [(5, 5), (8, 3), (2, 12)])
def test_steps_have_the_bits_of_a_model_of_that_size(size):
    x, y = RNG.normal(size=(7, *size, 3)), RNG.normal(size=(7, 2))
    found = []
    for model in (images(), images(size)):
        losses = [model.train_on_batch(x, y) for _ in range(3)]
        found.append([*losses, *model.get_weights()])
    for here, there in zip(*found, strict=True):
        assert np.array_equal(here, there)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"gradient_accumulation_steps": 2},
        {"use_ema": True, "ema_overwrite_frequency": 3},
        {"global_clipnorm": 0.1},
        {"learning_rate": cdl.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)},
    ],
    ids=str,
)
def test_optimizer_seeds_and_statistics_go_on_from_size_to_size(options):
    """The maximum over equal steps is the same for any number of them.

    So wide batches of equal steps train as narrow ones do.
    """
    narrow = [(RNG.normal(size=(6, 1, 4)), RNG.normal(size=(6, 2))) for _ in range(6)]

    def net():
        cdl.utils.set_random_seed(5)
        x = Input((None, 4))
        y = layers.GlobalMaxPooling1D()(layers.Dense(8, activation="tanh")(x))
        y = layers.BatchNormalization()(layers.Dropout(0.3)(y))
        model = cdl.Model(x, layers.Dense(2)(y))
        model.compile(cdl.optimizers.Adam(**options), "mse")
        return model

    same, others = net(), net()
    for i, (x, y) in enumerate(narrow):
        same.train_on_batch(x, y)
        others.train_on_batch(np.repeat(x, 1 + i % 3, axis=1), y)
    assert int(others.optimizer.iterations) == int(same.optimizer.iterations)
    for a, b in zip(same.get_weights(), others.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_fit_of_batches_of_several_lengths_equals_steps_one_by_one():
    batches = texts([3, 9, 3, 5, 9, 1])
    fitted, stepped = bag(), bag()
    history = fitted.fit((batch for batch in batches), verbose=0).history
    results = [stepped.train_on_batch(x, y) for x, y in batches]
    for a, b in zip(fitted.get_weights(), stepped.get_weights(), strict=True):
        assert np.array_equal(a, b)
    losses, accuracies = zip(*results, strict=True)
    assert history["loss"][0] == pytest.approx(np.mean(losses), rel=1e-6)
    assert history["accuracy"][0] == pytest.approx(np.mean(accuracies), rel=1e-6)


class Buckets(cdl.utils.PyDataset):
    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, i):
        return self.batches[i]


def test_a_dataset_trains_and_validates_on_its_own_lengths():
    model = bag()
    history = model.fit(
        Buckets(texts([4, 8, 12])), epochs=2, validation_data=Buckets(texts([2, 6])), verbose=0
    ).history
    assert [len(values) for values in history.values()] == [2] * 4
    loss, accuracy = model.evaluate(Buckets(batches := texts([7, 1, 7])), verbose=0)
    each = [model.evaluate(x, y, verbose=0) for x, y in batches]
    np.testing.assert_allclose([loss, accuracy], np.mean(each, axis=0), rtol=1e-6)
    assert dict(zip(("loss", "accuracy"), [loss, accuracy], strict=True)) != {}


def test_metrics_in_python_and_the_users_see_all_lengths():
    seen = []

    class Count(cdl.metrics.Metric):
        def __init__(self):
            super().__init__(name="count")
            self.n = self.add_weight(name="n")

        def update_state(self, y_true, y_pred, sample_weight=None):
            seen.append(y_pred.shape[1])
            self.n.assign(self.n + float(np.asarray(y_pred).shape[1]))

        def result(self):
            return self.n.numpy()

    model = tagger()
    model.compile("adam", lambda y, p: cdl.ops.mean(p, axis=(1, 2)), metrics=[Count()])
    batches = [(RNG.normal(size=(2, n, 5)), np.zeros((2, n))) for n in (4, 6, 4, 5)]
    with pytest.warns(cdl.UntracedWarning, match="metric 'count'"):
        loss, count = model.evaluate((b for b in batches), verbose=0)
    assert count == 19
    assert seen[-4:] == [4, 6, 4, 5]
    means = [model.predict(x, verbose=0).mean() for x, _ in batches]
    assert loss == pytest.approx(np.mean(means), rel=1e-6)


def test_losses_and_metrics_that_are_traced_are_traced_for_each_size():
    class Positions(cdl.metrics.Metric):
        def __init__(self):
            super().__init__(name="positions")
            self.n = self.add_weight(name="n")

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.n.assign(self.n + y_pred.shape[1] * ops.mean(ops.max(y_pred, axis=1)))

        def result(self):
            return self.n.numpy()

    def by_length(y, p):
        return ops.sum(ops.square(y - p), axis=(1, 2)) * p.shape[1]

    model = tagger()
    model.compile("sgd", by_length, metrics=[by_length, Positions()])
    batches = [(RNG.normal(size=(2, n, 5)), RNG.normal(size=(2, n, 3))) for n in (4, 6, 4, 5)]
    results = model.evaluate((b for b in batches), verbose=0)
    outputs = [(y, model.predict(x, verbose=0)) for x, y in batches]
    loss = np.mean([by_length(y.astype("f4"), p) for y, p in outputs])
    positions = sum(p.shape[1] * p.max(axis=1).mean() for _, p in outputs)
    np.testing.assert_allclose(results, [loss, loss, positions], rtol=1e-5)
    x, y = batches[1]
    weighted = model.test_on_batch(x, y, sample_weight=np.array([1.0, 0.0]))[0]
    assert weighted == pytest.approx(by_length(y, outputs[1][1])[0] / 2, rel=1e-5)


def test_targets_of_each_step_have_the_length_of_their_batch():
    model = tagger()
    batches = [(RNG.normal(size=(4, n, 5)), RNG.integers(0, 3, (4, n))) for n in (3, 6, 4)]
    model.fit((batch for batch in batches), verbose=0)
    x, y = batches[0]
    with pytest.raises(ValueError, match=r"y must have shape \(n, 3\)"):
        model.train_on_batch(x, y[:, :2])
    weights = RNG.uniform(size=(4, 3))
    assert np.isfinite(model.train_on_batch(x, y, sample_weight=weights)[0])


def test_known_axes_are_checked():
    model = tagger()
    with pytest.raises(ValueError, match=r"x must have shape \(n, None, 5\)"):
        model.predict(np.ones((2, 3, 4)), verbose=0)
    with pytest.raises(ValueError, match=r"x must have shape \(n, None, 5\)"):
        model(np.ones((2, 5)))


def test_predict_joins_batches_along_the_first_axis_only():
    model = bag()
    assert model.predict(Buckets(texts([4, 8])), verbose=0).shape == (12, 2)
    with pytest.raises(ValueError, match="concatenation axis"):
        tagger().predict(((np.ones((2, n, 5)),) for n in (3, 4)), verbose=0)


def test_programs_are_kept_by_size_and_the_last_used_stay(monkeypatch):
    monkeypatch.setattr(sizes, "MOST", 3)
    model = bag()
    for length in (1, 2, 3, 1, 4):
        model.predict(np.ones((2, length)), verbose=0)
    assert list(model._sizes_made._predictors) == [((3,),), ((1,),), ((4,),)]
    kept = model._sizes_made._predictors[((1,),)]
    model.predict(np.ones((2, 1)), verbose=0)
    assert model._predictors_made is kept


def test_programs_take_no_more_memory_than_stated(monkeypatch):
    model = tagger()
    model.predict(np.ones((2, 100, 5)), verbose=0)
    monkeypatch.setattr(sizes, "MOST_BYTES", 3 * model._predictors_made.bytes)
    for length in range(80, 100):
        x, y = np.ones((2, length, 5)), np.zeros((2, length))
        model.predict(x, verbose=0)
        model.train_on_batch(x, y)
    found = model._sizes_made._predictors.values()
    assert len(found) <= 4
    assert sum(each.bytes for each in found) <= sizes.MOST_BYTES
    assert len(model._executors._idle) <= 8


def test_a_model_goes_with_its_last_reference():
    model = bag()
    model.fit((batch for batch in texts([2, 3, 4])), verbose=0)
    model.predict(np.ones((2, 5)), verbose=0)
    reference = weakref.ref(model)
    gc.disable()
    try:
        del model
        assert reference() is None
    finally:
        gc.enable()


def test_a_call_of_the_users_sees_the_sizes_of_its_batch():
    model = Squares()
    first = model(RNG.normal(size=(3, 4, 2)).astype(np.float32))
    for length in (1, 6, 4):
        x = RNG.normal(size=(3, length, 2)).astype(np.float32)
        kernel, bias = model.get_weights()
        expected = np.sum(np.square(x @ kernel + bias), axis=1)
        np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-4, atol=1e-5)
    assert first.shape == (3, 3)


def test_open_models_are_layers_of_others():
    inner, x = tagger(), Input((6, 5))
    assert inner(x).shape == (None, 6, 3)
    assert inner(Input((None, 5))).shape == (None, None, 3)
    outer = cdl.Model(x, layers.Flatten()(inner(x)))
    data = RNG.normal(size=(2, 6, 5))
    np.testing.assert_array_equal(
        outer.predict(data, verbose=0), inner.predict(data, verbose=0).reshape(2, 18)
    )


class Positions(layers.Layer):
    """Adds a number for each place, and reads the length in Python."""

    def __init__(self, units):
        super().__init__()
        self.wide, self.inner = layers.Dense(units, use_bias=False), layers.Dense(4)

    def call(self, x):
        length = x.shape[1]
        y = self.inner(self.wide(x + ops.arange(length * 1.0)[:, None]))
        return ops.reshape(y, (-1, length * 4))


@pytest.mark.parametrize("units", [6, 83, 89])  # 83 stands for an open size where it can
def test_a_layer_of_the_users_may_compute_with_an_open_size(units):
    layer, x = Positions(units), Input((None, 3))
    y = layer(x)
    assert y.shape == (None, None)
    assert layer.inner.get_build_config() == {"input_shape": (None, None, units)}
    model, (wide, kernel, bias) = cdl.Model(x, y), layer.get_weights()
    for length in (1, 5, 2):
        data = RNG.normal(size=(2, length, 3)).astype(np.float32)
        placed = data + np.arange(length)[:, None]
        expected = (placed @ wide @ kernel + bias).reshape(2, -1)
        np.testing.assert_allclose(model.predict(data, verbose=0), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="shape of weight 'kernel' must be fully-defined"):
        layers.Dense(3)(y)


def test_a_model_of_the_users_is_built_for_open_shapes():
    model = Squares()
    model.build((None, None, 2))
    assert model.get_build_config() == {"input_shape": (None, None, 2)}
    assert model.output_shape == (None, 3)
    assert model.dense.get_build_config() == {"input_shape": (None, None, 2)}
    assert model(np.ones((2, 5, 2))).shape == (2, 3)


def test_a_loop_over_an_open_axis_is_traced_for_each_size():
    class Last(cdl.Model):
        def call(self, x):
            state = x[:, 0]
            for i in range(1, x.shape[1]):
                state = state * 0.5 + x[:, i]
            return state

    model = Last()
    model.build((None, None, 2))
    assert model.output_shape == (None, 2)
    x = RNG.normal(size=(3, 3, 2)).astype(np.float32)
    expected = x[:, 0] / 4 + x[:, 1] / 2 + x[:, 2]
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6)


def test_a_mask_of_an_embedding_follows_each_length():
    def net(length):
        cdl.utils.set_random_seed(4)
        x = Input((length,))
        y = layers.Embedding(20, 4, mask_zero=True)(x)
        y = layers.Dense(3, activation="softmax")(layers.Dropout(0.2)(y))
        model = cdl.Model(x, y)
        model.compile("adam", "sparse_categorical_crossentropy", weighted_metrics=["accuracy"])
        return model

    for length in (2, 5):
        x = RNG.integers(0, 3, (8, length))
        y = RNG.integers(0, 3, (8, length))
        assert net(None).train_on_batch(x, y) == net(length).train_on_batch(x, y)


def test_steps_of_ones_own_and_eager_runs_take_all_lengths():
    seen = []

    class Own(Squares):
        def train_step(self, data):
            seen.append(data[0].shape)
            return super().train_step(data)

    batches = [(RNG.normal(size=(2, n, 4)), RNG.normal(size=(2, 3))) for n in (3, 5, 3, 1)]
    found = []
    for cls, eagerly in ((Squares, False), (Squares, True), (Own, False)):
        cdl.utils.set_random_seed(7)
        model = cls()
        model.compile("sgd", "mse", metrics=["mae"], run_eagerly=eagerly)
        history = model.fit((batch for batch in batches), verbose=0).history
        found.append([*history["loss"], *history["mae"]])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6)
    np.testing.assert_allclose(found[2], found[0], rtol=1e-6)
    assert [shape[1] for shape in seen] == [3, 5, 3, 1]


def test_gradients_and_explanations_are_for_the_size_of_the_data():
    model = tagger()
    x, y = RNG.normal(size=(2, 6, 5)), RNG.integers(0, 3, (2, 6))
    found = [each.gradients(x, y).values() for each in (model, tagger(6))]
    for gradient, expected in zip(*found, strict=True):
        np.testing.assert_array_equal(gradient, expected)
    for length in (6, 3):
        assert cdl.explain.saliency(model, x[:, :length]).shape == (2, length, 5)
        assert cdl.grad(model)(x[:, :length]).shape == (2, length, 5)


def test_several_inputs_have_sizes_of_their_own():
    a, b = Input((None, 4), name="a"), Input((None,), name="b")
    words = layers.GlobalAveragePooling1D()(layers.Embedding(9, 3)(b))
    model = cdl.Model([a, b], layers.Concatenate()([layers.GlobalMaxPooling1D()(a), words]))
    for n, m in ((3, 7), (7, 3), (1, 1)):
        x = {"a": RNG.normal(size=(2, n, 4)), "b": RNG.integers(0, 9, (2, m))}
        assert model.predict(x, verbose=0).shape == (2, 7)
    assert next(iter(model._sizes_made._predictors)) == ((3, 4), (7,))


def test_files_and_configs_keep_open_axes(tmp_path):
    for make, x in ((bag, np.ones((2, 5))), (images, np.ones((2, 4, 6, 3)))):
        model = make()
        model.save(tmp_path / "m.keras")
        again = cdl.models.load_model(tmp_path / "m.keras")
        assert again.input_shape == model.input_shape
        np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
        copy = cdl.models.clone_model(model)
        assert copy.input_shape == model.input_shape
        assert copy.predict(x, verbose=0).shape == (2, 2)
    assert '"batch_shape": [null, null, null, 3]' in images().to_json()


def test_an_artifact_is_for_the_sizes_of_its_signature(tmp_path):
    model = tagger()
    with pytest.raises(ValueError, match=r"input_signature=\[InputSpec\(shape=\(None, 100, 5\)\)"):
        model.export(tmp_path / "m.c")
    with pytest.raises(ValueError, match="must have shapes that fit the inputs"):
        model.export(tmp_path / "m.c", input_signature=(None, 7, 4))
    model.predict(np.ones((2, 9, 5)), verbose=0)
    for signature in ((None, 7, 5), [cdl.InputSpec(shape=(None, 7, 5))], [Input((7, 5))]):
        model.export(tmp_path / "m.c", input_signature=signature)
        assert "35" in (tmp_path / "m.h").read_text()


def test_the_program_of_a_model_is_that_of_the_last_sizes():
    model = bag()
    with pytest.raises(ValueError, match=r"the sizes of input .* must be known for its program"):
        model.program()
    model.predict(np.ones((2, 13)), verbose=0)
    assert "[13]" in str(model.program())
    assert "[13]" in str(model.program(training=True))


def test_lists_of_several_lengths_say_what_to_do():
    model = bag()
    for x in ([np.ones(3), np.ones(4)], [[1, 2], [1]], np.array([[1, 2], [1]], object)):
        with pytest.raises(ValueError, match="pad_sequences, or batches of one length each"):
            model.predict(x, verbose=0)


def test_a_sequential_with_an_input_has_its_sizes():
    model = cdl.Sequential([cdl.Input((3, 4)), layers.Dense(3)])
    model(np.ones((2, 3, 4)))
    with pytest.raises(ValueError, match="an Input with None in place of a size takes any"):
        model(np.ones((2, 5, 4)))


def test_losses_that_are_not_finite_are_looked_for_at_their_size():
    model = tagger()
    with pytest.warns(UserWarning, match="x holds NaN"):
        model.fit(np.full((2, 4, 5), np.nan), np.zeros((2, 4)), verbose=0)


@pytest.mark.parametrize(
    ("make", "size", "rest"), [(bag, 7, ()), (tagger, 6, (5,)), (images, (9, 5), (3,))]
)
def test_the_program_for_a_size_is_that_of_a_model_of_that_size(make, size, rest):
    """All promises of programs, such as equal bits on any number of threads, hold of it."""
    texts = []
    for given in (None, size) if isinstance(size, int) else ((None, None), size):
        cdl.utils.clear_session()
        model = make(given)
        sizes = (size,) if isinstance(size, int) else size
        model.predict(np.ones((2, *sizes, *rest)), verbose=0)
        texts.append((str(model.program()), str(model.program(training=True))))
    assert texts[0] == texts[1]


def test_threads_may_predict_other_sizes_at_once(monkeypatch):
    monkeypatch.setattr(sizes, "MOST", 4)
    model, wrong = tagger(), []
    data = {n: RNG.normal(size=(3, n, 5)) for n in range(1, 13)}
    expected = {n: model.predict(x, verbose=0) for n, x in data.items()}

    def work(seed):
        for n in np.random.default_rng(seed).integers(1, 13, 60):
            if not np.array_equal(model.predict(data[n], verbose=0), expected[n]):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for act in (threading.Thread.start, threading.Thread.join):
        list(map(act, threads))
    assert not wrong
    assert len(model._sizes_made._predictors) <= 4
