"""Further names of TensorFlow in scripts run by `python -m cdl`, and tapes within tapes."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest


def run(tmp_path, body):
    script = tmp_path / "script.py"
    script.write_text("import keras\nimport numpy as np\nimport tensorflow as tf\n" + body)
    done = subprocess.run(
        [sys.executable, "-m", "cdl", str(script)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


VALUES = {
    "tf.size(tf.ones((2, 3))).numpy() + tf.size(tf.Variable([1.0]), tf.int64).numpy()": "7",
    "tf.shape_n([tf.ones((2, 3)), tf.Variable([1.0, 2.0])])[0]": "[2, 3]",
    "tf.dynamic_partition([1.0, 2.0, 3.0], [1, 0, 1], 2)[1]": "[1, 3]",
    "tf.dynamic_stitch([[0, 3], [[2], [1]]], [[5.0, 6.0], [[7.0], [8.0]]])": "[5, 8, 7, 6]",
    "tf.linalg.set_diag(tf.ones((2, 3)), [5.0, 6.0])": "[[5, 1, 1], [1, 6, 1]]",
    "tf.linalg.set_diag(tf.ones((3, 2)), [5.0, 6.0])": "[[5, 1], [1, 6], [1, 1]]",
    "tf.math.unsorted_segment_mean([[1.0], [3.0], [5.0]], [0, 0, 2], 3)": "[[2], [0], [5]]",
    "tf.scalar_mul(2.0, [1.0, 2.0])": "[2, 4]",
    "tf.math.reduce_euclidean_norm([[3.0, 4.0]], axis=1)": "[5]",
    "tf.math.xlogy([0.0, 2.0], [0.0, 1.0])": "[0, 0]",
    "tf.shape(tf.random.gamma([4], [0.2, 0.4, 0.6], beta=[[1.0], [2.0]]))": "[4, 2, 3]",
    "tf.reduce_mean(tf.random.gamma((4000,), [1.0, 9.0]), 0).numpy().round() % 8": "[1, 1]",
    "tf.strings.length(tf.cast(['ab', 'c'], tf.string))": "[2, 1]",
    "tf.slice([[1, 2, 3], [4, 5, 6]], [0, 1], [-1, 1])": "[[2], [5]]",
    "tf.slice(tf.constant([[1, 2, 3], [4, 5, 6]]), [1, 0], [1, 2])": "[[4, 5]]",
    "tf.ensure_shape(tf.ones((2, 1)), (None, 1))": "[[1], [1]]",
    "tf.linalg.matrix_transpose([[1, 2]])": "[[1], [2]]",
    "tf.nn.weighted_cross_entropy_with_logits([1.0], [0.0], 2.0) / np.log(4.0)": "[1]",
    "tf.searchsorted([1.0, 3.0], [2.0])": "[1]",
    "tf.Variable([1.0, 2.0]).read_value()": "[1, 2]",
    "tf.Variable([1.0, 2.0]).value()": "[1, 2]",
    "[*tf.Variable([1.0, 2.0]).get_shape(), *keras.Variable([[1.0]]).get_shape()]": "[2, 1, 1]",
    "tf.Variable(3).value() + tf.Variable([4], dtype=tf.int64).value()": "[7]",
    "tf.Variable([0.5], dtype=tf.float64, trainable=False).value()": "[0.5]",
    "tf.Variable([1.0]).assign(value=[2.0], read_value=False) * 0.0": "[0]",
    "tf.Variable([1.0]).assign_add([2.0], use_locking=True)": "[3]",
    "tf.Variable([1.0]).assign_sub([2.0], name='less')": "[-1]",
    "tf.scatter_nd([[0], [2], [2]], updates=[1.0, 2.0, 3.0], shape=[4])": "[1, 0, 5, 0]",
    "tf.scatter_nd(tf.constant([[1]]), [[1.0, 2.0]], tf.constant([2, 2]))": "[[0, 0], [1, 2]]",
    "tf.tensor_scatter_nd_add([1.0, 2.0], [[1], [1]], [3.0, 4.0])": "[1, 9]",
    "tf.tensor_scatter_nd_sub([1.0, 2.0], indices=[[1]], updates=[3.0])": "[1, -1]",
    "tf.tensor_scatter_nd_max([1.0, 2.0], [[1]], [3.0])": "[1, 3]",
    "tf.tensor_scatter_nd_min([1.0, 2.0], [[1]], [3.0])": "[1, 2]",
    "tf.math.polyval([2.0, 0.0, 1.0], tf.constant([3.0]))": "[19]",
    "tf.linalg.lstsq(tf.eye(2), [[1.0], [2.0]])": "[[1], [2]]",
    "tf.linalg.triangular_solve([[2.0, 9.0], [1.0, 1.0]], [[2.0], [3.0]])": "[[1], [2]]",
    "tf.linalg.triangular_solve([[2.0, 9.0], [1.0, 1.0]], [[4.0], [3.0]], adjoint=True)": (
        "[[0.5], [3]]"
    ),
    "tf.nn.conv1d_transpose(tf.ones((1, 2, 1)), tf.ones((3, 1, 1)), [1, 3, 1], 2)": (
        "[[[1], [2], [1]]]"
    ),
    "tf.nn.conv1d_transpose(tf.ones((1, 2, 1)), tf.ones((3, 1, 1)), [1, 5, 1], 2, 'VALID')": (
        "[[[1], [1], [2], [1], [1]]]"
    ),
    "tf.nn.batch_normalization([[3.0], [5.0]], [4.0], [1.0], [1.0], [2.0], 0.0)": "[[-1], [3]]",
    "tf.nn.ctc_loss(np.array([[1]]), np.zeros((1, 1, 4), 'f'), [1], [1]) / np.log(4)": "[1]",
    "tf.nn.compute_average_loss(tf.constant([1.0, 2.0]), global_batch_size=6)": "0.5",
    "tf.math.segment_mean([[1.0], [3.0], [5.0]], [0, 0, 2])": "[[2], [0], [5]]",
    "tf.math.segment_min([1.0, 3.0, 5.0], [0, 0, 1])": "[1, 5]",
    "tf.math.unsorted_segment_sqrt_n([4.0, 3.0], [1, 0], 2)": "[3, 4]",
    "tf.dynamic_partition([1, 2, 3], [1, 0, 1], 2)[1]": "[1, 3]",
    "tf.dynamic_stitch([1, [0, 2]], [[5, 6], [[1, 2], [3, 4]]])": "[[1, 2], [5, 6], [3, 4]]",
    "tf.eye(1, 2, batch_shape=[2])": "[[[1, 0]], [[1, 0]]]",
    "tf.math.lgamma([0.5, 1.0, 5.0, 1e4])": "[0.5723649, 0, np.log(24), 82099.717]",
    "tf.math.digamma([1.0, 1e4])": "[-0.5772157, 9.21029]",
    "tf.math.lbeta([[1.0, 2.0, 3.0]])": "[np.log(2 / 120)]",
    "tf.math.zero_fraction([0.0, 1.0])": "0.5",
    "tf.linalg.normalize([3.0, 4.0])[0]": "[0.6, 0.8]",
    "tf.linalg.cross([1.0, 0.0, 0.0], [0.0, 1.0, 0.0])": "[0, 0, 1]",
    "tf.image.crop_and_resize(np.arange(9.0).reshape(1, 3, 3, 1), np.float32([[0, 0, 1, 1], "
    "[1, -1, 0, 1]]), [0, 0], (2, 3), extrapolation_value=9.0)[..., 0]": (
        "[[[0, 1, 2], [6, 7, 8]], [[9, 6, 8], [9, 0, 2]]]"
    ),
    "tf.image.image_gradients(np.float32([[[[1], [3]]]]))[1]": "[[[[2], [0]]]]",
    "tf.image.non_max_suppression([[0, 0, 1, 1], [0, 0, 1, 0.9], [2, 0, 3, 1]], [3, 4, 5], 3)": (
        "[2, 1]"
    ),
    "tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(['a', 'b'], [3, 4]), -1)"
    ".lookup(tf.constant(['b', 'z']))": "[4, -1]",
    "tf.ragged.constant([[1, 2], [3]]).to_tensor()": "[[1, 2], [3, 0]]",
    "tf.sparse.to_dense(tf.sparse.from_dense([[0, 2], [3, 0]]), 7)": "[[7, 2], [3, 7]]",
    "tf.sparse.sparse_dense_matmul(tf.SparseTensor([[0, 1]], [2.0], [3, 2]), [[1.0], [4.0]])": (
        "[[8], [0], [0]]"
    ),
    "tf.edit_distance(tf.sparse.from_dense([[1, 2, 3]]), tf.sparse.from_dense([[1, 3, 4]]))": (
        "[2 / 3]"
    ),
    "tf.random.Generator.from_seed(3).normal((9,)) - tf.random.Generator(3).normal([9])": "[0] * 9",
}


def test_values(tmp_path):
    lines = [f"print(np.allclose({code}, {value}), {code!r})" for code, value in VALUES.items()]
    assert [each[:4] for each in run(tmp_path, "\n".join(lines)).splitlines()] == [
        "True" for _ in VALUES
    ]


STEPS = {
    "a penalty of a partial function, as WGAN-GP has": """
        import functools

        def penalty(f, x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                found = f(x)
            return tf.reduce_mean((tf.norm(tape.gradient(found, x), axis=1) - 1.0) ** 2)

        def body(x):
            with tf.GradientTape() as tape:
                loss = penalty(functools.partial(net, training=True), x)
            return learn(tape, loss)
    """,
    "minimize": """
        def body(x):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((net(x) - 1.0) ** 2)
            adam.minimize(loss, net.trainable_variables, tape=tape)
            return loss
    """,
    "custom gradient": """
        @tf.custom_gradient
        def clipped(x):
            return tf.identity(x), lambda upstream: tf.clip_by_value(upstream, -0.01, 0.01)

        def body(x):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((clipped(net(x)) - 1.0) ** 2)
            return learn(tape, loss)
    """,
    "generator": """
        draws = tf.random.Generator.from_seed(1)

        def body(x):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((net(x + draws.normal(shape=(8, 2))) - 1.0) ** 2)
            return learn(tape, loss)
    """,
    "coordinates": """
        def body(x):
            with tf.GradientTape() as tape:
                places = tf.stack([tf.range(8), tf.cast(x[:, 0] > 0.0, tf.int32)], axis=1)
                loss = tf.reduce_mean(tf.gather_nd(net(x), places))
            return learn(tape, loss)
    """,
    "a queue that is assigned on the tape": """
        queue = tf.Variable(np.eye(8, 2, dtype="float32"), trainable=False)

        def body(x):
            with tf.GradientTape() as tape:
                found = net(x)
                loss = tf.reduce_mean(tf.matmul(found, queue, transpose_b=True) ** 2)
                queue.assign(tf.concat([found[:3], queue[:-3]], axis=0))
            return learn(tape, loss)
    """,
    "values of variables": """
        a, count = tf.Variable([[0.5], [0.2]]), tf.Variable(1)

        def body(x):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((tf.matmul(net(x), a.value()) - a.value()[0]) ** 2)
            count.assign_add(1)
            return learn(tape, loss, [a]) * tf.cast(count.value(), tf.float32)
    """,
    "rows of a variable": """
        table = tf.Variable(np.eye(4, 2, dtype="float32"))

        def body(x):
            with tf.GradientTape() as tape:
                found = net(x)
                rows = tf.gather(table, tf.argmax(found, axis=1))
                loss = tf.reduce_mean((found + rows - 1.0) ** 2)
            return learn(tape, loss, [table])
    """,
    "two gradients of one tape": """
        def body(x):
            with tf.GradientTape() as outer:
                with tf.GradientTape(persistent=True) as tape:
                    tape.watch(x)
                    slope = tape.gradient(tf.reduce_sum(tf.tanh(net(x))), x)
                curve = tape.gradient(slope, x)
                loss = tf.reduce_mean((curve - slope) ** 2)
            return learn(outer, loss)
    """,
    "a step within a step": """
        a = tf.Variable([[0.5], [0.2]])

        def body(x):
            with tf.GradientTape() as outer:
                with tf.GradientTape() as tape:
                    loss = tf.reduce_mean((tf.matmul(x, a) - 1.0) ** 2)
                fast = a - 0.1 * tape.gradient(loss, a)
                loss = tf.reduce_mean((tf.matmul(net(x), fast) - 2.0) ** 2)
            return learn(outer, loss, [a])
    """,
}


@pytest.mark.parametrize("name", STEPS)
def test_steps_are_recorded_with_the_bits_of_python(tmp_path, name):
    head = """
    x = np.random.default_rng(0).normal(size=(8, 2)).astype("float32")

    def trained(eagerly):
        keras.utils.set_random_seed(0)
        tf.config.run_functions_eagerly(eagerly)
        net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
        adam = keras.optimizers.Adam(0.1)

        def learn(tape, loss, more=()):
            weights = net.trainable_variables + list(more)
            adam.apply_gradients(zip(tape.gradient(loss, weights), weights))
            return loss
    """
    tail = """
        step = tf.function(body)
        losses = [step(tf.constant(x)).numpy().tobytes() for _ in range(6)]
        kept = [type(e).__name__ for e in step.calls._records.chains._states.values()]
        return [*losses, *(w.tobytes() for w in net.get_weights())], kept, step.calls.reason

    (there, kept, reason), (here, _, _) = trained(False), trained(True)
    print(there == here, kept, reason)
    """
    body = textwrap.indent(textwrap.dedent(STEPS[name]), "    ")
    script = textwrap.dedent(head) + body + textwrap.dedent(tail)
    assert run(tmp_path, script) == "True ['Chain'] \n"


def test_second_derivatives_of_one_tape_and_by_variables(tmp_path):
    body = """
x, a = tf.constant([1.0, 2.0]), tf.Variable(3.0)
with tf.GradientTape(persistent=True) as tape:
    tape.watch(x)
    first = tape.gradient(x**3 * a, x)
print(tape.gradient(first, x).numpy(), tape.gradient(first, a).numpy())
with tf.GradientTape() as outer:
    with tf.GradientTape() as inner:
        y = tf.reduce_sum(a**4 * x)
    slope = inner.gradient(y, a)
print(outer.gradient(slope, a).numpy())
f = tf.function(lambda x: 2 * x).get_concrete_function(tf.TensorSpec([None], tf.float32))
print(f(tf.constant([1.0])).numpy())
"""
    assert run(tmp_path, body).splitlines() == ["[18. 36.] 15.0", "324.0", "[2.]"]


CHECKPOINTS = """
def built():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    optimizer, count = keras.optimizers.Adam(0.1), tf.Variable(0)
    return model, optimizer, count, tf.train.Checkpoint(model=model, opt=optimizer, count=count)

def losses(model, optimizer, n=3):
    found = []
    for _ in range(n):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(np.ones((4, 3), "float32")) - 1.0) ** 2)
        weights = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
        found.append(float(loss))
    return found

strategy = tf.distribute.MirroredStrategy()
with strategy.scope():
    model, optimizer, count, checkpoint = built()
manager = tf.train.CheckpointManager(checkpoint, "kept", max_to_keep=2)
checkpoint.restore(manager.latest_checkpoint)
for _ in range(3):
    strategy.run(losses, (model, optimizer))
    count.assign_add(1)
    manager.save()
print(manager.checkpoints, strategy.num_replicas_in_sync)
expected = losses(model, optimizer)
model, optimizer, count, checkpoint = built()
checkpoint.restore(tf.train.latest_checkpoint("kept")).expect_partial()
print(int(count), losses(model, optimizer) == expected)
checkpoint.restore(manager.latest_checkpoint)
print(losses(model, optimizer) == expected)
checkpoint = tf.train.Checkpoint(model=keras.Sequential([keras.layers.Dense(2)]))
try:
    checkpoint.restore(manager.latest_checkpoint)
except ValueError as error:
    print(error)
"""


def test_checkpoints_and_strategies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = run(tmp_path, CHECKPOINTS).splitlines()
    kept = [str(Path("kept", f"ckpt-{i}")) for i in (2, 3)]
    assert lines[:3] == [f"{kept} 1", "3 True", "True"]
    assert "model must have 2 variables" in lines[3]
    assert sorted(each.name for each in Path("kept").iterdir()) == [
        "checkpoint",
        "ckpt-2.index",
        "ckpt-3.index",
    ]


RESTORED = (
    CHECKPOINTS.partition("strategy =")[0]
    + """
model, optimizer, count, checkpoint = built()
losses(model, optimizer)
path = checkpoint.save("saved/ckpt")
expected = losses(model, optimizer)
model, optimizer, count, checkpoint = built()
checkpoint.restore(path)
checkpoint.restore(path)
print(losses(model, optimizer) == expected)

other = tf.Variable([1.0, 2.0])
before = model.get_weights()
wrong = tf.train.Checkpoint(model=model, count=other)
wrong.save_counter.assign(7)
try:
    wrong.restore(path)
except ValueError as error:
    print(error)
same = all((a == b).all() for a, b in zip(before, model.get_weights()))
print(same, int(wrong.save_counter))
"""
)


def test_restored_twice_or_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = run(tmp_path, RESTORED).splitlines()
    assert lines[0] == "True"
    assert "count must have 1 variables of the shapes" in lines[1]
    assert lines[2] == "True 7"


SLOPES = """
class Slopes(keras.layers.Layer):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def call(self, x):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                u = self.net(x)
            slopes = inner.batch_jacobian(u, x)
        return u, slopes, outer.gradient(slopes[:, 0, 0], x)

net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, "tanh"), keras.layers.Dense(1)])
inputs = keras.Input((2,))
model = keras.Model(inputs, Slopes(net)(inputs))
x = tf.constant(np.random.default_rng(0).normal(size=(4, 2)).astype("float32"))
u, slopes, second = model.predict(x, verbose=0)
h = np.float32([0.01, 0.0])
wide = [net.predict(x + k * h, verbose=0).astype("float64") for k in (-1, 0, 1)]
print(np.allclose(u, wide[1], atol=1e-6), slopes.shape == (4, 1, 2))
print(np.allclose(slopes[:, 0, :1], (wide[2] - wide[0]) / 0.02, atol=1e-3))
print(np.allclose(second[:, :1], (wide[2] - 2 * wide[1] + wide[0]) / 1e-4, atol=2e-2))

flat = keras.Model(inputs, [slopes[:, 0] for slopes in Slopes(net)(inputs)[1:2]] + [net(inputs)])
targets = [tf.zeros((4, 2)), tf.zeros((4, 2))]

def loss_of(x):
    slopes, values = flat(x)
    return tf.reduce_sum(keras.losses.mse([slopes, values * tf.ones((4, 2))], targets))

for function in (loss_of, tf.function(loss_of)):
    for _ in range(3):
        with tf.GradientTape() as tape:
            loss = function(x)
        found = tape.gradient(loss, net.layers[0].kernel)
    print(round(float(loss), 4) > 0, np.abs(found).sum() > 0)
"""


def test_tapes_in_the_call_of_a_layer(tmp_path):
    assert set(run(tmp_path, SLOPES).replace("\n", " ").split()) == {"True"}


LISTS = """
a, b = tf.Variable([1.0, 2.0]), tf.Variable([3.0, 4.0])
with tf.GradientTape(persistent=True) as tape:
    loss = tf.reduce_sum(keras.losses.mse([a * 2, b * a], [[1.0, 1.0], [0.0, 1.0]]))
    total = tf.reduce_sum(tf.square([a * 2, b * a]))
print(float(loss), tape.gradient(loss, a).numpy().tolist(), float(total))
print(tape.gradient(total, a).numpy().tolist())
"""


def test_lists_of_tensors_are_one_tensor(tmp_path):
    expected = "34.0 [11.0, 34.0] 93.0\n[26.0, 80.0]\n"
    assert run(tmp_path, LISTS) == expected


FLOAT64 = """
import warnings
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    tf.keras.backend.set_floatx("float64")
    keras.mixed_precision.set_global_policy("float64")
    net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, dtype=tf.float64)])
    scale = keras.layers.Layer().add_weight(shape=(), dtype="float64", trainable=False)
print([str(each.message)[:27] for each in told], keras.config.floatx(), scale.dtype)
print(net(np.ones((1, 2))).dtype, net.layers[0].get_config()["dtype"]["config"])
"""


def test_scripts_that_ask_for_float64_go_on_in_float32(tmp_path):
    expected = "['this script computes in flo'] float32 float32\nfloat32 {'name': 'float32'}\n"
    assert run(tmp_path, FLOAT64) == expected


FLAT = """
from functools import partial
net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, "tanh"), keras.layers.Dense(1)])
x = tf.Variable(np.float32([[0.5, 0.2], [-0.3, 1.0], [0.1, -0.7]]), trainable=False)

def residual(net):
    a, b = x[:, 0:1], x[:, 1:2]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(a)
        tape.watch(b)
        u = net(tf.stack([a[:, 0], b[:, 0]], axis=1))
    return tf.reduce_mean(tf.square(tape.gradient(u, a) - tape.gradient(u, b)))

shapes = tf.shape_n(net.trainable_variables)
places, parts, count = [], [], 0
for i, shape in enumerate(shapes):
    n = np.prod(shape)
    places.append(tf.reshape(tf.range(count, count + n), shape))
    parts += [i] * n
    count += n

def loss_of(flat):
    with tf.GradientTape() as tape, tf.device("/device:GPU:0"):
        for v, part in zip(net.trainable_variables, tf.dynamic_partition(flat, parts, 4)):
            v.assign(tf.reshape(part, v.shape))
        loss = residual(partial(net, training=True))
    gradients = tape.gradient(loss, net.trainable_variables)
    gradients = [tf.zeros_like(v) if g is None else g
                 for v, g in zip(net.trainable_variables, gradients)]
    return loss.numpy(), tf.dynamic_stitch(places, gradients).numpy()

start = np.concatenate([w.ravel() for w in net.get_weights()])
way = np.random.default_rng(0).normal(size=start.size)
wide = [loss_of((start + k * 1e-2 * way).astype("float32"))[0] for k in (-1, 1)]
print(abs((wide[1] - wide[0]) / 2e-2 - loss_of(start)[1] @ way) < 2e-3)
"""


def test_gradients_of_flat_weights_for_scipys_optimizers(tmp_path):
    assert run(tmp_path, FLAT) == "True\n"
