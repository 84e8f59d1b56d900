"""Optimizers of one's own, in Python; values are in tests/golden."""

import copy
import pickle

import numpy as np
import pytest
from optimizers.small_net import fit, net

import cdl
from cdl import constraints, optimizers
from cdl.models import load_model


class Momentum(optimizers.Optimizer):
    def __init__(self, learning_rate=0.1, **kwargs):
        super().__init__(learning_rate, **kwargs)

    def build(self, variables):
        if not self.built:
            super().build(variables)
            self.sums, self.counts = self.add_optimizer_variables(variables, ["sum", "count"])

    def update_step(self, gradient, variable, learning_rate):
        place = self._get_variable_index(variable)
        self.assign(self.sums[place], 0.9 * self.sums[place] + gradient)
        self.assign_add(self.counts[place], 1.0)
        self.assign_sub(variable, learning_rate * self.sums[place].numpy())


def test_it_learns_as_the_same_formula_in_the_core():
    core, written = net(optimizers.SGD(0.1, 0.9)), net(Momentum())
    np.testing.assert_allclose(fit(core, epochs=3), fit(written, epochs=3), rtol=1e-5)
    for a, b in zip(core.get_weights(), written.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    optimizer = written.optimizer
    assert int(optimizer.iterations) == 15
    assert all((count.numpy() == 15).all() for count in optimizer.counts)


@pytest.mark.parametrize(
    "constraint", ["max_norm", constraints.MinMaxNorm(0.2, 0.5, rate=0.5), lambda w: 0.9 * w]
)
def test_constraints_are_applied_once_after_the_step(constraint):
    core, written = net(optimizers.SGD(0.1, 0.9)), net(Momentum())
    for model in (core, written):
        model.layers[0].kernel.constraint = constraints.get(constraint)
        model.layers[0].kernel.assign(3 * model.layers[0].kernel)
    np.testing.assert_allclose(fit(core, epochs=3), fit(written, epochs=3), rtol=1e-5)
    for a, b in zip(core.get_weights(), written.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore::cdl.UntracedWarning")
def test_losses_in_python_and_frozen_weights():
    core, written = net(optimizers.SGD(0.1, 0.9)), net(Momentum())
    for model in (core, written):
        model.layers[0].trainable = False
        model.compile(model.optimizer, lambda y, p: np.square(y - p).mean(-1))
    np.testing.assert_allclose(fit(core), fit(written), rtol=1e-5)
    assert len(written.optimizer.sums) == 2


def test_copies_and_files_go_on_where_it_was(tmp_path):
    model = net(Momentum())
    fit(model, epochs=2)
    model.save(tmp_path / "model.keras")
    scope = {"Momentum": Momentum}
    loaded = load_model(tmp_path / "model.keras", custom_objects=scope)
    others = [loaded, copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    expected = fit(model, epochs=2)
    for other in others:
        np.testing.assert_allclose(fit(other, epochs=2), expected, rtol=1e-6)


def test_a_base_without_a_step_says_what_is_missing():
    class Nothing(optimizers.Optimizer):
        pass

    with pytest.raises(NotImplementedError, match="must have an update_step"):
        fit(net(Nothing(0.1)))
    with pytest.raises(NotImplementedError, match="the core makes the steps"):
        optimizers.SGD().update_step(1.0, cdl.Variable(1.0), 0.1)


@pytest.mark.parametrize("options", [{"dtype": "int32"}, {"dtype": "float64"}, {"layout": "x"}])
def test_a_variable_that_cannot_be_had_is_refused(options):
    optimizer = Momentum()
    optimizer.build([])
    with pytest.raises(ValueError, match=f"Momentum.add_variable: {next(iter(options))}"):
        optimizer.add_variable((2,), **options)
    assert optimizer.add_variable((2,), dtype="float32").shape == (2,)


def test_gradients_of_another_shape_are_refused():
    optimizer, weight = Momentum(), cdl.Variable(np.zeros((3, 2)))
    optimizer.build([weight])
    with pytest.raises(ValueError, match=r"must have shape \(3, 2\), got \(3,\)"):
        optimizer.apply([np.zeros(3)])


class Noted(optimizers.SGD):
    noted = 0

    def save_own_variables(self, store):
        super().save_own_variables(store)
        store["noted"] = np.array(self.noted)

    def load_own_variables(self, store):
        self.noted = int(store.pop("noted"))
        super().load_own_variables(store)


def test_an_optimizer_writes_and_reads_its_own_variables(tmp_path):
    model = net(Noted(0.1, momentum=0.9))
    fit(model)
    model.optimizer.noted = 7
    model.save(tmp_path / "m.keras")
    loaded = load_model(tmp_path / "m.keras", custom_objects={"Noted": Noted})
    assert loaded.optimizer.noted == 7
    np.testing.assert_allclose(fit(loaded), fit(model), rtol=1e-6)
    other, store = Noted(0.1, momentum=0.9), {}
    model.optimizer.save_own_variables(store)
    with pytest.warns(UserWarning, match="nothing is loaded, since the store has 6 arrays for 2"):
        other.load_own_variables(dict(store))
    other.build(model.trainable_variables)
    other.load_own_variables(store)
    for one, two in zip(other.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(two))
