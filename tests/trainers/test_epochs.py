"""Steps of an epoch and validation, as Keras has them."""

import numpy as np
import pytest
from trainers.nets import BLOCKS, ZEROS, fit, still

from cdl.callbacks import LambdaCallback


def test_default_batch_has_32_rows():
    assert fit(x=np.zeros((65, 5)), y=np.zeros(65)).params["steps"] == 3


def test_steps_per_epoch_goes_on_where_it_stopped():
    logs = fit(batch_size=5, epochs=4, steps_per_epoch=1).history
    assert logs["loss"] == [0, 1, 4, 9]


def test_pass_that_ends_with_an_epoch_starts_anew():
    logs = fit(batch_size=5, epochs=4, steps_per_epoch=2).history
    assert logs["loss"] == [0.5, 6.5, 0.5, 6.5]


def test_steps_that_run_out_of_data_warn_and_end_the_epoch():
    with pytest.warns(UserWarning, match="Your input ran out of data after 1 of 3 batches"):
        logs = fit(batch_size=5, epochs=3, steps_per_epoch=3).history
    np.testing.assert_allclose(logs["loss"], [5 / 3, 9, 5 / 3])


def test_steps_without_batch_size_cut_the_data_into_that_many_batches():
    history = fit(steps_per_epoch=3, epochs=2)
    assert history.params["steps"] == 3
    np.testing.assert_allclose(history.history["loss"], [3.5, 3.5])


def test_validation_steps_start_at_the_first_batch_each_time():
    logs = fit(
        epochs=3, validation_data=(ZEROS, BLOCKS), validation_batch_size=5, validation_steps=2
    ).history
    assert logs["val_loss"] == [0.5, 0.5, 0.5]


def test_validation_batch_is_the_training_batch_unless_given():
    sizes = []
    callback = LambdaCallback(on_test_batch_end=lambda batch, logs: sizes.append(batch))
    fit(batch_size=10, validation_data=(ZEROS, BLOCKS), callbacks=callback)
    assert sizes == [0, 1]


def test_evaluate_takes_the_first_steps_batches():
    model = still()
    assert model.evaluate(ZEROS, BLOCKS, 5, 0, steps=2) == 0.5
    with pytest.warns(UserWarning, match="ran out of data after 4 of 9"):
        assert model.evaluate(ZEROS, BLOCKS, 5, 0, steps=9) == 3.5


def test_epochs_count_from_initial_epoch():
    assert fit(epochs=4, initial_epoch=2).epoch == [2, 3]
    assert fit(epochs=4, initial_epoch=5).epoch == []
    assert fit(epochs=0).history == {}


def test_numbers_of_numpy_are_numbers():
    assert fit(epochs=np.int64(2), batch_size=np.int32(5)).epoch == [0, 1]


# --- validation ---


def test_split_takes_the_last_rows():
    logs = fit(validation_split=0.25).history
    np.testing.assert_allclose(logs["loss"], 5 / 3)
    assert logs["val_loss"] == [9]


@pytest.mark.parametrize(("split", "rows"), [(0.01, 1), (0.5, 10), (0.95, 19), (0.34, 7)])
def test_split_keeps_the_floor_for_training(split, rows):
    seen = []
    callback = LambdaCallback(on_test_batch_end=lambda batch, logs: seen.append(batch))
    fit(validation_split=split, validation_batch_size=1, callbacks=[callback])
    assert len(seen) == rows


def test_validation_data_win_over_a_split():
    logs = fit(validation_split=0.5, validation_data=(ZEROS[:5], BLOCKS[:5])).history
    assert (logs["loss"], logs["val_loss"]) == ([3.5], [0])


def test_weights_of_validation_data_count():
    weights = np.repeat([0.0, 0.0, 0.0, 2.0], 5)
    logs = fit(validation_data=[ZEROS, BLOCKS, weights]).history
    assert logs["val_loss"] == [4.5]


@pytest.mark.parametrize(
    ("frequency", "epochs"), [(1, 4), (2, 2), (3, 1), (9, 0), ([2, 3], 2), ((1,), 1), ({4}, 1)]
)
def test_validation_frequency(frequency, epochs):
    logs = fit(epochs=4, validation_split=0.25, validation_freq=frequency).history
    assert len(logs["loss"]) == 4
    assert len(logs.get("val_loss", [])) == epochs
