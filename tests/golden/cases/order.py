"""The order of weights in layers of one's own: that in which layers were put there."""

from registry import case


def named(k, name):
    return k.layers.Dense(2, name=name)


def order_of(k, made, parts):
    made.build((None, 2))
    for part in parts(made):
        if not part.built:
            part.build((None, 2))
    return [weight.path.split("/")[-2] for weight in made.weights[::2]]


@case("order")
def of_layers(k):
    class Appending(k.layers.Layer):
        """Two lists to which a loop appends, and a layer between them."""

        def __init__(self):
            super().__init__()
            self.left = []
            self.out = named(k, "out")
            self.right = []
            for i in range(2):
                self.left.append(named(k, f"left{i}"))
                self.right.append(named(k, f"right{i}"))

    class Given(k.layers.Layer):
        """Layers that were made before, in another order."""

        def __init__(self, parts, head):
            super().__init__()
            self.parts, self.head = parts, head

    class Mixed(k.layers.Layer):
        def __init__(self):
            last = named(k, "last")
            super().__init__()
            self.some = [named(k, "x"), named(k, "y")]
            self.last = last
            self.by_name = {"k": named(k, "k")}
            self.by_name["j"] = named(k, "j")
            self.both = (named(k, "t1"), named(k, "t2"))
            self.some.append(named(k, "z"))

    class Building(k.layers.Layer):
        def build(self, input_shape):
            self.first = named(k, "first")
            self.nested = [[named(k, "n1")], [named(k, "n2")]]
            self.second = named(k, "second")
            self.nested[0].append(named(k, "n3"))

    head, parts = named(k, "head"), [named(k, "p1"), named(k, "p0")]
    return {
        "appending": order_of(k, Appending(), lambda m: [*m.left, *m.right, m.out]),
        "given": order_of(k, Given(parts, head), lambda m: [*m.parts, m.head]),
        "mixed": order_of(k, Mixed(), lambda m: [*m.some, m.last, *m.by_name.values(), *m.both]),
        "building": order_of(
            k, Building(), lambda m: [m.first, m.second, *m.nested[0], *m.nested[1]]
        ),
    }
