"""Code that cannot be traced raises an error with its line and an alternative."""

import re
import traceback
from pathlib import Path

import numpy as np
import pytest

import cdl
from cdl import Input, Model, layers, ops
from cdl._tracing.graph import scope

TABLE = np.arange(12, dtype=np.float32).reshape(4, 3)


def x():
    return Input((3,))


def steps():
    return Input((5, 4))


# name: (what is done, a part of what is said)
UNTRACED = {
    "one sample": (lambda: x()[0], "samples cannot be chosen by their place"),
    "a place of each sample": (lambda: x()[[0, 1], [0, 1]], "takes place i of each"),
    "some samples": (lambda: x()[:2], "weight them, as by cdl.ops.where"),
    "samples by a mask": (lambda: x()[x() > 0], "use cdl.ops.where"),
    "a truth": (lambda: 1 if ops.sum(x()) > 0 else 0, "choose by cdl.ops.where"),
    "a number": (lambda: float(ops.sum(x())), "not known while tracing"),
    "a range of samples": (lambda: range(ops.shape(x())[0]), "the number of samples is not known"),
    "a truth of the number": (lambda: ops.shape(x())[0] == 3, "the number of samples is not"),
    "samples mixed": (lambda: ops.reshape(x(), (3, -1)), "must stay together"),
    "products of samples": (
        lambda: ops.matmul(x(), ops.transpose(x())),
        "the samples must stay along one axis",
    ),
    "samples by samples": (lambda: ops.expand_dims(x(), 1) - x(), "arguments must go together"),
    "pairs of samples": (
        lambda: ops.expand_dims(x(), 1) - ops.expand_dims(x(), 0),
        "samples must stay along one axis",
    ),
    "samples joined": (lambda: ops.concatenate([x(), x()], 0), "which must stay apart"),
    "samples sorted": (lambda: ops.sort(x(), axis=0), "which must stay apart"),
    "samples numbered": (lambda: ops.arange(ops.shape(x())[0]), "a size of the result must be"),
    "samples reversed": (lambda: ops.flip(x(), axis=0), "which must stay apart"),
    "samples repeated": (lambda: ops.tile(x(), (2, 1)), "which must stay apart"),
    "places": (lambda: ops.where(x() > 0), "give both choices"),
    "different numbers": (lambda: ops.unique(x()), "how many there are is not known"),
    "samples scattered": (lambda: ops.scatter([[0]], x()[:, :1], (3,)), "which must stay apart"),
    "a determinant": (lambda: ops.det(steps()), "det: x must be square matrices"),
    "a determinant of samples": (lambda: ops.det(Input((3,))), "x must be square matrices"),
    "an assignment": (lambda: ops.slice_update(x(), (0, 0), TABLE), "which must stay apart"),
    "a loop": (lambda: ops.while_loop(lambda v: ops.sum(v) < 9, lambda v: v + 1, (x(),)), "loop a"),
    "a loop over samples": (lambda: ops.map(ops.square, x()), "work on all of them at once"),
    "samples one by one": (lambda: ops.unstack(x()), "which must stay apart"),
    "a product over samples": (lambda: ops.prod(x(), axis=0), "which must stay apart"),
    "an array": (lambda: ops.convert_to_numpy(x()), "go on with cdl.ops"),
    "two lists of places": (lambda: steps()[:, [0, 1], [0, 1]], "use cdl.ops.take_along_axis"),
}


@pytest.mark.parametrize(("do", "text"), UNTRACED.values(), ids=UNTRACED)
def test_what_cannot_be_traced_names_the_line_and_the_way_out(do, text):
    with pytest.raises((TypeError, ValueError), match=text) as caught, scope(training=False):
        do()
    if caught.type is TypeError:
        line, code = str(caught.value).split(": ")[0], str(caught.value).splitlines()[-1]
        assert line.startswith(__file__)
        assert code.strip() in Path(__file__).read_text()


UNFIT = {
    "shapes": (
        lambda: ops.add(x(), np.ones(4)),
        r"add: arguments must go together, got shapes \(None, 3\) and \(4,\)",
    ),
    "axes": (lambda: ops.sum(x(), axis=2), r"sum: arguments must .* \(None, 3\) .*axis 2"),
    "sizes": (lambda: ops.matmul(x(), TABLE), r"matmul: .* \(None, 3\) and \(4, 3\)"),
    "a reshape": (lambda: ops.reshape(x(), (-1, 7)), r"reshape: .* \(None, 3\)"),
    "letters": (lambda: ops.einsum("bi,jk->bk", x(), TABLE[0]), "einsum: subscripts 'jk' must"),
    "targets": (
        lambda: ops.binary_crossentropy(x(), Input((2,))),
        r"target must have the shape of output, \(None, 2\), got \(None, 3\)",
    ),
    "parts": (lambda: ops.split(x(), 2, axis=1), "split: indices_or_sections must divide"),
    "keys": (lambda: x()[:, 0, 0], "key must be for 2 axes"),
    "a place": (lambda: x()[:, 3], "out of bounds"),
}


@pytest.mark.parametrize(("do", "text"), UNFIT.values(), ids=UNFIT)
def test_what_does_not_fit_names_the_shapes(do, text):
    with pytest.raises((ValueError, IndexError), match=text):
        do()


def test_arguments_are_called_as_in_keras():
    with pytest.raises(TypeError, match=r"^sum\(\) got an unexpected keyword argument 'dim'$"):
        ops.sum(TABLE, dim=1)
    with pytest.raises(TypeError, match="argument 'axes'; did you mean 'axis'"):
        ops.sum(x(), axes=1)
    with pytest.raises(TypeError, match=r"^add\(\) missing a required argument: 'x2'$"):
        ops.add(x1=TABLE)


@pytest.mark.parametrize("function", [ops.concatenate, ops.stack])
@pytest.mark.parametrize("given", [TABLE, Input((3,))], ids=["arrays", "tensors"])
def test_arrays_apart_are_told_to_be_a_list(function, given):
    with pytest.raises(ValueError, match="the arrays are one argument, a list"):
        function(given, given)


def test_a_weight_in_a_product_that_does_not_fit_shows_the_shapes():
    weight = cdl.Variable(TABLE)
    text = r"^matmul: matrices must agree .* got shapes \({}\) and \({}\)$"
    with pytest.raises(ValueError, match=text.format("4, 3", "4, 3")):
        weight @ TABLE
    with pytest.raises(ValueError, match=text.format("2, 3", "4, 3")):
        np.ones((2, 3)) @ weight
    with pytest.raises(ValueError, match="could not be broadcast"):
        weight + np.ones(7)


@pytest.mark.parametrize(
    "do", [lambda: ops.matmul(TABLE, TABLE), lambda: ops.matmul(x(), TABLE), lambda: x() + TABLE]
)
def test_no_words_of_numpy_stand_above_the_error(do):
    def above(error):
        return "direct cause" in "".join(traceback.format_exception(error))

    with pytest.raises(ValueError) as caught:
        do()
    assert not above(caught.value)
    cdl.config.disable_traceback_filtering()
    try:
        with pytest.raises(ValueError) as caught:
            do()
    finally:
        cdl.config.enable_traceback_filtering()
    assert above(caught.value)


def test_a_place_that_a_table_does_not_have_is_named():
    class Rows(layers.Layer):
        def call(self, x):
            return ops.take(TABLE, x, axis=0)

    model = cdl.Sequential([Input((2,)), Rows()])
    found = model.predict(np.float32([[0, 3], [-1, 2]]), verbose=0)
    np.testing.assert_array_equal(found, TABLE[[[0, 3], [-1, 2]]])
    with pytest.raises(ValueError, match=r"take: expected numbers in \[0, 4\), got 4"):
        model.predict(np.float32([[0, 4]]), verbose=0)
    with pytest.raises(IndexError, match="take: indices must be below 4, got 4"):
        ops.take(TABLE, [0, 4], axis=0)


def test_an_exception_in_call_keeps_its_place_and_leaves_no_half_built_layer():
    class Wrong(layers.Layer):
        def build(self, shape):
            self.w = self.add_weight(shape=(7, 2))

        def call(self, x):
            return ops.matmul(x, self.w)

    layer = Wrong()
    with pytest.raises(ValueError, match=r"matmul: .* \(None, 3\) and \(7, 2\)") as caught:
        Model(x(), layer(x()))
    assert any(entry.name == "call" for entry in caught.traceback)
    assert not layer.built
    assert layer(Input((7,))).shape == (None, 2)
    assert len(layer.weights) == 1


def test_ragged_symbolic_tensor_is_refused():
    with pytest.raises(ValueError, match="KerasTensor: ragged=True is not supported"):
        cdl.KerasTensor((None, 3), ragged=True)
    assert cdl.KerasTensor((None, 3), ragged=False).ragged is False


def test_symbolic_tensors_know_whether_they_are_sparse():
    plain, sparse = (cdl.KerasTensor((None, 3), sparse=each) for each in (False, True))
    weights = cdl.KerasTensor((3, 2), sparse=True)
    found = {
        "one_hot": ops.one_hot(plain, 5, sparse=True),
        "multi_hot": ops.multi_hot(plain, 5, sparse=True),
        "concatenate": ops.concatenate([sparse, sparse], axis=1),
        "matmul": ops.matmul(cdl.KerasTensor((4, 3), sparse=True), weights),
        "convert_to_tensor": ops.convert_to_tensor(sparse),
        "kept": ops.convert_to_tensor(sparse, sparse=True),
    }
    assert {name for name, each in found.items() if each.sparse} == set(found)
    dense = {
        "one_hot": ops.one_hot(plain, 5),
        "concatenate": ops.concatenate([sparse, plain], axis=1),
        "matmul": ops.matmul(cdl.KerasTensor((4, 3)), weights),
        "sum": sparse + sparse,
        "convert_to_tensor": ops.convert_to_tensor(plain, sparse=True),
        "made dense": ops.convert_to_tensor(sparse, sparse=False),
    }
    assert not [name for name, each in dense.items() if each.sparse]


@pytest.mark.parametrize("function", [ops.one_hot, ops.multi_hot])
def test_sparse_results_of_arrays_and_in_programs_are_refused(function):
    numbers = np.array([[1, 2], [0, 1]])
    with pytest.raises(ValueError, match=f"{function.__name__}: sparse must be False"):
        function(numbers, 3, sparse=True)
    inputs = Input((2,))
    model = Model(inputs, function(inputs, 3, sparse=True))
    with pytest.raises(ValueError, match="hot: sparse must be False"):
        model.predict(numbers, verbose=0)
    assert ops.convert_to_tensor(numbers, sparse=True).tolist() == numbers.tolist()


def test_sizes_of_one_number_of_samples_have_shapes_between_inputs_and_no_program():
    inputs = Input((3,))
    for outputs, shape in (
        (ops.broadcast_to(inputs, (2, 4, 3)), (2, 4, 3)),
        (ops.repeat(inputs, [1, 2], axis=0), (None, 3)),
        (ops.reshape(inputs, (3, 2)), (3, 2)),
    ):
        assert outputs.shape == shape
        with pytest.raises(TypeError, match="of a symbolic value"):
            Model(inputs, outputs).predict(np.ones((5, 3)), verbose=0)
    samples = ops.shape(inputs)[0]
    assert ops.broadcast_to(inputs, (2, samples, 3)).shape == (2, None, 3)
    with pytest.raises(ValueError, match="reshape"):  # no number of samples fits
        ops.reshape(inputs, (4, 2))


def test_loop_with_a_symbolic_condition_has_shapes_between_inputs_and_no_program():
    inputs = Input((3,))
    found, count = ops.while_loop(
        lambda x, n: ops.any(x < 10.0), lambda x, n: (x + 1.0, n + 1), (inputs, 0)
    )
    assert (found.shape, count) == ((None, 3), 0)
    with pytest.raises(TypeError, match="while_loop with a symbolic condition"):
        Model(inputs, found).predict(np.ones((2, 3)), verbose=0)
    with pytest.raises(TypeError):  # another error is raised at once
        ops.while_loop(lambda x: True, float, inputs)


def test_places_in_a_vector_of_unknown_length_are_int64():
    values = cdl.KerasTensor((2, 3))
    assert ops.searchsorted(cdl.KerasTensor((None,)), values).dtype == "int64"
    assert ops.searchsorted(cdl.KerasTensor((4,)), values).dtype == "int32"


@pytest.mark.parametrize("flash", [True, False])
def test_flash_attention_gives_the_same_as_none(flash):
    heads = np.random.default_rng(0).normal(size=(1, 2, 3, 4)).astype("f")
    given = ops.dot_product_attention(heads, heads, heads, flash_attention=flash)
    np.testing.assert_array_equal(given, ops.dot_product_attention(heads, heads, heads))


A, B = np.ones((2, 3)), np.ones((2, 4))
APART = {
    "matmul": (
        lambda: ops.matmul(A, A),
        "matmul: matrices must agree in the axis that is summed over, got shapes (2, 3) and (2, 3)",
    ),
    "matmul of a tensor": (
        lambda: ops.matmul(x(), A),
        "matmul: matrices must agree in the axis that is summed over, got shapes (None, 3) and "
        "(2, 3)",
    ),
    "dot": (lambda: ops.dot(A, A), "must agree in the axis that is summed over, got shapes (2, 3)"),
    "inner": (lambda: ops.inner(A, B), "inner: x1 and x2 must have the same last dimension"),
    "tensordot": (
        lambda: ops.tensordot(A, A, 1),
        "tensordot: axes [1] of x1 and [0] of x2 must have the same sizes, got shapes (2, 3) and "
        "(2, 3)",
    ),
    "einsum": (
        lambda: ops.einsum("ij,jk", A, A),
        "einsum: axes of one letter must have one size, got [2, 3] for 'j' in 'ij,jk' of shapes "
        "(2, 3) and (2, 3)",
    ),
    "add": (
        lambda: ops.add(A, B),
        "add: arguments must go together, got shapes (2, 3) and (2, 4)",
    ),
    "reshape": (lambda: ops.reshape(A, (4, 2)), "reshape: cannot reshape array of size 6"),
}


@pytest.mark.parametrize("name", APART)
def test_shapes_that_do_not_go_together_are_shown(name):
    call, text = APART[name]
    with pytest.raises(ValueError) as caught:
        call()
    assert text in str(caught.value)
    assert "gufunc" not in str(caught.value)


def test_a_matrix_without_an_inverse_is_told_by_its_own_error():
    with pytest.raises(np.linalg.LinAlgError, match="Singular"):
        ops.inv(np.zeros((2, 2)))


REFUSED = {
    "more than there are": (
        lambda t: ops.top_k(t, 4),
        "top_k: k must be an int from 0 to 3, got 4",
    ),
    "fewer than none": (lambda t: ops.top_k(t, -1), "top_k: k must be an int from 0 to 3, got -1"),
    "a part of a class": (lambda t: ops.one_hot(t, 2.5), "one_hot: num_classes must be an int"),
    "no class at all": (lambda t: ops.one_hot(t, -1), "of at least 0, got -1"),
    "no class of several": (
        lambda t: ops.multi_hot(t, -1),
        "multi_hot: num_classes must be an int",
    ),
    "a norm of order 0": (
        lambda t: ops.normalize(t, order=0),
        "order must be an int of at least 1",
    ),
    "a part past the end": (lambda t: ops.slice(t, (0, 1), (-1, 3)), "must stay within inputs"),
    "a part before it": (lambda t: ops.slice(t, (0, -4), (-1, 1)), "must stay within inputs"),
    "a part of other axes": (
        lambda t: ops.slice(t, (0,), (-1,)),
        "the number of dimensions in `inputs`",
    ),
    "below a vector": (lambda t: ops.tril(t[:, 0]), "tril: x must have at least 2 axes"),
    "above a vector": (lambda t: ops.triu(t[:, 0]), "triu: x must have at least 2 axes"),
}


@pytest.mark.parametrize("given", [x, lambda: TABLE], ids=["symbolic", "array"])
@pytest.mark.parametrize("name", REFUSED)
def test_what_keras_refuses_is_not_cut_off(name, given):
    do, text = REFUSED[name]
    with pytest.raises(ValueError, match=re.escape(text)):
        do(given())


def test_a_part_counted_from_the_end_is_that_part():
    np.testing.assert_array_equal(ops.slice(TABLE, (1, -2), (2, 2)), TABLE[1:3, 1:])


def test_texts_stay_texts_and_are_no_numbers():
    assert ops.convert_to_tensor("abc") == "abc"
    assert ops.convert_to_tensor(["abc", "d"], "string").tolist() == ["abc", "d"]
    with pytest.raises(ValueError, match="convert_to_tensor: x must hold numbers, got dtype <U3"):
        ops.convert_to_tensor("abc", "float32")


@pytest.mark.parametrize("function", [ops.cumsum, ops.cumprod])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float16", "float32"])
def test_running_sums_and_products_have_the_dtype_of_what_they_run_over(function, dtype):
    assert function(np.ones((2, 3), dtype), axis=1).dtype == dtype
    assert function(np.ones((2, 3), bool), axis=1).dtype == "int32"
    assert function(np.ones((2, 3), dtype), axis=1, dtype="float32").dtype == "float32"


@pytest.mark.parametrize(
    ("pattern", "lengths", "words"),
    [
        ("a b -> a", {}, "each name once on both sides"),
        ("a b", {}, "each name once on both sides"),
        ("a b c -> c b a", {}, "names for the 2 axes"),
        ("(a c) b -> a c b", {}, "give the length of all but one of a c"),
        ("(a c) b -> a c b", {"a": 3}, "must fit an axis of 4, got {'a': 3}"),
        ("a b -> b a", {"c": 3}, r"for the names in .* got \['c'\]"),
    ],
)
def test_rearrange_says_what_does_not_fit(pattern, lengths, words):
    with pytest.raises(ValueError, match=words):
        ops.rearrange(np.zeros((4, 5)), pattern, **lengths)


def test_rearrange_splits_and_joins():
    x = np.arange(24.0).reshape(4, 6)
    np.testing.assert_array_equal(ops.rearrange(x, "(a c) b -> c (b a)", c=2)[1], x[1::2].T.ravel())
