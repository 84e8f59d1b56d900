"""Memory stays flat, and no caller's array is copied whole."""

import sys

import pytest

pytestmark = [
    pytest.mark.measures,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

# Each test runs in a fresh interpreter, whose memory is its own.
START = """if True:
    import gc, resource, sys, threading
    from pathlib import Path
    import numpy as np
    sys.path[:0] = [{tests!r}, {tests!r} + '/helpers']
    from programs import activation, dense, learner, mlp, weight
    from cdl import _core
    from cdl._ir.program import Program

    def status(name):
        "Kilobytes of this process."
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))

    def growth(work, times, warm_up):
        "Kilobytes that the last times of work() have added."
        for _ in range(warm_up):
            work()
        gc.collect()
        before = status("VmRSS")
        for _ in range(times):
            work()
        gc.collect()
        return status("VmRSS") - before

    def classifier(widths=(20, 64, 10)):
        program, y = mlp(np.random.default_rng(0), widths, last="softmax")
        program.loss("sparse_categorical_crossentropy", program.input((), "int32", "y"), y)
        return program.fused()
"""


@pytest.fixture
def measure(run_python, root):
    def run(code):
        return run_python(START.format(tests=str(root / "tests")) + code)

    return run


def test_20000_predictions_leave_no_memory_behind(measure):
    measure("""
    program, _ = mlp(np.random.default_rng(0), [20, 64, 10])
    executor = _core.Executor(program.fused(), 32)
    one, many = np.ones((1, 20)), np.ones((100, 20), np.uint8)[::-1]

    def work():
        executor.predict([one])
        executor.predict([many])

    assert growth(work, 10_000, 1000) < 300
    """)


def test_2000_programs_weights_and_executors_leave_no_memory_behind(measure):
    measure("""
    x, y = np.ones((64, 20)), np.zeros(64, int)

    def work():
        program = classifier()
        hypers = dict(beta_1=0.9, beta_2=0.999, epsilon=1e-7)
        optimizer = learner("adam", program.variables, **hypers)
        executor = _core.Executor(program, 32, training=True, optimizer=optimizer)
        executor.begin([x, y], 32, np.arange(64))
        executor.train(10, 1e9, [0.1], 0, 0)
        executor.begin([x, y], 32, np.arange(63))

    assert growth(work, 2000, 200) < 1000
    """)


def test_passes_orders_and_results_leave_no_memory_behind(measure):
    measure("""
    x, y = np.ones((64, 20)), np.zeros(64, int)
    program = classifier()
    executor = _core.Executor(
        program, 32, training=True, optimizer=learner("sgd", program.variables), threads=2)

    def work():
        executor.begin([x, y], 32, np.arange(64))
        executor.train(10, 1e9, np.float32([0.1, 0.2]), 0, 0)
        executor.totals(), executor.output(), executor.batch(0), executor.reset()
        [v.assign(v.numpy()) for v in program.variables]

    assert growth(work, 3000, 300) < 300
    """)


def test_what_fails_leaves_no_memory_behind(measure):
    measure("""
    program = classifier()
    broken = classifier()
    broken.emit("softmax", broken.outputs, (7,))
    executor = _core.Executor(program, 32)
    calls = [
        lambda: _core.Executor(broken, 10_000),
        lambda: _core.Executor(program, 2**45),
        lambda: _core.Parameter((2**43,)),
        lambda: executor.predict([np.ones((4, 21)), np.zeros(4)]),
        lambda: executor.predict([np.ones((4, 20)), np.array(["a"] * 4)]),
        lambda: executor.begin([np.ones((4, 20)), np.zeros(4)], 4, [9]),
        lambda: program.variables[0].storage.set(np.zeros(3)),
    ]

    def work():
        for call in calls:
            try:
                call()
            except (ValueError, TypeError, MemoryError):
                continue
            raise AssertionError(call)

    assert growth(work, 3000, 300) < 300
    """)


def test_python_threads_that_come_and_go_leave_no_memory_behind(measure):
    measure("""
    program, _ = mlp(np.random.default_rng(0), [20, 64, 10])
    executor = _core.Executor(program, 32, threads=2)
    x = np.ones((100, 20))

    def work():
        threads = [threading.Thread(target=executor.predict, args=([x],)) for _ in range(4)]
        [t.start() for t in threads]
        [t.join() for t in threads]

    assert growth(work, 300, 100) < 1000
    """)


# Little address space is left beside the data: whoever copies it gets a MemoryError.
LIMIT = """
    size = np.dtype(dtype).itemsize * rows * 64
    assert size >= 60e6

    def train_over(x):
        y = np.broadcast_to(np.zeros(1, np.int8), (rows,))
        program = classifier((64, 8, 2))
        optimizer = learner("sgd", program.variables)
        executor = _core.Executor(program, 256, training=True, optimizer=optimizer, threads=1)
        limit = status("VmSize") * 1024 + size // 4
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        try:
            np.empty(size, np.uint8)
        except MemoryError:
            pass
        else:
            raise AssertionError("the limit does not hold")
        executor.begin([x, y], 256)
        executor.train(10**9, 1e9, [0.0], 0, 0)
        executor.begin([x, y], 256)
        executor.test(10**9, 1e9)
        assert _core.check_classes(y, 2) == -1
        assert executor.predict([x[: rows // 8], y[: rows // 8]]).shape == (rows // 8, 2)
"""


@pytest.mark.parametrize("dtype", ["f8", "u1", ">f4"])
def test_an_array_is_not_copied(measure, dtype):
    rows = {"f8": 125_000, "u1": 1_000_000, ">f4": 250_000}[dtype]
    measure(f"""
    dtype, rows = {dtype!r}, {rows}
    {LIMIT}
    train_over(np.zeros((64, rows), dtype).T)  # columns: not even contiguous
    """)


def test_a_memmap_is_not_copied(measure, tmp_path):
    measure(f"""
    dtype, rows = "f8", 125_000
    {LIMIT}
    train_over(np.memmap({str(tmp_path / "x")!r}, "f8", "w+", shape=(rows, 64)))
    """)


def test_batches_of_many_sizes_leave_no_memory_behind(measure):
    measure("""
    import itertools
    import cdl
    from cdl.trainers import sizes
    from cdl import layers

    sizes.MOST = 8
    model = cdl.Sequential(
        [cdl.Input((None,)), layers.Embedding(20, 8), layers.GlobalMaxPooling1D(), layers.Dense(2)])
    model.compile("adam", "mse")
    lengths, y = itertools.cycle(range(1, 40)), np.zeros((16, 2))

    def work():
        x = np.ones((16, next(lengths)), int)
        model.predict(x, verbose=0)
        model.train_on_batch(x, y)

    assert growth(work, 800, 300) < 1500
    assert len(model._sizes_made._predictors) == len(model._executors._idle) == 8
    """)


def test_memory_of_a_program_is_left_to_the_threads_that_use_it(measure):
    measure("""
    program = classifier()
    before = status("VmRSS")
    executor = _core.Executor(program, 200_000, training=True, threads=2)
    grown = status("VmRSS") - before
    assert executor.memory()[0] > 100e6, executor.memory()
    assert grown < 20_000, f"{grown} KB when it was made"
    """)
