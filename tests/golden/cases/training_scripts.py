"""Scripts that reach into training: distilling, domains, centers, metrics."""

from nets import classes, numbers, state_weights
from registry import case

from cases.scripts import BIT, CLASS, LABEL, VALUE, X, seen


@case("scripts")
def distillation(k):
    ops, layers = k.ops, k.layers

    class Distiller(k.Model):
        def __init__(self, student, teacher):
            super().__init__()
            self.teacher, self.student = teacher, student
            self.hard = k.losses.SparseCategoricalCrossentropy(from_logits=True)
            self.soft = k.losses.KLDivergence()

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            teacher = ops.softmax(self.teacher(x, training=False) / 3.0, axis=1)
            soft = self.soft(teacher, ops.softmax(y_pred / 3.0, axis=1)) * 9.0
            return 0.1 * self.hard(y, y_pred) + 0.9 * soft

        def call(self, x):
            return self.student(x)

    teacher = k.Sequential([k.Input((8,)), layers.Dense(12, "relu"), layers.Dense(3)])
    student = k.Sequential([k.Input((8,)), layers.Dense(4, "tanh"), layers.Dense(3)])
    teacher.trainable = False
    net = Distiller(student, teacher)
    net(X[:2])
    return seen(k, net, X, LABEL, metrics=[k.metrics.SparseCategoricalAccuracy()])


@case("scripts")
def domains_by_turned_gradients(k):
    ops, layers = k.ops, k.layers

    class Turn(layers.Layer):
        def call(self, x):
            return -0.5 * x + ops.stop_gradient(1.5 * x)

    x = k.Input((8,))
    h = layers.Dense(4, "tanh")(x)
    label = layers.Dense(3, "softmax", name="label")(h)
    domain = layers.Dense(1, "sigmoid", name="domain")(Turn()(h))
    net = k.Model(x, {"domain": domain, "label": label})
    loss = {"domain": "binary_crossentropy", "label": "categorical_crossentropy"}
    metrics = {"domain": "accuracy", "label": "accuracy"}
    return seen(k, net, X, {"domain": BIT, "label": CLASS}, loss, metrics=metrics)


@case("scripts")
def centers_of_classes(k):
    """A weight that is not trained but assigned, from sums over the batch."""
    ops, layers = k.ops, k.layers

    class Centers(layers.Layer):
        def build(self, shapes):
            self.centers = self.add_weight(shape=(3, 4), trainable=False, name="centers")

        def call(self, inputs, training=None):
            x, y = inputs
            apart = x - ops.matmul(y, self.centers)
            self.add_loss(0.1 * ops.mean(ops.sum(ops.square(apart), 1)))
            if training:
                moves = ops.matmul(ops.transpose(y), apart) / (ops.sum(y, axis=0)[:, None] + 1.0)
                self.centers.assign(self.centers + 0.5 * moves)
            return x

    x, y = k.Input((8,)), k.Input((3,))
    h = Centers()([layers.Dense(4, "tanh")(x), y])
    net = k.Model([x, y], layers.Dense(3, "softmax")(h))
    return seen(k, net, [X, CLASS], CLASS, "categorical_crossentropy")


@case("scripts")
def masks_in_python(k):
    ops, layers = k.ops, k.layers

    class Table(layers.Layer):
        def build(self, shape):
            self.table = self.add_weight(shape=(9, 4), name="table")

        def call(self, x):
            return ops.take(self.table, ops.cast(x, "int32"), axis=0)

        def compute_mask(self, x, mask=None):
            return ops.not_equal(x, 0)

    class Passes(layers.Layer):
        def __init__(self):
            super().__init__()
            self.supports_masking = True

        def call(self, x):
            return ops.tanh(x)

    class Shares(layers.Layer):
        def __init__(self):
            super().__init__()
            self.supports_masking = True

        def call(self, x, mask=None):
            powers = ops.exp(x) * ops.expand_dims(ops.cast(mask, "float32"), -1)
            return powers / ops.sum(powers, axis=1, keepdims=True)

        def compute_mask(self, x, mask=None):
            return None

    places = classes(360, 9).reshape(60, 6)
    places[:, 0] = 1
    x = k.Input((6,), dtype="int32")
    shares = Shares()(layers.Dense(1)(Passes()(Table()(x))))
    net = k.Model(x, layers.Dense(3, "softmax")(layers.Flatten()(shares)))
    return seen(k, net, places, CLASS, "categorical_crossentropy")


@case("scripts")
def interest_in_a_candidate(k):
    """Attention over a history that is masked, beside a query that is not; masks by argument."""
    ops, layers = k.ops, k.layers

    class Interest(layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner, self.outer = layers.Dense(5, "sigmoid"), layers.Dense(1)

        def attend(self, query, past, mask):
            queries = ops.repeat(ops.expand_dims(query, 1), past.shape[1], axis=1)
            both = ops.concatenate([queries, past, queries - past, queries * past], axis=-1)
            scores = ops.squeeze(self.outer(self.inner(both)), -1)
            if mask is not None:
                scores = ops.where(mask, scores, ops.full_like(scores, -1e9))
            return ops.einsum("bt,btd->bd", ops.softmax(scores), past)

        def call(self, inputs, mask=None):
            return self.attend(*inputs, None if mask is None else mask[1])

        def compute_mask(self, inputs, mask=None):
            return None

    class ByName(Interest):
        def call(self, query, past, past_mask=None):
            return self.attend(query, past, past_mask)

        def compute_mask(self, *args, **kwargs):
            return None

    candidate, past = k.Input((1,)), k.Input((5,))
    query = layers.Flatten()(layers.Embedding(12, 4)(candidate))
    history = layers.Embedding(12, 4, mask_zero=True)(past)
    found = [Interest()([query, history]), ByName()(query, history), query]
    net = k.Model([candidate, past], layers.Dense(1, "sigmoid")(layers.Concatenate()(found)))
    places = classes(300, 12).reshape(60, 5)
    places[:, 0] = 2
    return seen(k, net, [classes(60, 12)[:, None], places], BIT, "binary_crossentropy")


@case("scripts")
def penalty_between_two_inputs(k):
    """Deep CORAL: a penalty on the difference between the covariances of two batches."""
    ops, layers = k.ops, k.layers

    class Alike(layers.Layer):
        def covariance(self, x):
            x = x - ops.mean(x, axis=0, keepdims=True)
            count = ops.cast(ops.shape(x)[0], "float32")
            return ops.matmul(ops.transpose(x), x) / (count - 1)

        def call(self, inputs):
            one, two = map(self.covariance, inputs)
            self.add_loss(ops.sum(ops.square(one - two)) / 64.0)
            return inputs[0]

    one, two = k.Input((8,)), k.Input((8,))
    dense = layers.Dense(4, "tanh")
    net = k.Model([one, two], layers.Dense(3, "softmax")(Alike()([dense(one), dense(two)])))
    return seen(k, net, [X, X * 2], CLASS, "categorical_crossentropy")


@case("scripts")
def metrics_of_one_s_own(k):
    ops, layers = k.ops, k.layers

    class Determined(k.metrics.Metric):
        def __init__(self, name="determined", **kwargs):
            super().__init__(name=name, **kwargs)
            self.off, self.sum, self.squares, self.n = (
                self.add_weight(name=n, initializer="zeros") for n in ("off", "sum", "sq", "n")
            )

        def update_state(self, y_true, y_pred, sample_weight=None):
            y_true = ops.cast(y_true, "float32")
            self.off.assign_add(ops.sum(ops.square(y_true - y_pred)))
            self.sum.assign_add(ops.sum(y_true))
            self.squares.assign_add(ops.sum(ops.square(y_true)))
            self.n.assign_add(ops.cast(ops.shape(y_true)[0], "float32"))

        def result(self):
            return 1 - self.off / (self.squares - self.sum * self.sum / self.n + 1e-7)

    class Both(k.metrics.Metric):
        def __init__(self, name="both", **kwargs):
            super().__init__(name=name, **kwargs)
            self.precision, self.recall = k.metrics.Precision(), k.metrics.Recall()

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.precision.update_state(y_true, y_pred, sample_weight)
            self.recall.update_state(y_true, y_pred, sample_weight)

        def result(self):
            p, r = self.precision.result(), self.recall.result()
            return 2 * p * r / (p + r + 1e-7)

        def reset_state(self):
            self.precision.reset_state()
            self.recall.reset_state()

    x = k.Input((8,))
    h = layers.Dense(5, "tanh")(x)
    heads = {"bit": layers.Dense(1, "sigmoid")(h), "value": layers.Dense(1)(h)}
    loss = {"bit": "binary_crossentropy", "value": "mse"}
    metrics = {"bit": [Both()], "value": [Determined()]}
    return seen(k, k.Model(x, heads), X, {"bit": BIT, "value": VALUE}, loss, metrics=metrics)


@case("scripts")
def adversaries(k):
    """A generator and a discriminator that is frozen in the model of both."""
    layers = k.layers
    generator = k.Sequential([k.Input((4,)), layers.Dense(6, "tanh"), layers.Dense(8)])
    judge = k.Sequential([k.Input((8,)), layers.Dense(6, "tanh"), layers.Dense(1, "sigmoid")])
    state_weights(generator)
    state_weights(judge, 4)
    noise, found = numbers(32, 4, seed=5), []
    judge.compile(k.optimizers.SGD(0.1), "binary_crossentropy")
    for _ in range(3):
        drawn = generator.predict(noise, verbose=0)
        found.append(float(judge.train_on_batch(X[:32], BIT[:32] * 0 + 1)))
        found.append(float(judge.train_on_batch(drawn, BIT[:32] * 0)))
    judge.trainable = False
    z = k.Input((4,))
    both = k.Model(z, judge(generator(z)))
    both.compile(k.optimizers.SGD(0.1), "binary_crossentropy")
    found += [float(both.train_on_batch(noise, BIT[:32] * 0 + 1)) for _ in range(3)]
    return {
        "history": found,
        "weights": generator.get_weights() + judge.get_weights(),
        "trainable": len(both.trainable_weights),
    }
