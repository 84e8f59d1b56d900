"""Private names of Keras's callbacks and models that subclasses in other packages call."""

import numpy as np
import pytest

import cdl
from cdl.layers import Dense, Input

X = np.random.default_rng(0).normal(size=(32, 3)).astype(np.float32)


def net():
    model = cdl.Sequential([Input((3,)), Dense(2, "tanh"), Dense(1)])
    model.compile("sgd", "mse")
    return model


class Logged(cdl.callbacks.ModelCheckpoint):
    """A ModelCheckpoint as wandb's: it saves after each batch itself, and logs what was saved."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.saved = []

    def on_train_batch_end(self, batch, logs=None):
        if self._should_save_on_batch(batch):
            self._save_model(epoch=self._current_epoch, batch=batch, logs=logs)
            self.saved.append(self._get_file_path(self._current_epoch, batch, logs))


@pytest.mark.parametrize(("save_freq", "count"), [(3, 2), ("epoch", 0)])
def test_checkpoint_of_others_saves_when_it_is_time(save_freq, count, tmp_path):
    path = str(tmp_path / "{epoch}-{batch}.keras") if count else str(tmp_path / "{epoch}.keras")
    callback = Logged(path, save_freq=save_freq)
    net().fit(X, X[:, 0], batch_size=8, epochs=2, verbose=0, callbacks=[callback])
    assert len(callback.saved) == count
    assert all(map(cdl.models.load_model, callback.saved))
    assert len(list(tmp_path.iterdir())) == 2


def test_save_model_of_a_subclass_is_what_saves(tmp_path):
    class Counts(cdl.callbacks.ModelCheckpoint):
        calls = 0

        def _save_model(self, epoch, batch, logs):
            self.calls += 1
            super()._save_model(epoch, batch, logs)

    callback = Counts(tmp_path / "m.keras")
    net().fit(X, X[:, 0], epochs=3, verbose=0, callbacks=[callback])
    assert callback.calls == 3
    assert (tmp_path / "m.keras").exists()


def test_graph_of_a_sequential_is_a_functional_of_its_layers(tmp_path):
    model = net()
    graph = model._functional
    assert [each.name for each in graph.operations][1:] == [each.name for each in model.layers]
    assert graph.layers[1] is model.layers[0]
    assert np.array_equal(graph.predict(X, verbose=0), model.predict(X, verbose=0))
    assert cdl.Sequential([Dense(1)])._functional is None
    model.save(tmp_path / "m.keras")
    assert len(cdl.models.load_model(tmp_path / "m.keras").weights) == 4
