"""LoRA: a frozen weight with two narrow matrices beside it; Keras's numbers are in golden/."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Event

import numpy as np
import pytest

import cdl
from cdl import Input, Model, Sequential, layers
from cdl.layers import Dense

RNG = np.random.default_rng(3)
X, Y = (RNG.normal(size=(20, n)).astype(np.float32) for n in (5, 3))
STEPS, IMAGES = (RNG.normal(size=s).astype(np.float32) for s in ((6, 4, 5), (6, 5, 4, 4)))
TOKENS = RNG.integers(0, 7, (6, 4))

MAKERS = {
    "Dense": (lambda **o: Dense(3, "tanh", **o), X),
    "Dense of steps": (lambda **o: Dense(3, use_bias=False, **o), STEPS),
    "EinsumDense": (lambda **o: layers.EinsumDense("abc,cde->abde", (4, 2, 3), **o), STEPS),
    "EinsumDense, sum over the last": (
        lambda **o: layers.EinsumDense("abc,dc->abd", (4, 3), bias_axes="d", **o),
        STEPS,
    ),
    "EinsumDense, last in both": (
        lambda **o: layers.EinsumDense("abc,bc->abc", (4, 5), **o),
        STEPS,
    ),
    "Embedding": (lambda **o: layers.Embedding(7, 3, **o), TOKENS),
    "Conv1D": (lambda **o: layers.Conv1D(3, 2, padding="causal", **o), STEPS),
    "Conv2D": (lambda **o: layers.Conv2D(3, 2, activation="tanh", **o), IMAGES),
    "Conv2D of groups": (lambda **o: layers.Conv2D(4, 2, groups=2, **o), IMAGES),
    "Conv2D, channels first": (
        lambda **o: layers.Conv2D(3, 2, data_format="channels_first", **o),
        IMAGES,
    ),
    "Conv3D": (lambda **o: layers.Conv3D(2, 2, **o), IMAGES[..., None]),
}


def around(layer, x):
    return Sequential([Input(x.shape[1:]), layer])


def enabled(name, alpha=3):
    """A net of one layer with LoRA, with A and B away from zeros; its input."""
    make, x = MAKERS[name]
    net = around(make(), x)
    net.layers[0].enable_lora(2, lora_alpha=alpha)
    net.set_weights([RNG.normal(size=w.shape) for w in net.weights])
    return net, x


def weight_of(layer):
    return layer.embeddings if isinstance(layer, layers.Embedding) else layer.kernel


def without(name, layer):
    """A net with one matrix in place of the layer's three."""
    make, x = MAKERS[name]
    net = around(make(), x)
    biases = [w.numpy() for w in layer.weights if w.name == "bias"]
    net.set_weights([weight_of(layer), *biases])
    return net


@pytest.mark.parametrize("name", MAKERS)
def test_layer_gives_what_one_with_the_sum_of_the_matrices_gives(name):
    net, x = enabled(name)
    expected = without(name, net.layers[0])
    np.testing.assert_allclose(net.predict(x), expected.predict(x), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(net(x), expected(x), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(net.layers[0](x), expected(x), rtol=1e-5, atol=1e-5)
    assert net.layers[0].compute_output_shape(x.shape) == expected.predict(x).shape


@pytest.mark.parametrize("name", MAKERS)
def test_gradients_of_both_matrices_are_central_differences(name):
    net, x = enabled(name)
    y = RNG.normal(size=net.predict(x).shape)
    net.compile("sgd", "mse")
    found = net.gradients(x, y)
    expected = without(name, net.layers[0])
    layer = net.layers[0]
    what = layer._adapted
    by_side = {side: getattr(layer, f"lora_{what}_{side}") for side in "ab"}
    a, b = (by_side[side].numpy().astype(np.float64) for side in "ab")
    # Gradients are those of the chain rule for the sum of the matrices, in double precision.
    expected.compile("sgd", "mse")
    dw = next(iter(expected.gradients(x, y).values())).astype(np.float64)
    rows = int(np.prod(dw.shape[:-1]))
    flat = dw.reshape(rows, -1)
    da, db = 1.5 * flat @ b.T, 1.5 * a.reshape(rows, -1).T @ flat
    np.testing.assert_allclose(found[by_side["a"].path], da.reshape(a.shape), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[by_side["b"].path], db, rtol=1e-4, atol=1e-5)

    def loss_at(variable, place, step):
        values = variable.numpy()
        moved = values.copy()
        moved[place] += step
        variable.assign(moved)
        loss = net.evaluate(x, y, verbose=0)
        variable.assign(values)
        return loss

    for variable in by_side.values():
        place = tuple(n // 2 for n in variable.shape)
        rise = (loss_at(variable, place, 0.02) - loss_at(variable, place, -0.02)) / 0.04
        np.testing.assert_allclose(found[variable.path][place], rise, rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("name", MAKERS)
def test_training_moves_the_two_matrices_and_the_bias_alone(name):
    net, x = enabled(name)
    before = {w.path: w.numpy() for w in net.weights}
    net.compile("adam", "mse")
    net.fit(x, RNG.normal(size=net.predict(x).shape), epochs=2, verbose=0)
    moved = [w.path for w in net.weights if not np.array_equal(before[w.path], w.numpy())]
    assert moved == [w.path for w in net.trainable_weights]
    assert [w.name for w in net.non_trainable_weights] == [net.layers[0]._adapted]
    slots = [v.shape for v in net.optimizer.variables if v.shape]
    assert sorted(slots) == sorted(2 * [w.shape for w in net.trainable_weights])


def test_kernel_of_the_sum_has_the_bits_of_a_layer_without_while_b_is_zeros():
    net = around(Dense(3), X)
    before = net.predict(X)
    net.layers[0].enable_lora(2)
    assert not net.layers[0].lora_kernel_b.numpy().any()
    assert net.layers[0].lora_kernel_a.numpy().any()
    np.testing.assert_array_equal(net.predict(X), before)


def test_initializers_of_both_matrices():
    layer = Dense(3)
    layer.build((None, 4))
    layer.enable_lora(2, a_initializer="ones", b_initializer=cdl.initializers.Constant(0.5))
    np.testing.assert_array_equal(layer.lora_kernel_a, np.ones((4, 2)))
    np.testing.assert_array_equal(layer.lora_kernel_b, np.full((2, 3), 0.5))
    np.testing.assert_allclose(layer.kernel, layer._kernel.numpy() + 1.0)


def test_predictions_and_evaluations_from_before_are_not_kept():
    first = Dense(5, "relu")
    x = Input((5,))
    inner = Model(x, first(x))
    whole = Model(x, Dense(3)(first(x)))
    inner.compile("sgd", "mse")
    whole.compile("sgd", "mse")
    inner.predict(X), inner(X), inner.evaluate(X, X, verbose=0), inner.test_on_batch(X, X)
    first.enable_lora(2, b_initializer="ones")
    expected = np.maximum(X @ first.kernel, 0.0)
    for found in (inner.predict(X), inner(X), inner.predict_on_batch(X)):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    loss = np.square(expected - X).mean()
    np.testing.assert_allclose(inner.evaluate(X, X, verbose=0), loss, rtol=1e-5)
    np.testing.assert_allclose(inner.test_on_batch(X, X), loss, rtol=1e-5)
    whole.compile("sgd", "mse")
    whole.fit(X, Y, verbose=0)
    np.testing.assert_allclose(
        inner.predict(X), np.maximum(X @ first.kernel + first.bias, 0), 1e-4, 1e-5
    )


def test_model_of_open_sizes_predicts_with_lora_at_once():
    net = Sequential([Input((None, 5)), Dense(3)])
    net.predict(STEPS), net.predict(STEPS[:, :2])
    net.layers[0].enable_lora(2, b_initializer="ones")
    for x in (STEPS, STEPS[:, :2], STEPS):
        np.testing.assert_allclose(net.predict(x), x @ net.layers[0].kernel, rtol=1e-5, atol=1e-5)


def test_training_goes_on_after_another_compile_only():
    net = around(Dense(3), X)
    net.compile("adam", "mse")
    net.fit(X, Y, verbose=0)
    net.layers[0].enable_lora(2)
    with pytest.raises(ValueError, match="call compile"):
        net.fit(X, Y, verbose=0)
    net.compile("adam", "mse")
    net.fit(X, Y, verbose=0)


def test_layer_of_ones_own_multiplies_by_the_sum():
    class Twice(Dense):
        def call(self, inputs):
            return inputs @ (2.0 * self.kernel) + self.bias

    net = around(Twice(3), X)
    net.layers[0].enable_lora(2, b_initializer="ones")
    np.testing.assert_allclose(net.predict(X), 2 * X @ net.layers[0].kernel, rtol=1e-5, atol=1e-5)
    before = net.layers[0].lora_kernel_b.numpy()
    net.compile("sgd", "mse")
    net.fit(X, Y, verbose=0)
    assert not np.array_equal(before, net.layers[0].lora_kernel_b.numpy())


def test_model_of_ones_own_with_lora():
    class Net(Model):
        def __init__(self):
            super().__init__()
            self.table, self.out = layers.Embedding(7, 5, lora_rank=2), Dense(3, lora_rank=2)

        def call(self, inputs):
            return self.out(self.table(inputs))

    net = Net()
    net.compile("adam", "mse")
    y = RNG.normal(size=(*TOKENS.shape, 3))
    losses = net.fit(TOKENS, y, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    names = ["lora_embeddings_a", "lora_embeddings_b", "bias", "lora_kernel_a", "lora_kernel_b"]
    assert [w.name for w in net.trainable_weights] == names


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5", ".safetensors"])
@pytest.mark.parametrize("name", MAKERS)
def test_file_has_one_weight_which_fits_layers_with_and_without(name, suffix, tmp_path):
    if suffix == ".safetensors":
        pytest.importorskip("safetensors")
    net, x = enabled(name)
    path = tmp_path / f"net{suffix}"
    (net.save if suffix == ".keras" else net.save_weights)(path)
    expected, make = net.predict(x), MAKERS[name][0]
    others = [around(make(), x), around(make(lora_rank=3), x)]
    for other in others:
        other.load_weights(path)
    if suffix == ".keras":
        others.append(cdl.models.load_model(path))
        assert others[-1].layers[0].lora_rank == 2
    for other in others:
        np.testing.assert_allclose(other.predict(x), expected, rtol=1e-5, atol=1e-5)
    layer = others[1].layers[0]
    for side in "ab":
        assert not getattr(layer, f"lora_{layer._adapted}_{side}").numpy().any()


def test_own_variables_are_those_of_files():
    layer = enabled("Dense")[0].layers[0]
    store = {}
    layer.save_own_variables(store)
    assert list(store) == ["0", "1"]
    np.testing.assert_array_equal(store["0"], layer.kernel)
    layer.load_own_variables(store)
    np.testing.assert_array_equal(layer.kernel, store["0"])


def test_file_of_a_wide_rank_is_read(tmp_path):
    """The two matrices are no part of the file, and may have many more numbers than it."""
    net = around(layers.Embedding(7, 2, lora_rank=3000), TOKENS)
    net.save(tmp_path / "net.keras")
    other = cdl.models.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(other.predict(TOKENS), net.predict(TOKENS))


def test_same_bits_at_1_to_4_threads():
    code = """if True:
        import numpy as np, cdl
        from cdl import layers
        cdl.utils.set_random_seed(5)
        net = cdl.Sequential([cdl.Input((12,), dtype="int32"),
            layers.Embedding(50, 16, lora_rank=2),
            layers.Conv1D(24, 3, activation="relu", lora_rank=4), layers.Flatten(),
            layers.Dense(64, "relu", lora_rank=4), layers.Dense(5, "softmax", lora_rank=2)])
        net.compile("adam", "sparse_categorical_crossentropy")
        rng = np.random.default_rng(1)
        net.fit(rng.integers(0, 50, (300, 12)), rng.integers(0, 5, 300), epochs=2, verbose=0)
        print(b"".join(w.tobytes() for w in net.get_weights()).hex()[:20000])
    """
    found = set()
    for threads in "1234":
        environment = {**os.environ, "OMP_NUM_THREADS": threads}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(done.stdout)
    assert len(found) == 1


def test_summary_counts_what_is_trained(capsys):
    net = enabled("Dense")[0]
    net.summary()
    text = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert "Trainable params: 19" in text  # 5 x 2 + 2 x 3 + 3
    assert "Non-trainable params: 15" in text


def test_frozen_layer_trains_nothing_and_kernel_goes_with_it_when_let_go():
    layer = enabled("Dense")[0].layers[0]
    layer.trainable = False
    assert layer.trainable_weights == []
    layer.trainable = True
    assert [w.name for w in layer.trainable_weights] == [
        "kernel",
        "bias",
        "lora_kernel_a",
        "lora_kernel_b",
    ]


def test_weight_that_is_not_trainable_is_not_trained():
    net = around(Dense(3), X)
    net.layers[0].bias.trainable = False
    assert [w.name for w in net.trainable_weights] == ["kernel"]
    assert [w.name for w in net.non_trainable_weights] == ["bias"]


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: Dense(3).enable_lora(2), ValueError, "Cannot enable lora on a layer that"),
        (lambda: enabled("Dense")[0].layers[0].enable_lora(2), ValueError, "already enabled"),
        (
            lambda: around(Dense(3, kernel_constraint="non_neg", lora_rank=2), X),
            ValueError,
            "Lora is incompatible with kernel constraints: kernel_constraint must be None, got",
        ),
        (
            lambda: layers.Embedding(3, 2, embeddings_constraint="non_neg").enable_lora(2),
            ValueError,
            "Lora is incompatible with embeddings constraints: embeddings_constraint must be",
        ),
        (lambda: around(Dense(3), X).layers[0].enable_lora(0), ValueError, "rank must be"),
        (lambda: around(Dense(3), X).layers[0].enable_lora(1.5), ValueError, "rank must be"),
        (
            lambda: around(Dense(3), X).layers[0].enable_lora(2, lora_alpha="a"),
            ValueError,
            "lora_alpha must be a number or None, got 'a'",
        ),
        (
            lambda: around(Dense(3), X).layers[0].enable_lora(2, a_initializer="he"),
            ValueError,
            "initializer",
        ),
        (lambda: Dense(3, lora_rank=-1), ValueError, "lora_rank must be a positive int, got -1"),
        (lambda: layers.Conv2D(3, 2, lora_alpha=np.nan), ValueError, "lora_alpha must be a number"),
        (lambda: Dense(3).kernel, AttributeError, "before accessing `kernel`"),
        (lambda: layers.Embedding(3, 2).embeddings, AttributeError, "accessing `embeddings`"),
    ],
)  # fmt: skip
def test_bad_argument_is_refused(call, error, text):
    with pytest.raises(error, match=re.escape(text)):
        call()


def test_layer_is_as_before_when_an_initializer_fails():
    net = around(Dense(3), X)
    layer = net.layers[0]
    with pytest.raises(ValueError, match="initializer"):
        layer.enable_lora(2, b_initializer="he")
    assert [w.name for w in layer.weights] == ["kernel", "bias"]
    layer.enable_lora(2)


def test_table_that_is_an_output_too_has_its_lora_in_both_places():
    class Tied(Model):
        def __init__(self):
            super().__init__()
            self.table = layers.Embedding(7, 5)

        def call(self, inputs):
            return cdl.ops.matmul(self.table(inputs), cdl.ops.transpose(self.table.embeddings))

    net = Tied()
    net.compile("sgd", "mse")
    y = RNG.normal(size=(*TOKENS.shape, 7))
    net.fit(TOKENS, y, verbose=0)
    before = net.predict(TOKENS)
    net.table.enable_lora(2, b_initializer="ones")
    net.compile("sgd", "mse")
    for _ in range(2):
        table = net.table.embeddings
        assert not np.allclose(before, table[TOKENS] @ table.T, atol=1e-3)
        np.testing.assert_allclose(
            net.predict(TOKENS), table[TOKENS] @ table.T, rtol=1e-5, atol=1e-5
        )
        loss = np.square(table[TOKENS] @ table.T - y).mean()
        np.testing.assert_allclose(net.evaluate(TOKENS, y, verbose=0), loss, rtol=1e-5)
        net.fit(TOKENS, y, verbose=0)


def test_predictions_see_each_change_of_the_weights():
    net, x = enabled("Dense of steps")
    layer = net.layers[0]
    net.predict(x)
    for weight in (layer._kernel, layer.lora_kernel_a, layer.lora_kernel_b):
        weight.assign(2 * weight.numpy())
        np.testing.assert_allclose(net.predict(x), x @ layer.kernel, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(net(x[:1]), x[:1] @ layer.kernel, rtol=1e-5, atol=1e-5)


def test_predictions_and_exports_read_one_weight(tmp_path):
    net, x = enabled("Dense")
    net.export(tmp_path / "net.c", verbose=False)
    expected = without("Dense", net.layers[0])
    expected.layers[0].name = net.layers[0].name
    (tmp_path / "other").mkdir()
    expected.export(tmp_path / "other" / "net.c", verbose=False)
    sizes = [(folder / "net.c").stat().st_size for folder in (tmp_path, tmp_path / "other")]
    assert abs(sizes[0] - sizes[1]) < 0.1 * sizes[1]
    onnx = pytest.importorskip("onnx")
    net.export(tmp_path / "net.onnx", verbose=False)
    graph = onnx.load(tmp_path / "net.onnx").graph
    assert sum(int(np.prod(each.dims)) == 15 for each in graph.initializer) == 1
    evaluator = pytest.importorskip("onnx.reference").ReferenceEvaluator(str(tmp_path / "net.onnx"))
    found = evaluator.run(None, {graph.input[0].name: x})[0]
    np.testing.assert_allclose(found, net.predict(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mode", ["int8", "int4"])
@pytest.mark.parametrize("name", ["Dense", "EinsumDense", "Embedding"])
def test_quantized_layer_learns_beside_its_integers_and_files_have_new_ones(name, mode, tmp_path):
    make, x = MAKERS[name]
    net = around(make(), x)
    layer = net.layers[0]
    layer.quantize(mode)
    layer.enable_lora(2)
    integers = layer.get_weights()[-2]
    net.compile("adam", "mse")
    y = RNG.normal(size=net.predict(x).shape)
    losses = net.fit(x, y, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    np.testing.assert_array_equal(layer.get_weights()[-2], integers)
    net.save(tmp_path / "net.keras")
    net.save_weights(tmp_path / "net.weights.h5")
    read = cdl.models.load_model(tmp_path / "net.keras")
    assert read.layers[0].lora_enabled
    assert read.layers[0].quantization_mode == mode
    plain = around(make(), x)
    plain.quantize(mode)
    plain.load_weights(tmp_path / "net.weights.h5")
    np.testing.assert_allclose(read.predict(x), plain.predict(x), rtol=1e-5, atol=1e-5)
    wide = np.abs(net.predict(x)).max() * (0.05 if mode == "int8" else 0.4)
    np.testing.assert_allclose(read.predict(x), net.predict(x), atol=wide)


def test_threads_that_predict_at_once_have_the_newest_weights(monkeypatch):
    model = Sequential([Input((5,)), Dense(3)])
    model.layers[0].enable_lora(2)
    before = model.predict(X, verbose=0)
    model.layers[0].lora_kernel_b.assign(RNG.normal(size=(2, 3)))
    matmul, begun, go_on = np.matmul, Event(), Event()

    def slow(*args):
        begun.set()
        go_on.wait(60)
        return matmul(*args)

    with ThreadPoolExecutor(2) as pool, monkeypatch.context() as patch:
        patch.setattr(np, "matmul", slow)
        first = pool.submit(model.predict, X, verbose=0)
        begun.wait(60)
        second = pool.submit(model.predict, X, verbose=0)
        wait([second], timeout=0.2)  # enough for what does not wait for the sum
        go_on.set()
        found = first.result(), second.result()
    assert not np.array_equal(found[0], before)
    assert np.array_equal(*found)
