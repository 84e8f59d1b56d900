"""Distiller: the losses of Keras's formulas, what learns, configs."""

import numpy as np
import pytest

import cdl
from cdl.distillation import Distiller, FeatureDistillation, LogitsDistillation

X = np.random.RandomState(0).normal(size=(12, 4)).astype("f4")
Y = np.random.RandomState(1).randint(0, 3, 12)
SPARSE = cdl.losses.SparseCategoricalCrossentropy(from_logits=True)


def net(units, seed, name):
    cdl.utils.set_random_seed(seed)
    layers = [cdl.Input((4,)), cdl.layers.Dense(units, "tanh", name=name), cdl.layers.Dense(3)]
    return cdl.Sequential(layers)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_the_loss_is_that_of_labels_and_teacher():
    teacher, student = net(8, 1, "deep"), net(5, 2, "flat")
    kl = cdl.losses.KLDivergence()
    distiller = Distiller(teacher, student, LogitsDistillation(2.0, kl), student_loss_weight=0.3)
    distiller.compile("sgd", SPARSE)
    t, s = (model.predict(X, verbose=0) for model in (teacher, student))
    p, q = softmax(t / 2), softmax(s / 2)
    distilled = (p * np.log(p / q)).sum(-1).mean() * 4
    own = -np.log(softmax(s)[np.arange(12), Y]).mean()
    wanted = 0.3 * own + 0.7 * distilled
    assert distiller.evaluate(X, Y, verbose=0, return_dict=True)["loss"] == pytest.approx(
        wanted, 1e-4
    )


def test_the_default_loss_is_of_divided_logits_as_in_keras():
    t, s = np.full((2, 3), 0.6, "f4"), np.full((2, 3), 0.3, "f4")
    found = LogitsDistillation().compute_loss(t, s)
    assert found == pytest.approx(np.mean(cdl.losses.kl_divergence(t / 3, s / 3)), 1e-5)


def test_only_the_student_learns():
    teacher, student = net(8, 1, "deep"), net(5, 2, "flat")
    before = [w.copy() for w in teacher.get_weights()]
    old = [w.copy() for w in student.get_weights()]
    distiller = Distiller(
        teacher,
        student,
        [LogitsDistillation(loss="mse"), FeatureDistillation("mse")],
        distillation_loss_weights=[1.0, 0.5],
    )
    distiller.compile("adam", SPARSE, metrics=["accuracy"])
    history = distiller.fit(X, Y, epochs=8, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert {"loss", "accuracy", "student_loss", "distillation_loss", "total_loss"} <= set(history)
    for a, b in zip(before, teacher.get_weights(), strict=True):
        assert np.array_equal(a, b)
    assert not np.array_equal(old[0], student.get_weights()[0])
    assert np.allclose(distiller.predict(X, verbose=0), student.predict(X, verbose=0))


def test_features_of_layers_are_compared():
    teacher, student = net(6, 1, "deep"), net(6, 2, "flat")
    loss = FeatureDistillation("mse", "deep", "flat")
    distiller = Distiller(teacher, student, loss, student_loss_weight=0.0)
    distiller.compile("sgd", SPARSE)
    hidden = [
        np.tanh(X @ model.get_weights()[0] + model.get_weights()[1]) for model in (teacher, student)
    ]
    wanted = ((hidden[0] - hidden[1]) ** 2).mean()
    found = distiller.evaluate(X, Y, verbose=0, return_dict=True)["loss"]
    assert found == pytest.approx(wanted, 1e-4)
    distiller.fit(X, Y, epochs=3, verbose=0)
    assert distiller.evaluate(X, Y, verbose=0, return_dict=True)["loss"] < wanted


def test_a_distiller_comes_back_from_its_config():
    losses = [LogitsDistillation(2.0, "mse"), FeatureDistillation("mae")]
    distiller = Distiller(net(6, 1, "a"), net(4, 2, "b"), losses, [1.0, 2.0], 0.25)
    config = cdl.saving.serialize_keras_object(distiller)
    assert config["module"] == "keras.distillation"
    again = cdl.saving.deserialize_keras_object(config)
    assert again.student_loss_weight == 0.25
    assert again.distillation_loss_weights == [1.0, 2.0]
    assert [type(each).__name__ for each in again.distillation_losses] == [
        "LogitsDistillation",
        "FeatureDistillation",
    ]
    assert again.distillation_losses[0].temperature == 2.0


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"teacher": 3}, "Teacher must be"),
        ({"student": 3}, "Student must be"),
        ({"distillation_losses": None}, "cannot be `None`"),
        ({"student_loss_weight": "much"}, "must be a number"),
        ({"student_loss_weight": 2}, "between 0.0 and 1.0"),
        ({"distillation_losses": [LogitsDistillation()], "distillation_loss_weights": []}, "match"),
        ({"distillation_losses": FeatureDistillation("mse", "none", "b")}, "In teacher model"),
        ({"student": cdl.Sequential([cdl.Input((5,)), cdl.layers.Dense(3)])}, "incompatible"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, error):
    given = {"teacher": net(4, 1, "a"), "student": net(4, 2, "b")}
    given["distillation_losses"] = LogitsDistillation()
    with pytest.raises(ValueError, match=error):
        Distiller(**given | arguments)


def test_losses_and_compile_refuse_what_keras_does():
    for bad in (0, -1.0, "hot"):
        with pytest.raises(ValueError, match="temperature"):
            LogitsDistillation(bad)
    with pytest.raises(ValueError, match="non-`None`"):
        FeatureDistillation(None)
    distiller = Distiller(net(4, 1, "a"), net(4, 2, "b"), LogitsDistillation())
    with pytest.raises(ValueError, match="'loss' cannot be `None`"):
        distiller.compile("sgd")
    with pytest.raises(ValueError, match="metrics must be"):
        distiller.compile("sgd", SPARSE, metrics="accuracy")
    with pytest.raises(NotImplementedError):
        cdl.distillation.DistillationLoss().compute_loss(X, X)
