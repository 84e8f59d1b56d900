"""Common mistakes of newcomers get an error that says what they meant."""

import numpy as np
import pytest

import cdl
from cdl import layers
from cdl.metrics import AUC

X = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)
ONE_HOT = np.eye(3)[np.arange(64) % 3]


def sequential(units=1):
    model = cdl.Sequential([cdl.Input((8,), name="table"), layers.Dense(units)])
    model.compile("adam", "mse")
    return model


def functional():
    x = cdl.Input((8,), name="table")
    model = cdl.Model(x, layers.Dense(1)(x))
    model.compile("adam", "mse")
    return model


class Own(cdl.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(1)

    def call(self, inputs):
        return self.dense(inputs)


def own():
    model = Own()
    model.compile("adam", "mse")
    return model


KINDS = [sequential, functional, own]


def text_of(call, *args, error=(TypeError, ValueError), **kwargs):
    with pytest.raises(error) as caught:
        call(*args, **kwargs)
    return str(caught.value)


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("method", ["fit", "evaluate", "train_on_batch"])
def test_x_and_y_as_one_tuple_are_told_apart(make, method):
    text = text_of(getattr(make(), method), (X, Y))
    assert text == (
        f"{method}: y must be given, got a tuple of 2 as x: if it is (x, y), call {method}(x, y)"
    )


def test_three_in_a_tuple_are_told_apart():
    text = text_of(sequential().fit, (X, Y, np.ones(64)))
    assert text.endswith(
        "if it is (x, y, sample_weight), call fit(x, y, sample_weight=sample_weight)"
    )


@pytest.mark.parametrize("make", [sequential, functional])
def test_arrays_that_make_no_array_are_shown_by_their_shapes(make):
    assert "got a list of arrays of shapes (64, 8), (64,)" in text_of(make().fit, [X, Y])
    assert "got a tuple of arrays of shapes (64, 8), (64,)" in text_of(make().predict, (X, Y))


@pytest.mark.parametrize("make", [sequential, functional])
@pytest.mark.parametrize("method", ["fit", "predict"])
def test_a_dict_with_other_keys_is_told_the_names_of_the_inputs(make, method):
    args = ({"a": X}, Y) if method == "fit" else ({"a": X},)
    text = text_of(getattr(make(), method), *args)
    assert text == (f"{method}: x must have as keys the names of the inputs, ['table'], got ['a']")


@pytest.mark.parametrize("make", [sequential, functional])
def test_a_dict_with_the_name_of_the_input_is_taken(make):
    model = make()
    model.fit({"table": X}, Y, verbose=0)
    np.testing.assert_array_equal(model.predict({"table": X}), model.predict(X))


def test_a_dict_for_a_model_whose_input_has_no_name_yet_is_shown_by_its_keys():
    model = cdl.Sequential([layers.Dense(1)])
    model.compile("adam", "mse")
    assert text_of(model.fit, {"a": X}, Y).endswith("got a dict with the keys ['a']")
    assert "Dense 'dense" in text_of(own().fit, {"a": X}, Y)


def test_long_dicts_are_shown_in_part():
    model = cdl.Sequential([layers.Dense(1)])
    text = text_of(model.predict, {f"column {i}": X for i in range(99)})
    assert text.endswith("'column 4', ...]") and "column 5" not in text


@pytest.mark.parametrize("weights", [[1.0, 5.0], (1.0, 5.0), np.array([1.0, 5.0])])
def test_class_weights_in_a_row_are_told_how_they_become_a_dict(weights):
    text = text_of(sequential().fit, X, Y, class_weight=weights)
    assert text.endswith(": dict(enumerate(class_weight)) makes one of it")
    class_weight = eval("dict(enumerate(class_weight))", {"class_weight": weights})
    sequential().fit(X, Y, class_weight=class_weight, verbose=0)


@pytest.mark.parametrize(("y", "units"), [(Y, 1), (ONE_HOT, 3)])
def test_balanced_class_weights_are_told_as_scikit_learn_has_them(y, units):
    from sklearn.utils.class_weight import compute_class_weight

    text = text_of(sequential(units).fit, X, y, class_weight="balanced")
    code = text.partition("got 'balanced': ")[2].removesuffix(" balances the classes")
    labels = y if y.ndim == 1 else y.argmax(1)
    wanted = compute_class_weight("balanced", classes=np.unique(labels), y=labels)
    assert eval(code, {"np": np, "y": y}) == pytest.approx(dict(enumerate(wanted)))


@pytest.mark.parametrize(
    "third", [["accuracy"], [AUC()], AUC(), [AUC() for _ in range(6)], "mae", ["mae", AUC()]]
)
def test_metrics_in_the_place_of_loss_weights_are_told_their_name(third):
    text = text_of(sequential().compile, "adam", "mse", third)
    assert "loss_weights must be" in text and text.endswith(": give metrics by name, metrics=[...]")


@pytest.mark.parametrize("make", [sequential, functional])
@pytest.mark.parametrize("method", ["predict", "predict_on_batch", "__call__"])
def test_one_sample_is_told_how_it_becomes_a_batch(make, method):
    model = make()
    text = text_of(getattr(model, method), X[0])
    assert text.endswith("got (8,): x[None] makes a batch of one sample")
    assert model.predict(X[0][None]).shape == (1, 1)


def test_a_layer_shows_the_shape_that_it_was_given():
    text = text_of(layers.Dense(4), np.ones(8))
    assert "must have at least 2 axes, got shape (8,): x[None] makes a batch of one sample" in text


def test_the_dtype_of_an_input_is_told_what_it_may_be():
    text = text_of(cdl.Input, (8,), dtype="str")
    assert text == (
        "dtype must be that of numbers, such as 'float32', 'int32' or 'bool', got 'str': encode "
        "text as numbers first, or have an Input(dtype='string')"
    )
    assert cdl.Input((1,), dtype=str).dtype == cdl.Input((1,), dtype="string").dtype == "string"
    for dtype in ("flaot32", object, "datetime64[s]", 3):
        assert "dtype must be that of numbers" in text_of(cdl.Input, (8,), dtype=dtype)


class Taped(cdl.Sequential):
    """A train_step for another framework's tape, which looks for what arrays do not have."""

    looks_for = "_id"

    def train_step(self, data):
        x, y = data
        loss = self.compute_loss(y=y, y_pred=self(x, training=True))
        getattr(loss, self.looks_for)
        return {"loss": loss}


@pytest.mark.parametrize("name", ["_id", "backward", "requires_grad", "requires_grad_"])
def test_a_tape_in_a_train_step_is_told_what_there_is_instead(name):
    model = Taped([cdl.Input((8,)), layers.Dense(1)])
    model.compile("adam", "mse")
    model.looks_for = name
    text = text_of(model.fit, X, Y, verbose=0, error=AttributeError)
    assert f"no attribute '{name}'): with cdl.GradientTape() as tape" in text
    gradients = model.gradients(X, Y)  # as the text says
    model.optimizer.apply_gradients(zip(gradients.values(), model.trainable_variables, strict=True))


def test_another_attribute_error_of_a_train_step_stays_as_it_is():
    model = Taped([cdl.Input((8,)), layers.Dense(1)])
    model.compile("adam", "mse")
    model.looks_for = "mean_of_it"
    assert "self.gradients" not in text_of(model.fit, X, Y, verbose=0, error=AttributeError)


@pytest.mark.parametrize(
    "arguments", [{"input": "x", "output": "y"}, {"inputs": "x", "output": "y"}]
)
def test_arguments_of_a_model_that_lack_their_s_are_told(arguments):
    x = cdl.Input((8,))
    tensors = {"x": x, "y": layers.Dense(1)(x)}
    text = text_of(cdl.Model, **{name: tensors[each] for name, each in arguments.items()})
    assert "is not recognized; did you mean '" in text


@pytest.mark.parametrize(
    ("call", "lacks"),
    [
        (lambda: cdl.Model(cdl.Input((3,))), "outputs"),
        (lambda: cdl.Model(inputs=cdl.Input((3,))), "outputs"),
        (lambda: cdl.Model(outputs=cdl.Input((3,))), "inputs"),
    ],
)
def test_a_model_that_lacks_one_end_says_which(call, lacks):
    assert text_of(call) == f"Model: inputs and outputs must both be given, got no {lacks}"


@pytest.mark.parametrize(
    ("call", "meant"),
    [
        (lambda: sequential().summary(line_len=100), "line_length"),
        (lambda: sequential().get_layer(nam="dense"), "name"),
        (lambda: sequential().evaluate(X, Y, batchsize=3), "batch_size"),
        (lambda: sequential().predict(X, batchsize=3), "batch_size"),
        (lambda: cdl.callbacks.ModelCheckpoint("x.keras", period=3), "save_freq"),
        (lambda: cdl.callbacks.ModelCheckpoint("x.keras", save_best=True), "save_best_only"),
        (lambda: cdl.callbacks.EarlyStopping(patiance=3), "patience"),
        (lambda: cdl.utils.to_categorical(Y, numclasses=2), "num_classes"),
        (lambda: cdl.utils.pad_sequences([[1]], max_len=2), "maxlen"),
    ],
)
def test_an_argument_that_there_is_not_is_told_the_nearest_one(call, meant):
    text = text_of(call)
    assert "unexpected keyword argument" in text and text.endswith(f"; did you mean '{meant}'?")
