"""The epoch at which EarlyStopping stops, and the weights that are left."""

import pytest

import cdl
from cdl.callbacks import EarlyStopping


class Metric:
    def __init__(self, name, direction):
        self.name = name
        self._direction = direction


class Model:
    """A stand-in for a model, whose weights are the number of the epoch."""

    def __init__(self, metrics=()):
        self.stop_training = False
        self.weights = None
        self.metrics = [Metric(*each) for each in metrics]

    def get_weights(self):
        return self.weights

    def set_weights(self, weights):
        self.weights = weights


def run(callback, values, name="val_loss", first=0, metrics=()):
    """The epochs that ran, and the model, with a callback called as by `fit`."""
    model = Model(metrics)
    callback.set_model(model)
    callback.on_train_begin()
    ran = []
    for epoch, value in enumerate(values, first):
        model.weights = epoch
        callback.on_epoch_end(epoch, {name: value})
        ran.append(epoch)
        if model.stop_training:
            break
    callback.on_train_end({})
    return ran, model


@pytest.mark.parametrize(
    ("arguments", "values", "epochs"),
    [
        ({}, [3, 2, 1, 1, 0], 4),
        ({}, [1, 2], 2),
        ({"patience": 2}, [3, 2, 2.5, 2.5, 1], 4),
        ({"patience": 2}, [3, 2, 2.5, 1, 2, 2, 0], 6),
        ({"min_delta": 0.5}, [3, 2, 1.6, 1], 3),
        ({"min_delta": -0.5}, [3, 2, 1.6, 1], 3),
        ({"baseline": 1.0, "patience": 2}, [5, 4, 3, 2], 4),
        ({"baseline": 1.0, "patience": 2}, [5, 4, 4, 0], 3),
        ({"baseline": 4.5, "patience": 2}, [5, 4, 4.2, 4.2, 1], 4),
        ({"start_from_epoch": 2}, [1, 2, 3, 4, 5], 4),
        ({"mode": "max"}, [1, 2, 3, 3], 4),
        ({"mode": "max", "min_delta": 2}, [1, 2], 2),
    ],
)
def test_stops_after_patience_epochs_without_improvement(arguments, values, epochs):
    assert len(run(EarlyStopping(**arguments), values)[0]) == epochs


def test_first_epoch_never_stops():
    callback = EarlyStopping(baseline=0.0, patience=1)
    assert run(callback, [5.0], first=0)[0] == [0]
    assert callback.stopped_epoch == 0


def test_attributes_tell_what_happened():
    callback = EarlyStopping(patience=2)
    run(callback, [3, 1, 2, 2, 9])
    state = (callback.best, callback.best_epoch, callback.wait, callback.stopped_epoch)
    assert state == (1, 1, 2, 3)


def test_a_subclass_chooses_the_value_to_compare():
    class OfTheOpposite(EarlyStopping):
        def get_monitor_value(self, logs):
            return -super().get_monitor_value(logs)

    assert len(run(OfTheOpposite(), [1, 2, 3, 2, 1])[0]) == 4


def test_best_weights_come_back_whether_it_stopped_or_not():
    assert run(EarlyStopping(patience=2, restore_best_weights=True), [3, 1, 2, 2])[1].weights == 1
    assert run(EarlyStopping(patience=9, restore_best_weights=True), [3, 1, 2])[1].weights == 1
    assert run(EarlyStopping(patience=2), [3, 1, 2, 2])[1].weights == 3


def test_weights_that_were_never_best_are_kept_if_start_from_epoch_is_not_reached():
    callback = EarlyStopping(start_from_epoch=5, restore_best_weights=True)
    assert run(callback, [1, 2])[1].weights == 1


def test_one_callback_serves_two_fits():
    callback = EarlyStopping()
    run(callback, [1, 2])
    assert len(run(callback, [9, 8, 7])[0]) == 3


@pytest.mark.parametrize(
    ("name", "direction", "epochs"),
    [
        ("accuracy", "up", 1),
        ("val_acc", "up", 1),
        ("mae", "down", 4),
        ("val_mine", "down", 4),
        ("loss", None, 4),
        ("val_loss", None, 4),
    ],
)
def test_auto_asks_the_metric_which_way_is_better(name, direction, epochs):
    metrics = [("other", "up"), (name.removeprefix("val_"), direction)]
    callback = EarlyStopping(name, patience=1)
    assert len(run(callback, [3, 2, 1, 2], name, 1, metrics)[0]) == max(2, epochs)


@pytest.mark.parametrize("metrics", [[], [("extra", None)]])
def test_auto_that_cannot_tell_says_so(metrics):
    with pytest.raises(ValueError, match="more of 'extra' is better; give mode='max'"):
        run(EarlyStopping(monitor="extra"), [1, 2], "extra", metrics=metrics)


def test_missing_value_warns_and_does_nothing():
    with pytest.warns(UserWarning, match="EarlyStopping watches 'val_loss', .* has 'loss'"):
        epochs, _ = run(EarlyStopping(), [1, 2, 3], "loss")
    assert len(epochs) == 3


def test_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="mode must be one of 'auto', 'min', 'max', got 'maximum'"):
        EarlyStopping(mode="maximum")


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="patience must be an int >= 0, got -1"):
        EarlyStopping(patience=-1)
    with pytest.raises(TypeError, match="monitor must be a name, got int"):
        EarlyStopping(monitor=3)
    with pytest.raises(TypeError, match="min_delta must be a number, got str"):
        EarlyStopping(min_delta="a")


def test_verbose_says_when_and_what(capsys):
    run(EarlyStopping(patience=1, verbose=1, restore_best_weights=True), [1, 2, 3])
    said = capsys.readouterr().out.splitlines()
    assert said == ["Epoch 2: early stopping", "Restoring the weights of the best epoch: 1."]


@pytest.mark.parametrize(
    ("mode", "monitor", "name"), [("auto", "loss", "less"), ("max", "loss", "greater")]
)
def test_the_direction_is_a_function_of_ops(mode, monitor, name):
    stopping = EarlyStopping(monitor, mode=mode)
    assert stopping.monitor_op is None
    stopping.current({monitor: 1.0})
    assert stopping.monitor_op is getattr(cdl.ops, name)
