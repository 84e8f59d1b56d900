"""Objects that jobs of `train_many` share: a copy for each job, one object for all, or an error."""

import pickle
import threading

import numpy as np
import pytest
from counting_callback import Counting

import cdl
from cdl import callbacks, metrics
from cdl.layers import BatchNormalization, Dense, Input, Normalization, Rescaling
from cdl.trainers.many import own_callbacks

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 6)).astype(np.float32)
Y = (X[:, :1] + 0.3 * RNG.normal(size=(120, 1)) > 0).astype(np.float32)
FIT = {"epochs": 20, "validation_split": 0.3, "batch_size": 16}


def net(seed, metrics=(), optimizer=None, front=()):
    cdl.utils.set_random_seed(seed)
    model = cdl.Sequential([Input((6,)), *front, Dense(8, "tanh"), Dense(1, "sigmoid")])
    rate = 0.5 if seed % 2 else 0.02  # some stop early
    model.compile(
        optimizer or cdl.optimizers.Adam(rate), "binary_crossentropy", metrics=list(metrics)
    )
    return model


class Counts(callbacks.Callback):
    """A user's callback with a state that it shows in the logs."""

    def __init__(self):
        super().__init__()
        self.seen = []
        self.teacher = cdl.Sequential([Input((6,)), Dense(1)])

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(logs["loss"])
        self.teacher.set_weights([np.full(w.shape, len(self.seen)) for w in self.teacher.weights])
        logs["seen"] = float(len(self.seen)) + float(self.teacher.get_weights()[0][0, 0])
        if len(self.seen) == 7 and self.seen[-1] < 0.4:
            self.model.stop_training = True


class Base(callbacks.EarlyStopping):
    """A subclass without a call of anything but its base's."""


MADE = {
    "early": lambda: [callbacks.EarlyStopping(patience=2, restore_best_weights=True)],
    "subclass": lambda: [Base(patience=1, restore_best_weights=True)],
    "plateau": lambda: [callbacks.ReduceLROnPlateau(patience=1, factor=0.5)],
    "schedule": lambda: [callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.8)],
    "own": lambda: [Counts()],
    "history": lambda: [callbacks.History(), callbacks.EarlyStopping(patience=1)],
    "terminate": lambda: [callbacks.TerminateOnNaN()],
    "several": lambda: [
        callbacks.ReduceLROnPlateau(patience=0),
        callbacks.EarlyStopping(patience=3),
        Counts(),
    ],
}


def bits(model):
    return b"".join(w.tobytes() for w in model.get_weights())


def trained(each, workers, given, **options):
    """Weights, histories and epochs of jobs with one list of callbacks, or each with its own."""
    models = [net(seed) for seed in range(6)]
    np.random.seed(5)
    if each:
        jobs = [(model, X, Y, {"callbacks": given()}) for model in models]
        histories = cdl.train_many(jobs, workers=workers, **FIT, **options)
    else:
        jobs = [(model, X, Y) for model in models]
        histories = cdl.train_many(jobs, workers=workers, callbacks=given(), **FIT, **options)
    assert [model.history for model in models] == histories
    return [bits(m) for m in models], [(h.history, h.epoch) for h in histories]


@pytest.mark.parametrize("name", MADE)
def test_one_list_of_callbacks_serves_each_job_as_one_of_its_own_would(name):
    alone = trained(True, 1, MADE[name])
    assert len({str(history) for history in alone[1]}) == 6
    for workers in (1, 3, 6):
        assert trained(False, workers, MADE[name]) == alone


def test_callbacks_in_the_options_of_several_jobs_are_copied_and_others_used():
    early, own = callbacks.EarlyStopping(patience=1), callbacks.EarlyStopping(patience=1)
    models = [net(seed) for seed in range(3)]
    jobs = [(m, X, Y, {"callbacks": [early]}) for m in models[:2]]
    jobs.append((models[2], X, Y, {"callbacks": [own]}))
    histories = cdl.train_many(jobs, **FIT)
    assert early.model is None
    assert early.best is None
    assert own.model is models[2]
    assert own.best == min(histories[2].history["val_loss"])


def test_the_caller_s_callbacks_stay_as_they_were_even_after_a_fit_of_their_own():
    early = callbacks.EarlyStopping(patience=3, restore_best_weights=True)
    first = net(0)
    first.fit(X, Y, **FIT, callbacks=[early], verbose=0)
    weights, best = bits(first), early.best
    before = vars(early).copy()
    others = [net(seed) for seed in (1, 2)]
    cdl.train_many([(m, X, Y) for m in others], callbacks=[early], **FIT)
    assert vars(early) == before
    assert early.model is first
    assert (bits(first), early.best) == (weights, best)


def test_a_history_of_an_earlier_fit_begins_anew_in_each_job():
    used = callbacks.History()
    net(0).fit(X, Y, epochs=2, callbacks=[used], verbose=0)
    before = dict(used.history)
    models = [net(seed) for seed in (1, 2)]
    histories = cdl.train_many([(m, X, Y) for m in models], callbacks=[used], **FIT)
    assert [h.epoch for h in histories] == [list(range(20))] * 2
    assert [len(h.history["loss"]) for h in histories] == [20, 20]
    assert used.history == before


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_shared_callbacks_are_copied_by_workers_of_joblib_too(backend):
    pytest.importorskip("joblib")
    assert trained(False, 2, MADE["early"], backend=backend) == trained(False, 2, MADE["early"])


@pytest.mark.parametrize("backend", [None, "threading", "loky"])
def test_jobs_of_one_task_of_a_worker_have_callbacks_of_their_own(backend):
    pytest.importorskip("joblib")
    jobs = [(net(seed), X, Y) for seed in range(24)]
    histories = cdl.train_many(
        jobs, workers=2, backend=backend, callbacks=[Counting()], epochs=2, batch_size=32
    )
    assert [each.history["seen"] for each in histories] == [[1, 2]] * 24


def test_callbacks_are_sent_to_workers_without_the_data_of_other_jobs():
    calls = [(net(seed), {"x": X + seed, "y": Y}) for seed in range(20)]
    own = own_callbacks.of_jobs(calls, {"callbacks": None})
    assert len(pickle.dumps(own[0])) < X.nbytes


def test_a_function_makes_callbacks_for_each_job():
    made = []

    def make(number):
        made.append(callbacks.EarlyStopping(patience=number))
        return [made[-1]]

    models = [net(1) for _ in range(3)]
    histories = cdl.train_many([(m, X, Y) for m in models], callbacks=make, **FIT)
    assert [each.patience for each in made] == [0, 1, 2]
    assert [each.model for each in made] == models
    assert [h.epoch[-1] for h in histories] == [each.stopped_epoch for each in made]
    alike = cdl.train_many(
        [(net(1), X, Y)], callbacks=lambda: callbacks.EarlyStopping(patience=0), **FIT
    )
    assert alike[0].epoch == histories[0].epoch


class Locks(callbacks.Callback):
    """A callback with a thing that cannot be copied."""

    def __init__(self, thing):
        super().__init__()
        self.first = [1, 2]
        self.thing = thing


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (threading.Lock, "lock"),
        (threading.Event, "Event"),
        (lambda: (i for i in range(3)), "generator"),
        (lambda: [threading.RLock()], "list"),
    ],
)
def test_what_cannot_be_copied_is_refused_by_name_before_anything_trains(make, kind):
    models = [net(0), net(1)]
    before = [bits(m) for m in models]
    with pytest.raises(TypeError, match=rf"Locks .*`thing`, .*{kind}.* cannot be copied"):
        cdl.train_many([(m, X, Y) for m in models], callbacks=[Locks(make())])
    assert [bits(m) for m in models] == before
    cdl.train_many([(m, X, Y) for m in models], callbacks=lambda: [Locks(make())])
    assert [bits(m) for m in models] != before


def test_an_open_file_is_refused_by_name(tmp_path):
    with open(tmp_path / "log", "w") as file, pytest.raises(TypeError, match="TextIOWrapper"):
        cdl.train_many([(net(0), X, Y), (net(1), X, Y)], callbacks=[Locks(file)])


def test_modules_and_data_of_jobs_are_not_copied():
    class Holds(callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.numpy, self.x, self.first = np, X, models[0]

        def on_train_begin(self, logs=None):
            held.append((self.numpy is np, self.x is X, self.first is models[0]))

    held = []
    models = [net(0), net(1)]
    cdl.train_many([(m, X, Y) for m in models], callbacks=[Holds()])
    assert held == [(True, True, True)] * 2


def test_deepcopy_of_a_callback_decides():
    class Shared(callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.lock, self.jobs = threading.Lock(), []

        def __deepcopy__(self, memo):
            return self

        def on_train_end(self, logs=None):
            with self.lock:
                self.jobs.append(logs["loss"])

    shared = Shared()
    histories = cdl.train_many([(net(i), X, Y) for i in range(4)], callbacks=[shared])
    assert sorted(shared.jobs) == sorted(h.history["loss"][-1] for h in histories)


# --- files ---


def written(path):
    return {
        "checkpoint": lambda: callbacks.ModelCheckpoint(path / "best-{job:02d}.keras"),
        "csv": lambda: callbacks.CSVLogger(path / "log-{job}.csv"),
    }


@pytest.mark.parametrize("name", ["checkpoint", "csv"])
def test_the_number_of_the_job_is_part_of_a_path(name, tmp_path):
    models = [net(seed) for seed in range(3)]
    cdl.train_many([(m, X, Y) for m in models], callbacks=written(tmp_path)[name](), **FIT)
    found = sorted(path.name for path in tmp_path.iterdir())
    if name == "csv":
        assert found == [f"log-{i}.csv" for i in range(3)]
        assert all(len((tmp_path / each).read_text().splitlines()) == 21 for each in found)
    else:
        assert found == [f"best-{i:02d}.keras" for i in range(3)]
        for model, each in zip(models, found, strict=True):
            assert bits(cdl.models.load_model(tmp_path / each)) == bits(model)


def test_each_job_goes_on_from_its_own_backup(tmp_path):
    class Stop(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 8:
                raise RuntimeError("stop")

    def run(*given):
        models = [net(seed) for seed in range(3)]
        np.random.seed(5)
        try:
            cdl.train_many([(m, X, Y) for m in models], callbacks=list(given), **FIT)
        except RuntimeError:
            assert sorted(p.name for p in tmp_path.iterdir()) == ["0", "1", "2"]
        return [bits(m) for m in models]

    backup = callbacks.BackupAndRestore(tmp_path / "{job}")
    whole, stopped = run(), run(backup, Stop())
    assert stopped != whole
    assert run(backup) == whole
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "make",
    [
        lambda path: callbacks.ModelCheckpoint(path / "best.keras"),
        lambda path: callbacks.CSVLogger(path / "log.csv", append=True),
        callbacks.BackupAndRestore,
        callbacks.TensorBoard,
    ],
)
@pytest.mark.parametrize("one", [True, False])
def test_two_jobs_that_write_to_one_place_are_refused(make, one, tmp_path):
    models = [net(0), net(1)]
    given = make(tmp_path)
    jobs = [(m, X, Y, {"callbacks": [given if one else make(tmp_path)]}) for m in models]
    with pytest.raises(ValueError, match=r"jobs 0 and 1 would both write to .*\{job\}"):
        cdl.train_many(jobs)
    assert not list(tmp_path.iterdir())


# --- what training changes ---


class InPython(metrics.Metric):
    """A metric whose sum is an attribute."""

    def __init__(self):
        super().__init__(name="in_python")
        self.sum = 0.0

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.sum += float(np.abs(np.asarray(y_true) - np.asarray(y_pred)).sum())

    def result(self):
        return self.sum

    def reset_state(self):
        self.sum = 0.0


class Shuffles(cdl.utils.PyDataset):
    """A data set that changes between epochs."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return X[:8], Y[:8]

    def on_epoch_end(self):
        pass


def two(**common):
    return [(net(seed, **common), X, Y) for seed in range(2)]


def of_data(data):
    return [(net(seed), data, None) for seed in range(2)]


def unbuilt(seed):
    jobs = []
    for _ in range(2):
        model = cdl.Sequential([Dense(1, kernel_initializer=cdl.initializers.HeNormal(seed))])
        model.compile("sgd", "mse")
        jobs.append((model, X, Y))
    return jobs


SHARED = {
    "optimizer": (lambda: two(optimizer=cdl.optimizers.Adam(name="a")), "an optimizer", "'a'"),
    "metric": (lambda: two(metrics=[InPython()]), "a metric of the user's", "'in_python'"),
    "layer": (lambda: two(front=[Dense(6, name="front")]), "a layer that learns", "'front'"),
    "moving": (lambda: two(front=[BatchNormalization(name="b")]), "a layer that learns", "'b'"),
    "generator": (lambda: of_data((X, Y) for _ in range(9)), "an iterator as `x`", "a generator"),
    "data set": (lambda: of_data(Shuffles()), "a `x` that changes between epochs", "a Shuffles"),
    "seeds": (lambda: unbuilt(cdl.random.SeedGenerator(1)), "a seed generator", "layer 'dense"),
    "model": (lambda: [(net(0), X, Y)] * 2, "a model", "'sequential"),
}


@pytest.mark.parametrize("name", SHARED)
def test_what_training_changes_is_refused_by_name(name):
    make, *texts = SHARED[name]
    jobs = make()
    before = [bits(model) for model, *_ in jobs if model.built]
    with pytest.raises(ValueError) as caught:
        cdl.train_many(jobs)
    assert all(text in str(caught.value) for text in [*texts, "jobs 0 and 1"])
    assert [bits(model) for model, *_ in jobs if model.built] == before


def test_a_model_within_another_is_refused_while_it_learns():
    inner = net(0)
    x = Input((6,))
    outer = cdl.Model(x, Dense(1)(inner(x)))
    outer.compile("sgd", "mse")
    with pytest.raises(ValueError, match="layer that learns"):
        cdl.train_many([(inner, X, Y), (outer, X, Y)])
    frozen = Dense(6, trainable=False, name="frozen")
    cdl.train_many(two(front=[frozen, Rescaling(0.5)]))


def test_a_layer_that_was_adapted_may_be_shared():
    scaled = Normalization()
    scaled.adapt(X)
    assert len(cdl.train_many(two(front=[scaled]), **FIT)) == 2


@pytest.mark.parametrize("make", [metrics.AUC, metrics.F1Score, metrics.MeanIoU], ids=str)
def test_a_metric_of_the_core_may_be_shared(make):
    options = {"num_classes": 2} if make is metrics.MeanIoU else {}

    def run(workers, one):
        shared = make(**options, name="m")
        models = [net(i, metrics=[shared if one else make(**options, name="m")]) for i in range(6)]
        np.random.seed(1)
        jobs = [(m, X, Y) for m in models]
        return [h.history for h in cdl.train_many(jobs, workers=workers, epochs=30)]

    alone = run(1, False)
    assert [run(workers, True) for workers in (1, 6, 6)] == [alone] * 3
