"""Order of callbacks, shared logs, and which of them want batches."""

import pytest

from cdl.callbacks import Callback, CallbackList, History, LambdaCallback, ProgbarLogger


class Overrides(Callback):
    def on_train_batch_end(self, batch, logs=None):
        pass


class OverridesOldName(Callback):
    def on_batch_begin(self, batch, logs=None):
        pass


class OverridesBySubclass(Overrides):
    pass


def on_instance():
    callback = Callback()
    callback.on_train_batch_begin = lambda batch, logs=None: None
    return callback


@pytest.mark.parametrize(
    "callback",
    [
        Overrides(),
        OverridesOldName(),
        OverridesBySubclass(),
        on_instance(),
        LambdaCallback(on_train_batch_end=lambda batch, logs: None),
        LambdaCallback(on_batch_end=lambda batch, logs: None),
    ],
)
def test_overridden_batch_hook_is_seen(callback):
    assert CallbackList([callback]).wants_batches("train")
    assert not CallbackList([callback]).wants_batches("test")


@pytest.mark.parametrize(
    "callback",
    [Callback(), History(), ProgbarLogger(), LambdaCallback(on_epoch_end=lambda epoch, logs: None)],
)
def test_callback_without_batch_hooks_wants_no_batches(callback):
    for run in ("train", "test", "predict"):
        assert not CallbackList(callback, add_progbar=True).wants_batches(run)


def test_hooks_of_tests_and_predictions_are_seen_by_themselves():
    callback = LambdaCallback(on_test_batch_end=lambda batch, logs: None)
    assert CallbackList(callback).wants_batches("test")
    assert not CallbackList(callback).wants_batches("train")
    callback = LambdaCallback(on_predict_batch_begin=lambda batch, logs: None)
    assert CallbackList(callback).wants_batches("predict")


def test_old_names_are_called_by_the_new_ones():
    seen = []

    class Old(Callback):
        def on_batch_begin(self, batch, logs=None):
            seen.append(("begin", batch))

        def on_batch_end(self, batch, logs=None):
            seen.append(("end", batch, logs))

    hooks = CallbackList([Old()])
    hooks.on_train_batch_begin(3)
    hooks.on_train_batch_end(3, {"loss": 1.0})
    assert seen == [("begin", 3), ("end", 3, {"loss": 1.0})]


def test_users_callbacks_come_before_history_and_bar():
    callback = Callback()
    hooks = CallbackList([callback], add_history=True, add_progbar=True)
    assert [type(each) for each in hooks.callbacks] == [Callback, History, ProgbarLogger]


def test_history_of_the_user_is_used():
    history = History()
    assert CallbackList([history], add_history=True).history is history


def test_what_one_callback_adds_to_the_logs_reaches_the_history():
    def add(epoch, logs):
        logs["extra"] = 7.0

    hooks = CallbackList(LambdaCallback(on_epoch_end=add), add_history=True)
    hooks.on_train_begin()
    hooks.on_epoch_end(2, {"loss": 1.0})
    assert hooks.history.history == {"loss": [1.0], "extra": [7.0]}
    assert hooks.history.epoch == [2]


def test_callback_gets_model_and_params():
    class NoInit(Callback):
        def __init__(self):  # as users write them
            pass

    class Model:
        pass

    model = Model()
    callback = NoInit()
    assert callback.model is None
    hooks = CallbackList([callback], add_history=True, model=model, epochs=3)
    assert callback.model is model
    assert callback.params == {"epochs": 3}
    assert model.history is hooks.history


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (["a"], "an object of type str"),
        ([History], r"the class History \(did you mean History\(\)\?\)"),
        (3, "an object of type int"),
        ([Callback(), None], "an object of type NoneType"),
    ],
)
def test_what_is_no_callback_is_refused(given, text):
    with pytest.raises(TypeError, match=f"callbacks must be Callback objects, got {text}"):
        CallbackList(given)


@pytest.mark.parametrize(
    ("hooks", "text"),
    [
        ({"on_epoch_foo": print}, "'on_epoch_foo' is no hook"),
        ({"on_epoch_end": 3}, "on_epoch_end must be a function, got int"),
    ],
)
def test_lambda_callback_refuses_what_it_would_never_call(hooks, text):
    with pytest.raises(TypeError, match=text):
        LambdaCallback(**hooks)
