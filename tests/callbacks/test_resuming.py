"""A training whose process was killed ends with the bits of one that was not."""

import json

import numpy as np
import pytest

import cdl
from cdl import callbacks
from cdl.layers import BatchNormalization, Dense, Dropout, GaussianNoise, Input
from cdl.models import Sequential, load_model

X = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
Y = X[:, :2] * 2
EPOCHS = 6


class Stop(callbacks.Callback):
    """Raises when an epoch ends or begins."""

    def __init__(self, **at):
        super().__init__()
        self.at = at

    def on_epoch_begin(self, epoch, logs=None):
        if self.at.get("begin") == epoch:
            raise RuntimeError("stop")

    def on_epoch_end(self, epoch, logs=None):
        if self.at.get("end") == epoch:
            raise RuntimeError("stop")


def train(*watchers, seed=7, draws=0):
    """Build, compile and train a net, as a script does from its first line."""
    cdl.utils.clear_session()
    cdl.utils.set_random_seed(seed)
    model = Sequential(
        [Input((4,)), Dense(8, "relu"), BatchNormalization(), Dropout(0.3), GaussianNoise(0.1)]
    )
    model.add(Dense(2))
    model.compile(cdl.optimizers.Adam(0.01, use_ema=True), "mse")
    np.random.rand(draws)  # what else a script may draw, and not the second time
    model.fit(X, Y, batch_size=8, epochs=EPOCHS, callbacks=list(watchers), verbose=0)
    return model.get_weights()


def equal(a, b):
    return all(map(np.array_equal, a, b))


@pytest.mark.parametrize("at", [{"end": 0}, {"end": 3}, {"begin": 3}, {"begin": 5}], ids=str)
@pytest.mark.parametrize("double", [False, True])
def test_shuffling_dropout_and_noise_go_on(at, double, tmp_path):
    whole = train()
    with pytest.raises(RuntimeError, match="stop"):
        train(callbacks.BackupAndRestore(tmp_path / "b", double_checkpoint=double), Stop(**at))
    resumed = train(callbacks.BackupAndRestore(tmp_path / "b"), draws=3)
    assert equal(whole, resumed)


class Dying(callbacks.BackupAndRestore):
    """A backup that fails at its fourth time, before the weights are saved, or after."""

    count, dies = 0, ""

    def _back_up(self):
        self.count += 1
        if self.count == 4:
            plainly = self.model.save_weights

            def save(*args, **kwargs):
                if self.dies == "after":
                    plainly(*args, **kwargs)
                raise RuntimeError("stop")

            self.model.save_weights = save
        super()._back_up()


@pytest.mark.parametrize("dies", ["before", "after"])
def test_process_that_dies_between_weights_and_their_epoch_goes_on_too(dies, tmp_path):
    backup = Dying(tmp_path / "b")
    backup.dies = dies
    with pytest.raises(RuntimeError, match="stop"):
        train(backup)
    assert equal(train(), train(callbacks.BackupAndRestore(tmp_path / "b")))


def test_what_is_left_of_a_backup_that_was_being_removed_is_no_backup(tmp_path):
    for left in ("latest.weights.h5", "training_metadata.json"):
        with pytest.raises(RuntimeError, match="stop"):
            train(callbacks.BackupAndRestore(tmp_path / left), Stop(end=1))
        for path in (tmp_path / left).iterdir():
            if path.name != left:
                path.unlink()
        assert equal(train(), train(callbacks.BackupAndRestore(tmp_path / left)))


def test_note_of_a_backup_that_was_being_written_is_not_read(tmp_path):
    with pytest.raises(RuntimeError, match="stop"):
        train(callbacks.BackupAndRestore(tmp_path), Stop(end=1))
    (tmp_path / "training_metadata.json.new.part").write_text('{"epo')
    assert equal(train(), train(callbacks.BackupAndRestore(tmp_path)))


@pytest.mark.parametrize(
    "text",
    ["", "{", "3", "{}", '{"epoch": -1}', '{"epoch": "x"}', "[" * 10**5],
    ids=len,
)
def test_damaged_note_of_a_backup_is_an_error_with_its_name(text, tmp_path):
    with pytest.raises(RuntimeError, match="stop"):
        train(callbacks.BackupAndRestore(tmp_path), Stop(end=1))
    (tmp_path / "training_metadata.json").write_text(text)
    with pytest.raises(OSError, match=r"training_metadata\.json cannot be read"):
        train(callbacks.BackupAndRestore(tmp_path))


def test_state_of_the_generators_comes_back():
    cdl.utils.set_random_seed(3)
    state = json.loads(json.dumps(cdl.random.state()))
    first = np.random.permutation(20)
    cdl.utils.set_random_seed(4)
    cdl.random.set_state(state)
    assert np.array_equal(np.random.permutation(20), first)
    assert cdl.random.core_seed() == 3
    for bad in ({}, {"seed": 1, "numpy": {"bit_generator": "PCG64", "state": {}}}, 3):
        with pytest.raises(ValueError):
            cdl.random.set_state(bad)


def test_checkpoint_goes_on_where_it_was_made(tmp_path):
    """Seeds are those of the layers, and rows keep their order."""

    def fresh():
        cdl.utils.set_random_seed(5)
        layers = [Input((4,)), Dense(8, "relu"), Dropout(0.3, seed=1), BatchNormalization()]
        model = Sequential([*layers, Dense(2)])
        model.compile(cdl.optimizers.RMSprop(0.01, momentum=0.5), "mse")
        return model

    given = {"batch_size": 8, "shuffle": False, "verbose": 0}
    whole = fresh()
    checkpoint = callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras")
    whole.fit(X, Y, epochs=5, callbacks=[checkpoint], **given)
    model = load_model(tmp_path / "2.keras")
    model.fit(X, Y, epochs=5, initial_epoch=2, **given)
    assert equal(whole.get_weights(), model.get_weights())
