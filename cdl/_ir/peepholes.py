"""Peephole rules: ops written by hand become the fused instructions of layers.

A product with a weight and a sum with another is a dense layer, a primitive after it is its
activation, and the mean of a loss over axes is part of the objective's own mean. So a layer or a
loss in Python costs as much as a built-in one. Equal instructions of equal operands become one.
"""

from __future__ import annotations

from itertools import permutations
from math import prod
from typing import TYPE_CHECKING

from cdl import _core
from cdl._ir.bytecode import read
from cdl._ir.instruction import LOW_DTYPES, REDUCTIONS, Instruction, Value

if TYPE_CHECKING:
    from cdl._ir.fusion import Rewriter
    from cdl._tracing.variable import Variable

# Primitives that are rows of the activations, as a dense layer takes them.
_ACTIVATIONS = {
    "relu": "plain_relu",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
    "softplus": "softplus",
    "exp": "exponential",
}

# Rows of one-hot targets, and those that say the same of class numbers.
_OF_CLASSES = {
    "categorical_crossentropy": "sparse_categorical_crossentropy",
    "softmax_categorical_crossentropy": "softmax_sparse_categorical_crossentropy",
    "categorical_accuracy": "sparse_categorical_accuracy",
    "top_k_categorical_accuracy": "sparse_top_k_categorical_accuracy",
}

# Ops of one output that depends on nothing but the operands, which functions by hand repeat.
_PURE = ("batch_reduce", "broadcast", "broadcast_batch", "join_batch", "map", "permute", "product",
         "reduce", "reshape")  # fmt: skip


def apply(program: Rewriter) -> None:
    """Apply all rules, in the order in which one prepares the next."""
    _eliminate_common(program)
    _fuse_products(program)
    _fuse_biases(program)
    _bias_products(program)
    _name_activations(program)
    _fuse_means(program)
    _read_classes(program)


def _eliminate_common(program: Rewriter) -> None:
    """Read each value of several equal ones from the first instruction that computes it.

    A mean and a variance by hand each compute the mean, and so do two statistics of one value.
    """
    same: dict[int, Value] = {}  # by id of a value that is eliminated
    known: dict[object, Value] = {}
    for i in list(program.instructions):
        inputs = [same.get(id(v), v) for v in i.inputs]
        if i.op in _PURE:
            (out,) = i.outputs
            first = known.setdefault(_key(i, inputs), out)
            if first is not out and not (out in program.outputs or out in program.external_grads):
                same[id(out)] = first
                program.instructions.remove(i)
                continue
        if any(a is not b for a, b in zip(inputs, i.inputs, strict=True)):
            program.swap(i, i.reading(inputs))


def _key(i: Instruction, inputs: list[Value]) -> object:
    (out,) = i.outputs
    numbers = (i.numbers, tuple(x.hex() for x in map(float, i.data)))  # NaN equals itself
    value = (out.shape, out.dtype, out.shared, out.rounded_to)
    of = (tuple(map(id, inputs)), tuple(sorted(i.attributes.items())))
    return (i.op, of, numbers, value, tuple(map(id, i.params)), i.param_dtypes)


def _parameter(program: Rewriter, value: Value) -> Variable | None:
    """Weight that a value is, or None; an assigned weight is another one once it is read."""
    source = program.producer(value)
    if source is None or source.op != "param":
        return None
    (weight,) = source.params
    return None if id(weight) in program.assigned else weight


def _fuse_products(program: Rewriter) -> None:
    for i in program.instructions.of("product"):
        if len(i.inputs) > 2:
            continue
        x, factor = i.inputs
        kernel = _parameter(program, factor)
        transposed = i.attributes["transpose_a"] or i.attributes["transpose_b"]
        if kernel is None or transposed or x.shared or len(kernel.shape) != 2:
            continue
        if kernel.storage.matrix and i.outputs[0].shape == (*x.shape[:-1], kernel.shape[1]):
            dtypes = program.producer(factor).param_dtypes  # type: ignore[union-attr]
            params = (kernel, None)
            fused = Instruction("dense", [x], i.outputs, params, {}, param_dtypes=dtypes)
            program.swap(i, fused)


def _fuse_biases(program: Rewriter) -> None:
    for i in program.instructions.of("map"):
        if not _is_sum_of_two(i):
            continue
        for x, other in (i.inputs, i.inputs[::-1]):
            bias = repeated_weight(program, other)
            dense = None if bias is None else _product_in(program, x)
            if dense is None:
                continue
            params = (dense.params[0], bias)
            dtypes = (dense.param_dtype(0), other.dtype if other.dtype in LOW_DTYPES else None)
            parts = params, dense.attributes, (), (), dtypes
            behind = dense.outputs[0] is x
            outputs = i.outputs if behind else dense.outputs
            fused = Instruction("dense", dense.inputs, outputs, *parts)
            if behind:
                program.swap(i, fused)
                program.instructions.remove(dense)
            else:  # a sum of products: one of them takes the bias along
                program.swap(dense, fused)
                program.instructions.remove(i)
                program.read_instead(i.outputs[0], x)
            break


def _is_sum_of_two(i: Instruction) -> bool:
    if i.op != "map" or len(i.inputs) != 2:
        return False
    formula = read(i.numbers, i.data)
    return formula.primitive == "add" and all(a.primitive == "argument" for a in formula.args)


def _product_in(program: Rewriter, x: Value) -> Instruction | None:
    """Dense layer without a bias that a value is, or that is a term of a sum that it is."""
    source = program.producer(x)
    if source is None or not program.read_once(x):
        return None
    if _is_sum_of_two(source) and x.dtype == "float32":
        found = (_product_in(program, v) for v in source.inputs)
        return next((i for i in found if i is not None and i.outputs[0].dtype == "float32"), None)
    plain = source.op == "dense" and source.attributes.get("activation") is None
    return source if plain and source.params[1] is None else None


def repeated_weight(program: Rewriter, value: Value) -> Variable | None:
    """Weight of one axis that a value repeats for each sample and line, or None."""
    source = program.producer(value)
    if source is not None and source.op == "broadcast":
        if source.inputs[0].shape[-1:] != value.shape[-1:]:
            return None
        source = program.producer(source.inputs[0])
    if source is None or source.op != "broadcast_batch":
        return None
    weight = _parameter(program, source.inputs[0])
    one_axis = weight is not None and weight.shape == value.shape[-1:]
    return weight if one_axis else None


def _bias_products(program: Rewriter) -> None:
    """Fuse the addition of a shared value into a product as its bias, even through a reshape.

    Such are the projections to heads: their kernels have three axes.
    """
    for i in program.instructions.of("map"):
        sum_of = read(i.numbers, i.data)
        of_two = len(i.inputs) == 2 and all(a.primitive == "argument" for a in sum_of.args)
        if sum_of.primitive != "add" or not of_two:
            continue
        for x, other in (i.inputs, i.inputs[::-1]):
            if _takes_bias(program, i, x, other):
                break


def _takes_bias(program: Rewriter, i: Instruction, x: Value, other: Value) -> bool:
    """Fuse a sum into the product x; whether that was possible."""
    behind, y = program.producer(x), x
    if behind is not None and behind.op == "reshape" and program.read_once(x):
        y = behind.inputs[0]
    product, bias = program.producer(y), _shared_bias(program, other)
    if product is None or product.op != "product" or bias is None or not program.read_once(y):
        return False
    width, (a, b, *more) = y.shape[-1], product.inputs
    one_factor = b.shared and not a.shared and len(b.shape) == 2 and not more
    if not one_factor or any(product.attributes.values()) or not 1 < width == prod(bias.shape):
        return False
    program.instructions.remove(product)
    if len(bias.shape) > 1:
        flat = Value(len(program.values), (width,), bias.dtype, None, True)
        program.values.append(flat)
        program.instructions.put_before(i, Instruction("reshape", [bias], (flat,), (), {}))
        bias = flat
    outputs = i.outputs if y is x else (y,)
    biased = Instruction("product", [a, b, bias], outputs, (), product.attributes)
    if y is x:
        program.swap(i, biased)
    else:
        program.instructions.put_before(i, biased)
        program.instructions.remove(behind)  # type: ignore[arg-type]
        program.swap(i, Instruction("reshape", [y], i.outputs, (), {}))
    return True


def _shared_bias(program: Rewriter, value: Value) -> Value | None:
    """Value repeated for each sample and each place of the first axes, or None."""
    source = program.producer(value)
    if source is not None and source.op == "broadcast":
        source = program.producer(source.inputs[0])
    if source is None or source.op != "broadcast_batch":
        return None
    (bias,) = source.inputs
    return bias if bias.shape and bias.shape == value.shape[-len(bias.shape) :] else None


def _name_activations(program: Rewriter) -> None:
    """Replace a primitive of a dense layer's output by the activation of that name."""
    for i in program.instructions.of("map"):
        if len(i.inputs) != 1:
            continue
        source, formula = program.producer(i.inputs[0]), read(i.numbers, i.data)
        kind = _ACTIVATIONS.get(formula.primitive)
        if kind is None or formula.args[0].primitive != "argument":
            continue
        if source is not None and source.op == "dense" and _core.ACTIVATIONS_FROM_Y[kind]:
            program.swap(i, Instruction("activation", i.inputs, i.outputs, (), {"kind": kind}))


def mix_activations(program: Rewriter) -> bool:
    """Fuse an activation and its mixture with its argument by a weight of one axis.

    Returns:
        Whether any is.
    """
    found = False
    for i in program.instructions.of("map"):
        if len(i.inputs) != 3 or {v.dtype for v in (*i.inputs, *i.outputs)} != {"float32"}:
            continue
        formula = str(read(i.numbers, i.data))
        for at in permutations(range(3)):
            if formula == "multiply_add(#{0}, subtract(#{1}, #{2}), #{2})".format(*at):
                break
        else:
            continue
        alpha, f, x = (i.inputs[k] for k in at)
        weight = repeated_weight(program, alpha)
        source = program.producer(f)
        if weight is None or source is None or source.op != "activation" or x.shared:
            continue
        if source.inputs[0] is not x or not program.read_once(f) or i.outputs[0].rounded_to:
            continue
        ends = (*i.outputs, f)
        program.swap(i, Instruction("parametric", [x], ends, (weight,), source.attributes))
        program.instructions.remove(source)
        found = True
    return found


def _fuse_means(program: Rewriter) -> None:
    """Fuse means of means of equally many numbers, and sums as n times a mean."""
    for i in program.instructions.of("objective"):
        loss = program.current(i)
        while loss.attributes["reduction"] != REDUCTIONS.index("none"):
            source = program.producer(loss.inputs[0])
            if source is None or source.op not in ("reduce", "reshape"):
                break
            kind = source.attributes.get("kind", "mean")
            weighted = len(loss.inputs) > 1 and prod(loss.inputs[1].shape) > 1
            if kind not in ("mean", "sum") or weighted or not program.read_once(loss.inputs[0]):
                break
            n = prod(source.inputs[0].shape) / prod(loss.inputs[0].shape)
            sums = bool(loss.attributes["reduction"])
            factor = {("mean", True): 1 / n, ("sum", False): n}.get((kind, sums), 1.0)
            attributes = {**loss.attributes, "scale": loss.attributes["scale"] * factor}
            inputs = (source.inputs[0], *loss.inputs[1:])
            program.instructions.remove(source)
            fused = Instruction("objective", inputs, (), (), attributes)
            program.swap(loss, fused)
            loss = fused


def _read_classes(program: Rewriter) -> None:
    """Read integers of the caller as class numbers, where only losses and metrics take them."""
    for old in list(program.inputs):
        encodes, readers = _one_hot_readers(program, old) if old.is_whole else ([], [])
        places = {scored.inputs[0].shape[:-1] for scored in readers}
        if not places or len(places) > 1 or prod(old.shape) != prod(*places):
            continue
        new = program.like(old, "int32")
        new.shape, new.role = places.pop(), old.role
        program.inputs.replace(old, new)
        for each in encodes:
            program.instructions.remove(each)
        for each in readers:
            inputs = (each.inputs[0], new, *each.inputs[2:])
            attributes = {**each.attributes, "kind": _OF_CLASSES[str(each.attributes["kind"])]}
            attributes.pop("label_smoothing", None)
            parts = each.params, attributes, each.numbers, each.data, each.param_dtypes
            program.swap(each, Instruction(each.op, inputs, each.outputs, *parts))


def _one_hot_readers(
    program: Rewriter, value: Value
) -> tuple[list[Instruction], list[Instruction]]:
    """Instructions that encode a value, and those that read the result; none if others do."""
    encodes: list[Instruction] = []
    readers: list[Instruction] = []
    ends = (program.outputs, program.external_grads)
    waiting = [value]
    while waiting:
        read = waiting.pop()
        if any(read in end for end in ends):
            return [], []
        is_hot = read is not value and program.producer(read).op == "encode"  # type: ignore[union-attr]
        for each in program.users(read):
            if is_hot:
                is_target = each.inputs[1:2] == (read,) and each.inputs[0] is not read
                known = each.attributes.get("kind") in _OF_CLASSES
                if not (is_target and known and not each.attributes.get("label_smoothing")):
                    return [], []
                readers.append(each)
                continue
            one_hot = each.attributes.get("one_hot") and len(each.inputs) == 1
            if each.op != "reshape" and not one_hot:
                return [], []
            encodes.append(each)
            waiting.append(each.outputs[0])
    return encodes, readers
