"""Training from a .keras file on ends with the bits of one that ran through."""

import copy
import itertools
import json
import pickle
import random
import zipfile

import numpy as np
import pytest

import cdl
from cdl import callbacks, layers, ops
from cdl.data import PyDataset
from cdl.layers import BatchNormalization, Dense, Dropout, Input
from cdl.models import Sequential, load_model

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 4)).astype(np.float32)
Y = X[:, :2] * 2
EPOCHS, BREAK = 6, 2


class Batches(PyDataset):
    """Seven batches, with noise of a generator that keeps every second number."""

    def __len__(self):
        return 7

    def __getitem__(self, i):
        part = slice(7 * i, 7 * i + 7)
        return X[part] + np.random.normal() / 9, Y[part]


@cdl.saving.register_keras_serializable(package="goes on")
class Noise(layers.Layer):
    """A layer of the user's own that draws without a seed."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.generators = [cdl.random.SeedGenerator()]

    def call(self, x):
        return x + cdl.random.normal(ops.shape(x), stddev=0.1, seed=self.generators[0])


@cdl.saving.register_keras_serializable(package="goes on")
class SelfAttention(layers.Layer):
    """Attention of steps among each other."""

    def __init__(self, attention, in_a_list=False, **kwargs):
        super().__init__(**kwargs)
        self.attention, self.in_a_list = attention, in_a_list

    def get_config(self):
        attention = cdl.saving.serialize_keras_object(self.attention)
        return {**super().get_config(), "attention": attention, "in_a_list": self.in_a_list}

    @classmethod
    def from_config(cls, config):
        attention = cdl.saving.deserialize_keras_object(config.pop("attention"))
        return cls(attention, **config)

    def call(self, x):
        return self.attention([x, x]) if self.in_a_list else self.attention(x, x)


NETS = {
    "dropout": lambda: [Dropout(0.3)],
    "noise": lambda: [layers.GaussianNoise(0.1), layers.GaussianDropout(0.2)],
    "patterned": lambda: [layers.AlphaDropout(0.2), Dropout(0.3, (1, None))],
    "within": lambda: [Sequential([Input((8,)), Dropout(0.3), Dense(8)]), Dropout(0.2, seed=3)],
    "own": lambda: [Noise()],
    "attention": lambda: [
        layers.Reshape((4, 2)),
        SelfAttention(layers.MultiHeadAttention(2, 3, dropout=0.2)),
        SelfAttention(layers.GroupQueryAttention(3, 2, 1, dropout=0.2)),
        layers.Flatten(),
    ],
    "attention by scores": lambda: [
        layers.Reshape((4, 2)),
        SelfAttention(layers.Attention(dropout=0.2), in_a_list=True),
        SelfAttention(layers.AdditiveAttention(dropout=0.2), in_a_list=True),
        layers.Flatten(),
    ],
    "recurrent": lambda: [
        layers.Reshape((4, 2)),
        layers.SimpleRNN(4, dropout=0.2, return_sequences=True),
        layers.Bidirectional(layers.GRU(3, recurrent_dropout=0.2, seed=1)),
        layers.RepeatVector(2),
        layers.SimpleRNN(4, recurrent_dropout=0.2, seed=2),
    ],
}
DATA = {
    "arrays": ((X, Y), {"batch_size": 8}),
    "batches of arrays": ((X, Y), {"batch_size": 8, "shuffle": "batch"}),
    "validation": ((X, Y), {"validation_split": 0.2}),
    "PyDataset": ((Batches(),), {}),
}


def net(name="dropout", **options):
    model = Sequential([Input((4,)), Dense(8, "relu"), BatchNormalization(), *NETS[name]()])
    model.add(Dense(2))
    model.compile(cdl.optimizers.Adam(0.01, use_ema=True), "mse", **options)
    return model


def ran_through(name, data, folder, seed=7):
    """The weights after all epochs; a file of each is left."""
    cdl.utils.clear_session()
    cdl.utils.set_random_seed(seed)
    model = net(name)
    given, options = DATA[data]
    keeping = [callbacks.ModelCheckpoint(folder / "{epoch}.keras")]
    model.fit(*given, epochs=EPOCHS, verbose=0, callbacks=keeping, **options)
    return model.get_weights()


def go_on(model, data="arrays", **more):
    given, options = DATA[data]
    options = {"epochs": EPOCHS, "initial_epoch": BREAK, "verbose": 0} | options | more
    model.fit(*given, **options)
    return model.get_weights()


def elsewhere():
    """Set seeds and generators as another process would have them."""
    cdl.utils.set_random_seed(99)
    np.random.rand(3)
    random.random()


def equal(a, b):
    return all(map(np.array_equal, a, b))


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("name", NETS)
def test_fit_goes_on_with_the_bits_of_the_whole_one(name, data, tmp_path):
    whole = ran_through(name, data, tmp_path)
    elsewhere()
    model = load_model(tmp_path / f"{BREAK}.keras")
    assert equal(go_on(model, data), whole)


def test_another_process_goes_on_too(tmp_path, run_python, root):
    whole = ran_through("dropout", "arrays", tmp_path)
    run_python(f"""if True:
        import sys
        sys.path[:0] = [{str(root / "tests")!r}, {str(root / "tests" / "helpers")!r}]
        import numpy as np
        from saving.test_goes_on import BREAK, go_on, load_model
        model = load_model({str(tmp_path / "2.keras")!r})
        np.savez({str(tmp_path / "weights.npz")!r}, *go_on(model))
    """)
    with np.load(tmp_path / "weights.npz") as there:
        assert equal([there[name] for name in there], whole)


def test_fit_goes_on_from_a_model_that_was_saved_after_its_fit(tmp_path):
    cdl.utils.set_random_seed(3)
    model = net()
    model.fit(X, Y, epochs=BREAK, verbose=0)
    model.save(tmp_path / "a.keras")
    whole = go_on(model)
    elsewhere()
    assert equal(go_on(load_model(tmp_path / "a.keras")), whole)


def test_data_that_were_looked_at_before_are_ordered_as_in_the_file(tmp_path):
    whole = ran_through("dropout", "PyDataset", tmp_path)
    elsewhere()
    model = load_model(tmp_path / f"{BREAK}.keras")
    model.evaluate(X, Y, verbose=0)
    model.predict(X, verbose=0)
    assert equal(go_on(model, "PyDataset"), whole)


def test_backup_brings_the_order_of_a_pydataset_back(tmp_path):
    class Stop(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 3:
                raise RuntimeError("stop")

    def train(*watchers):
        cdl.utils.set_random_seed(7)
        model = net()
        model.evaluate(X, Y, verbose=0)  # so that `fit` has nothing to build
        model.fit(Batches(), epochs=EPOCHS, verbose=0, callbacks=list(watchers))
        return model.get_weights()

    whole = train()
    with pytest.raises(RuntimeError, match="stop"):
        train(callbacks.BackupAndRestore(tmp_path), Stop())
    assert equal(train(callbacks.BackupAndRestore(tmp_path)), whole)


# --- when the generators are left alone ---


def states():
    return cdl.random.state()


def loaded(folder):
    ran_through("dropout", "arrays", folder)
    elsewhere()
    return load_model(folder / f"{BREAK}.keras")


def test_loading_and_predicting_leave_the_generators_of_numpy_and_the_core_alone(tmp_path):
    ran_through("dropout", "arrays", tmp_path)
    elsewhere()
    before = states()
    model = load_model(tmp_path / f"{BREAK}.keras")
    model.predict(X, verbose=0)
    model.evaluate(X, Y, verbose=0)
    after = states()
    assert (after["seed"], after["numpy"]) == (before["seed"], before["numpy"])


ANEW = {
    "epochs from the first on": lambda model: go_on(model, initial_epoch=0),
    "no epoch": lambda model: go_on(model, epochs=BREAK),
    "a batch before": lambda model: (model.train_on_batch(X, Y), go_on(model)),
    "a fit before": lambda model: (go_on(model, initial_epoch=0), go_on(model)),
    "compiled anew": lambda model: (model.compile("sgd", "mse"), go_on(model)),
}


@pytest.mark.parametrize("name", ANEW)
def test_training_that_does_not_go_on_from_the_file_draws_from_the_process(name, tmp_path):
    model = loaded(tmp_path)
    ANEW[name](model)
    assert cdl.random.core_seed() == 99


def test_seed_that_is_set_after_loading_counts(tmp_path):
    results = []
    for _ in range(2):
        model = loaded(tmp_path)
        cdl.utils.set_random_seed(5)
        results.append(go_on(model))
        assert cdl.random.core_seed() == 5
    assert equal(*results)
    model = loaded(tmp_path)
    with cdl.random.seeded(5):
        assert equal(go_on(model), results[0])
    assert cdl.random.core_seed() == 99


def test_files_of_what_is_not_compiled_have_no_such_member(tmp_path):
    model = Sequential([Input((4,)), Dropout(0.3), Dense(2)])
    model.save(tmp_path / "a.keras")
    with zipfile.ZipFile(tmp_path / "a.keras") as archive:
        assert archive.namelist() == ["metadata.json", "config.json", "model.weights.h5"]


def test_parts_with_other_generators_than_in_the_file_keep_theirs(tmp_path):
    model = net("own")
    model.save(tmp_path / "a.keras")
    with zipfile.ZipFile(tmp_path / "a.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    state = json.loads(members["random_state.json"])
    assert [*state["layers"]] == ["layers/noise"]
    state["layers"] = {"layers/noise": [[1, 2], [3, 4]], "layers/nowhere": [[1, 2]]}
    members["random_state.json"] = json.dumps(state).encode()
    with zipfile.ZipFile(tmp_path / "b.keras", "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    before = load_model(tmp_path / "a.keras").layers[2].generators[0]
    again = load_model(tmp_path / "b.keras").layers[2].generators[0]
    assert before.seed == model.layers[2].generators[0].seed
    assert again.state.numpy().tolist() == [again.seed, 0]
    assert again.seed != before.seed


@pytest.mark.parametrize("kind", ["PCG64", "Philox"])
def test_other_generators_of_numpys_go_on_too(kind, tmp_path):
    from numpy.random.mtrand import get_bit_generator, set_bit_generator

    kept = get_bit_generator()
    set_bit_generator(getattr(np.random, kind)(5))
    try:
        model = net()
        model.fit(X, Y, epochs=BREAK, verbose=0)
        model.save(tmp_path / "a.keras")
        whole = go_on(model)
        elsewhere_model = load_model(tmp_path / "a.keras")
        np.random.random(3)
        assert equal(go_on(elsewhere_model), whole)
        again = load_model(tmp_path / "a.keras")
    finally:
        set_bit_generator(kept)
    with pytest.raises(ValueError, match=f"np.random must draw from {kind}"):
        go_on(again)


def branched(order):
    """A model of three outputs of one hidden layer, whose branches are called in some order."""
    cdl.utils.set_random_seed(7)
    x = Input((4,))
    h = Dense(8, "relu")(x)
    makers = {
        "short": lambda: Dense(2)(h),
        "long": lambda: Dense(2)(Dense(5, "tanh")(Dense(6, "gelu")(Dropout(0.2)(h)))),
        "added": lambda: Dense(2)(layers.Add()([layers.Concatenate()([h, h]), Dense(16)(h)])),
    }
    made = {name: makers[name]() for name in order}
    model = cdl.Model(x, [made[name] for name in makers])
    model.compile(cdl.optimizers.Adam(0.02), ["mse"] * 3)
    return model


@pytest.mark.parametrize("order", list(itertools.permutations(["short", "long", "added"])))
def test_a_graph_goes_on_whatever_the_order_of_its_calls_was(order, tmp_path):
    models = [branched(order) for _ in range(4)]
    for model in models:
        model.fit(X, [Y] * 3, batch_size=8, shuffle=False, verbose=0)
    models[1].save(tmp_path / "model.keras")
    models[1] = load_model(tmp_path / "model.keras")
    models[2:] = [copy.deepcopy(models[2]), pickle.loads(pickle.dumps(models[3]))]
    for model in models:
        model.fit(X, [Y] * 3, batch_size=8, epochs=3, initial_epoch=1, shuffle=False, verbose=0)
    for model in models[1:]:
        assert equal(model.get_weights(), models[0].get_weights())


class WithOwnOptimizer(cdl.Model):
    """A model that holds an optimizer beside the compiled one."""

    def __init__(self):
        super().__init__()
        self.dense = Dense(2)
        self.own = cdl.optimizers.Adam(0.01)

    def call(self, x):
        return self.dense(x)


def test_state_of_an_optimizer_that_a_model_holds_is_not_dropped_in_silence(tmp_path):
    x, path = np.ones((4, 3), np.float32), tmp_path / "own.weights.h5"
    models = [WithOwnOptimizer() for _ in range(4)]
    for model in models:
        model(x)
    for model in models[:2]:
        model.own.apply([np.ones_like(w) for w in model.get_weights()], model.trainable_variables)
    models[0].save_weights(path)
    models[1].load_weights(path)  # it has learned as well
    assert int(models[1].own.iterations) == 1
    with pytest.warns(UserWarning, match="Skipping variable loading for optimizer 'adam"):
        models[2].load_weights(path)
    models[3].save_weights(path)
    with pytest.warns(UserWarning, match="Skipping variable loading for optimizer 'adam"):
        models[0].load_weights(path)
