"""Places of boxes and arrows: nothing overlaps, and each arrow can be seen."""

import functools
import itertools
import random

import pytest

from cdl.utils.drawing.columns import Columns, Step
from cdl.utils.drawing.geometry import STUB, Box
from cdl.utils.drawing.layout import lay_out

TINY = 1e-6
DIRECTIONS = ("TB", "BT", "LR", "RL")


def chain(count, *skips):
    """Boxes 0, 1, ... one after the other, and arrows that skip some."""
    boxes = [Box(str(i), 1.2, 0.4) for i in range(count)]
    pairs = [*itertools.pairwise(range(count)), *skips]
    return boxes, [(str(a), str(b)) for a, b in pairs]


def random_graph(seed, circles, frames):
    """Boxes of any size, arrows that may go back or round, and frames in frames."""
    rng = random.Random(seed)
    keys = [str(i) for i in range(rng.randint(2, 25))]
    arrows = {}
    for _ in range(int(len(keys) * rng.uniform(1, 2.2))):
        start, end = rng.choice(keys), rng.choice(keys)
        if not circles and int(start) >= int(end):
            continue
        arrows[start, end] = True
    boxes = [Box(key, rng.uniform(0.3, 2.5), rng.uniform(0.2, 1.2)) for key in keys]
    for number in range(rng.randint(1, 4) if frames else 0):
        inside = set(rng.sample(range(len(boxes)), rng.randint(1, max(1, len(boxes) // 2))))
        frame = Box(
            f"frame {number}",
            rng.uniform(0.4, 3),
            0.25,
            tuple(box for i, box in enumerate(boxes) if i in inside),
        )
        boxes = [box for i, box in enumerate(boxes) if i not in inside]
        boxes.insert(rng.randint(0, len(boxes)), frame)
    return boxes, list(arrows)


GRAPHS = {
    "by hand": [
        ([Box("a", 1, 1)], []),
        ([Box("a", 1, 1), Box("b", 1, 1)], [("a", "a"), ("a", "b"), ("b", "b")]),
        chain(5),
        chain(7, (1, 3), (3, 5)),
        chain(7, *((i, j) for i in range(7) for j in range(i + 2, 7))),
        chain(4, (3, 0), (2, 1)),
    ],
    "random": [random_graph(seed, circles=False, frames=False) for seed in range(12)],
    "circles": [random_graph(seed, circles=True, frames=False) for seed in range(12)],
    "frames": [random_graph(seed, circles=False, frames=True) for seed in range(25)],
    "circles in frames": [random_graph(seed, circles=True, frames=True) for seed in range(25)],
}


@functools.cache
def laid_out(kind, rankdir):
    return [(*graph, lay_out(*graph, rankdir)) for graph in GRAPHS[kind]]


@pytest.fixture(params=GRAPHS)
def kind(request):
    return request.param


@pytest.fixture(params=DIRECTIONS)
def rankdir(request):
    return request.param


@pytest.fixture
def layouts(kind, rankdir):
    """Triples of boxes, arrows and where they are."""
    return laid_out(kind, rankdir)


def overlap(a, b):
    """Whether two rectangles (left, top, right, bottom) have a point within both."""
    return (
        min(a[2], b[2]) - max(a[0], b[0]) > -TINY / 2
        and min(a[3], b[3]) - max(a[1], b[1]) > -TINY / 2
    )


def sides(rect, shrunk=0.0):
    return (
        rect.x + shrunk,
        rect.y + shrunk,
        rect.x + rect.width - shrunk,
        rect.y + rect.height - shrunk,
    )


def holders(boxes, above=()):
    """The key of each box and frame, with those of the frames around it."""
    for box in boxes:
        yield box.key, set(above)
        yield from holders(box.within, (*above, box.key))


def pieces(path):
    """The pieces of an arrow as rectangles, in which also a curve between their corners lies."""
    for (x, y), (to_x, to_y) in itertools.pairwise(path):
        yield min(x, to_x), min(y, to_y), max(x, to_x), max(y, to_y)


def test_boxes_do_not_overlap_and_lie_within_their_frames(layouts):
    for boxes, _arrows, layout in layouts:
        inside = dict(holders(boxes))
        places = layout.boxes | layout.frames
        assert places.keys() == inside.keys()
        for a, b in itertools.combinations(places, 2):
            around, inner = (a, b) if a in inside[b] else (b, a)
            if around in inside[inner]:
                left, top, right, bottom = sides(places[around])
                x, y, to_x, to_y = sides(places[inner])
                assert left < x and top < y and to_x < right and to_y < bottom
            else:
                assert not overlap(sides(places[a], TINY), sides(places[b], TINY)), (a, b)
        for key, label in layout.labels.items():
            assert sides(label)[0] >= sides(places[key])[0] - TINY
            for box in layout.boxes.values():
                assert not overlap(sides(label, TINY), sides(box, TINY))
        whole = (-TINY, -TINY, layout.width + TINY, layout.height + TINY)
        for x, y, to_x, to_y in [
            *map(sides, places.values()),
            *(piece for path in layout.paths.values() for piece in pieces(path)),
        ]:
            assert whole[0] <= x and whole[1] <= y and to_x <= whole[2] and to_y <= whole[3]


def test_boxes_have_at_least_the_size_that_was_asked_for(layouts):
    for boxes, _arrows, layout in layouts:
        leaves = [box for box in boxes if not box.within]
        for box in leaves:
            rect = layout.boxes[box.key]
            assert rect.width >= box.width - TINY
            assert rect.height >= box.height - TINY


def test_no_arrow_crosses_a_box_or_a_label_or_a_frame_that_is_not_its_own(layouts):
    for boxes, arrows, layout in layouts:
        inside = dict(holders(boxes))
        for number, (start, end) in enumerate(arrows):
            own = inside[start] | inside[end]
            others = [rect for key, rect in layout.frames.items() if key not in own]
            solid = [*layout.boxes.values(), *layout.labels.values(), *others]
            for piece in pieces(layout.paths[number]):
                for rect in solid:
                    assert not overlap(piece, sides(rect, TINY)), (start, end, rect)


def test_an_arrow_leads_from_the_border_of_its_box_to_that_of_the_other(layouts):
    for _boxes, arrows, layout in layouts:
        assert layout.paths.keys() == set(range(len(arrows)))
        for number, ends in enumerate(arrows):
            path = layout.paths[number]
            for (x, y), key in zip((path[0], path[-1]), ends, strict=True):
                left, top, right, bottom = sides(layout.boxes[key])
                on_side = min(abs(x - left), abs(x - right)) < TINY and top < y < bottom
                on_edge = min(abs(y - top), abs(y - bottom)) < TINY and left < x < right
                assert on_side or on_edge
            (x, y), (to_x, to_y) = path[-2:]
            assert min(abs(to_x - x), abs(to_y - y)) < TINY  # straight at the head
            assert max(abs(to_x - x), abs(to_y - y)) >= STUB - TINY


def test_no_two_arrows_lie_on_each_other(layouts):
    for _boxes, _arrows, layout in layouts:
        straight = [
            (number, piece)
            for number, path in layout.paths.items()
            for piece in pieces(path)
            if min(piece[2] - piece[0], piece[3] - piece[1]) < TINY
        ]
        for (one, a), (other, b) in itertools.combinations(straight, 2):
            parallel = (a[2] - a[0] < TINY) == (b[2] - b[0] < TINY)
            if one != other and parallel:
                assert not overlap(a, (b[0] - 0.05, b[1] - 0.05, b[2] + 0.05, b[3] + 0.05))


@pytest.mark.parametrize("circles", [False, True])
def test_arrows_point_in_the_direction_asked_for(rankdir, circles):
    for seed in range(10):
        boxes, arrows = random_graph(seed, circles, frames=False)
        layout = lay_out(boxes, arrows, rankdir)
        axis, sign = {"TB": (1, 1), "BT": (1, -1), "LR": (0, 1), "RL": (0, -1)}[rankdir]
        forward = [
            (layout.boxes[end][axis] - layout.boxes[start][axis]) * sign > 0
            for start, end in arrows
            if start != end
        ]
        assert all(forward) or (circles and sum(forward) > len(forward) / 2)


def test_same_graph_is_always_laid_out_alike(kind):
    for boxes, arrows, layout in laid_out(kind, "TB"):
        assert lay_out(boxes, arrows, "TB") == layout


def test_a_chain_is_straight_and_skips_bend_around_it(rankdir):
    boxes, arrows = chain(7, (1, 3), (3, 6))
    layout = lay_out(boxes, arrows, rankdir)
    across = 0 if rankdir in ("TB", "BT") else 1
    middles = {round(rect[across] + rect[across + 2] / 2, 6) for rect in layout.boxes.values()}
    assert len(middles) == 1
    border = max(rect[across] + rect[across + 2] for rect in layout.boxes.values())
    for path, skips in zip(layout.paths.values(), [False] * 6 + [True] * 2, strict=True):
        assert (max(point[across] for point in path) > border) == skips
        assert (len({round(point[across], 6) for point in path}) == 1) != skips


def test_an_input_stands_right_above_what_reads_it():
    boxes, arrows = chain(5)
    layout = lay_out([*boxes, Box("late", 1, 0.4)], [*arrows, ("late", "4")], "TB")
    assert layout.boxes["late"].y == pytest.approx(layout.boxes["3"].y)


def test_columns_are_those_of_the_least_sum():
    optimize = pytest.importorskip("scipy.optimize")
    rng = random.Random(0)
    for _ in range(10):
        ranks, steps, count = [], [], 0
        for _ in range(rng.randint(2, 8)):
            ranks.append(list(range(count, count + rng.randint(1, 6))))
            count = ranks[-1][-1] + 1
        for above, below in itertools.pairwise(ranks):
            for _ in range(rng.randint(1, 7)):
                step = Step(rng.choice(above), rng.choice(below), rng.choice([1.0, 3.0, 8.0]))
                steps.append(step)
        half = [rng.uniform(0.1, 1.0) for _ in range(count)]
        x = Columns(ranks, steps, half, half).x
        found = sum(s.weight * abs(x[s.upper] - x[s.lower]) for s in steps)
        # A linear program of equal optimum: sizes are variables above the differences.
        rows, limits = [], []
        for n, s in enumerate(steps):
            for sign in (1, -1):
                row = [0.0] * (count + len(steps))
                row[s.upper], row[s.lower], row[count + n] = sign, -sign, -1
                rows.append(row)
                limits.append(0.0)
        for rank in ranks:
            for i, j in itertools.pairwise(rank):
                row = [0.0] * (count + len(steps))
                row[i], row[j] = 1, -1
                rows.append(row)
                limits.append(-half[i] - half[j])
        costs = [0.0] * count + [s.weight for s in steps]
        bounds = [(None, None)] * count + [(0, None)] * len(steps)
        least = optimize.linprog(costs, rows, limits, bounds=bounds).fun
        assert least - 1e-6 <= found <= 1.1 * least + 1e-6
