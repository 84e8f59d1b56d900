"""Programs of users; mypy --strict and pyright find nothing wrong in them.

Never run: `make types` reads it. `assert_type` says what both see.
"""

from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import cdl
from cdl import KerasTensor, Model, Sequential, layers, losses, ops
from cdl.callbacks import Callback, EarlyStopping, History
from cdl.layers import Dense, Dropout, Layer
from cdl.optimizers import Adam
from cdl.sklearn import CDLClassifier, TabularRegressor

Array = NDArray[np.float32]
x: Array = np.ones((8, 4), np.float32)
y: Array = np.ones((8, 1), np.float32)


def sequential() -> Sequential:
    model = Sequential([cdl.Input((4,)), Dense(3, activation="relu"), Dropout(0.5), Dense(1)])
    assert_type(model, Sequential)
    model.compile(Adam(1e-3), loss="mse", metrics=["mae"])
    history = model.fit(x, y, epochs=2, callbacks=[EarlyStopping(patience=2)], verbose=0)
    assert_type(history, History)
    assert_type(history.history, dict[str, list[Any]])
    assert_type(model.predict(x), Array | Any)
    assert_type(model.evaluate(x, y, return_dict=True), dict[str, float])
    loss, mae = model.evaluate(x, y)
    print(loss + mae)
    return model


def functional() -> Model:
    inputs = cdl.Input((4,))
    assert_type(inputs, KerasTensor)
    hidden = Dense(3, name="hidden", trainable=False)(inputs)
    assert_type(hidden, KerasTensor | Any)
    both = layers.add([hidden, ops.tanh(hidden) * 2.0])
    left, right = ops.split(layers.concatenate([both, inputs], axis=-1), 2, axis=-1)
    model = Model(inputs, Dense(1)(left + right))
    assert_type(model, Model)
    return model


def with_defaults() -> list[Layer]:
    pooling = [layers.MaxPooling1D(), layers.MaxPooling2D(), layers.MaxPooling3D()]
    return [*pooling, layers.Cropping2D(), layers.ZeroPadding3D(), layers.UpSampling2D()]


class Net(cdl.Model):
    def __init__(self, units: int) -> None:
        super().__init__()
        self.hidden = Dense(units)
        self.out = Dense(1)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.out(self.hidden(inputs))


class Scale(Layer):
    def __init__(self, first: str = "ones", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.first = first

    def build(self, input_shape: Any) -> None:
        self.factor = self.add_weight((input_shape[-1],), self.first, name="factor")

    def call(self, inputs: Any) -> Any:
        return inputs * self.factor


class Halves(Layer):
    def call(self, inputs: Any) -> Any:
        return inputs[:, :2], inputs[:, 2:]


class Twice(Dense):
    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(2 * units, **kwargs)


class Watch(Callback):
    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        assert_type(self.model, Model)
        if self.model.optimizer.iterations > 100:
            self.model.stop_training = True


def of_ones_own() -> None:
    net = Net(3)
    assert_type(net, Net)
    assert_type(Scale(name="s"), Scale)
    assert_type(Twice(3, name="t").units, int)
    assert_type(Dense(3)(x), Array | Any)
    left, right = Halves()(cdl.Input((4,)))
    print(net(x), left.shape, right.shape)


def inside(model: Model) -> None:
    assert_type(model.layers, list[Layer])
    assert_type(model.get_layer("hidden"), Layer)
    assert_type(model.get_weights(), list[Array])
    for layer in model.layers:
        if isinstance(layer, Dense):
            print(layer.units, layer.kernel.shape)
    for weight in model.trainable_variables:
        weight.assign(weight.numpy() * 0.5)


def files() -> None:
    model = cdl.models.load_model("model.keras")
    assert_type(model, Model)
    model.save("again.keras")
    net = cdl.models.load_model("net.keras", custom_objects={"Net": Net})
    assert isinstance(net, Net)
    assert_type(cdl.models.clone_model(net), Net)


def pinball(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.maximum(0.9 * (y_true - y_pred), 0.1 * (y_pred - y_true)))


class Huber(losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.minimum(ops.square(y_true - y_pred), 1.0), axis=-1)


def losses_of_ones_own(model: Model) -> None:
    model.compile("adam", loss=pinball, metrics=[pinball])
    model.compile("adam", loss=Huber(name="huber"))
    history = model.fit(x, y, validation_data=(x, y), verbose=0)
    last: float = history.history["val_loss"][-1]
    print(last)


def arithmetic(inputs: KerasTensor, weight: cdl.Variable) -> None:
    assert_type(inputs * 2, KerasTensor)
    assert_type(2 / inputs - 1, KerasTensor)
    assert_type(inputs + inputs @ np.ones((4, 4), np.float32), KerasTensor)
    assert_type(-(abs(inputs) ** 0.5), KerasTensor)
    assert_type(inputs // 2 % 3, KerasTensor)
    assert_type(inputs[:, :2], KerasTensor)
    assert_type(inputs[..., None], KerasTensor)
    assert_type(inputs > 0, KerasTensor)
    assert_type((inputs == 1) & ~(inputs <= 2) | (inputs != 3), KerasTensor)
    assert_type(inputs * weight, KerasTensor)
    assert_type(inputs.shape, tuple[int | None, ...])
    print(inputs.mean(axis=-1), inputs.T, {inputs: "a tensor"})


def ops_on_tensors(inputs: KerasTensor) -> Model:
    assert_type(ops.tanh(inputs), KerasTensor)
    assert_type(ops.mean(inputs, axis=-1, keepdims=True), KerasTensor)
    assert_type(ops.relu(inputs), KerasTensor)
    assert_type(ops.reshape(inputs, (-1, 2, 2)), KerasTensor)
    assert_type(ops.expand_dims(inputs, axis=1), KerasTensor)
    assert_type(ops.softmax(x=inputs), KerasTensor)
    scores = ops.exp(inputs - ops.max(inputs, axis=-1, keepdims=True))
    low, high = ops.split(inputs, 2, axis=-1)
    return Model(inputs, [scores / ops.sum(scores, axis=-1, keepdims=True), low + high])


def ops_on_arrays() -> None:
    assert_type(ops.exp(x), NDArray[Any] | Any)
    assert_type(ops.abs(x)[0], Any)
    total: float = float(ops.sum(ops.square(x)))
    print(total, ops.log([1.0, 2.0]), ops.relu(3.0), ops.mean(x).item())


class Named(Layer):
    """Arguments by names of one's own."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.w = self.add_weight((shape[-1],), "ones")

    def call(self, x: Any) -> Any:
        return x * self.w

    def compute_output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape


class Pair(Layer):
    def build(self, a_shape: Any, b_shape: Any) -> None:
        print(a_shape, b_shape)

    def call(self, a: Any, b: Any) -> Any:
        return a + b


class Built(cdl.Model):
    def build(self, input_shape: Any) -> None:
        super().build(input_shape)


class Pinball(losses.Loss):
    def call(self, y: Any, p: Any) -> Any:
        return ops.mean(ops.abs(y - p), axis=-1)


class Mean(cdl.metrics.Metric):
    def update_state(self, y: Any, p: Any, sample_weight: Any = None) -> None:
        self.last = p

    def result(self) -> Any:
        return self.last


class Small(cdl.regularizers.Regularizer):
    def __call__(self, w: Any) -> Any:
        return ops.sum(ops.abs(w))


class Bounded(cdl.constraints.Constraint):
    def __call__(self, weight: Any) -> Any:
        return ops.clip(weight, -1.0, 1.0)


def quantiles(inputs: KerasTensor) -> None:
    model = Model(inputs, layers.Increasing()(Dense(3)(inputs)))
    model.compile("adam", losses.Quantile([0.1, 0.5, 0.9]))
    cdl.saving.check("model.keras", custom_objects={"Named": Named})
    holder = cdl.serving.ModelHolder("model.keras", every=2.0)
    with cdl.serving.Batcher(holder, max_rows=64, wait=0.001) as batcher:
        print(batcher.predict(x), holder.health()["healthy"])


def estimators() -> None:
    assert_type(CDLClassifier(alpha=0.1).alpha, float)
    assert_type(TabularRegressor(n_bags=3).n_bags, int)
