"""Loops in the oracle, forward and backward: iteration by iteration, with all values kept."""

import numpy as np


def places_of(i):
    """The places of each iteration's elements and results."""
    iterations = range(i.attributes["iterations"])
    places = iterations[::-1] if i.attributes["reverse"] else iterations
    return list(
        zip(iterations, places, places if i.attributes["by_place"] else iterations, strict=True)
    )


def loop_forward(o, i):
    from oracle import FORWARD

    pairs = list(zip(i.entries, i.inputs, strict=True))
    states = [o.values[v] for e, v in pairs if e.op == "carried"]
    found = {v: [] for v in i.outputs}
    o.kept[i] = []
    for _, place, _ in places_of(i):
        carried = iter(states)
        for entry, v in pairs:
            x = next(carried) if entry.op == "carried" else o.values[v]
            o.values[entry.outputs[0]] = x[:, place] if entry.op == "element" else x
        rest = i.body.instructions[len(pairs) :]
        for each in rest:
            FORWARD[each.op](o, each)
        values = [v for each in i.body.instructions for v in each.outputs]
        o.kept[i].append(({v: o.values[v] for v in values}, {e: o.kept.get(e) for e in rest}))
        given = [o.values[v] for v in i.body.outputs]
        states = given[: len(states)]
        for v, y in zip(i.outputs, given, strict=True):
            found[v].append(y)
    for v, way in zip(i.outputs, i.ways, strict=True):
        ys = found[v][-1:] if way == "carry" else found[v]
        if way == "collect" and i.attributes["reverse"] and i.attributes["by_place"]:
            ys = ys[::-1]
        o.values[v] = ys[0] if way == "carry" else np.stack(ys, 1)


def loop_backward(o, i):
    from oracle import BACKWARD

    pairs = list(zip(i.entries, i.inputs, strict=True))
    n_carried = sum(e.op == "carried" for e, _ in pairs)
    ends = [o.value_gradients[v] for v, w in zip(i.outputs, i.ways, strict=True) if w == "carry"]
    states = list(ends)
    for (values, kept), (_, place, to) in zip(o.kept[i][::-1], places_of(i)[::-1], strict=True):
        o.values.update(values)
        o.kept.update(kept)
        o.value_gradients.update((v, np.zeros(x.shape)) for v, x in values.items())
        left = iter(states)
        for v, inner, way in zip(i.outputs, i.body.outputs, i.ways, strict=True):
            dy = next(left) if way == "carry" else o.value_gradients[v][:, to]
            o.value_gradients[inner] = o.value_gradients[inner] + dy
        for each in i.body.instructions[: len(pairs) - 1 : -1]:
            BACKWARD[each.op](o, each)
        before = []
        for entry, v in pairs:
            dx = o.value_gradients[entry.outputs[0]]
            if entry.op == "carried":
                before.append(dx)
            elif entry.op == "element":
                o.value_gradients[v][:, place] += dx
            else:
                o.value_gradients[v] += dx
        states = before + [np.zeros(end.shape) for end in ends[n_carried:]]
    firsts = [v for e, v in pairs if e.op == "carried"]
    for v, dx in zip(firsts, states, strict=False):
        o.value_gradients[v] += dx


def stands_for_an_input(o, i):
    raise AssertionError(f"{i.op}: part of a loop, which does what it does")


PARTS = ("carried", "element", "captured", "carry", "collect")
FORWARD = {"loop": loop_forward, **dict.fromkeys(PARTS, stands_for_an_input)}
BACKWARD = {"loop": loop_backward, **dict.fromkeys(PARTS, stands_for_an_input)}
