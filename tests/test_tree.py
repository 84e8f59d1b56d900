"""Nested lists, tuples and dicts are walked as Keras walks them."""

from collections import namedtuple

import pytest

from cdl import tree

Point = namedtuple("Point", "x y")


def test_shallow_structure_says_how_deep_to_go():
    pairs = tree.map_structure_up_to([0, 0], lambda a, b: (a, b), [1, {"a": 2}], [3, [4]])
    assert pairs == [(1, 3), ({"a": 2}, [4])]
    assert tree.map_structure_up_to(0, len, [1, 2, 3]) == 3
    assert tree.map_structure_up_to({"b": 0, "a": 0}, str, {"a": 1, "b": [2]}) == {
        "b": "[2]",
        "a": "1",
    }
    with pytest.raises(ValueError, match="must be alike"):
        tree.map_structure_up_to([0, [0]], str, [1, 2])
    with pytest.raises(TypeError, match="func must be callable"):
        tree.map_structure_up_to([0], 3, [1])


def test_parts_are_replaced_on_the_way_down_or_up():
    def double(part):
        return 2 * part if isinstance(part, int) else None

    structure = [1, (2, {"a": 3}), Point(4, [5])]
    assert tree.traverse(double, structure) == [2, (4, {"a": 6}), Point(8, [10])]
    assert tree.traverse(lambda part: tree.MAP_TO_NONE if part == 2 else None, [1, (2,)]) == [
        1,
        (None,),
    ]
    seen = []
    tree.traverse(seen.append, [1, (2,)])
    assert seen == [[1, (2,)], 1, (2,), 2]
    seen = []
    tree.traverse(seen.append, [1, (2,)], top_down=False)
    assert seen == [1, 2, (2,), [1, (2,)]]


def test_paths_are_the_places_of_leaves():
    tree.assert_same_paths([1, {"a": 2}], (3, {"a": None}))
    with pytest.raises(ValueError, match=r"\(1,\).* in the first alone and .*\(1, 'a'\)"):
        tree.assert_same_paths([1, 2], [1, {"a": 2}])
