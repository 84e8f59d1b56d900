"""Forked processes train and predict, even if their parent used threads."""

import pytest

# Runs in a fresh interpreter, so that the threads of this one play no part. A child that hangs is
# ended by its alarm, and the parent sees that it did not exit by itself.
START = """if True:
    import faulthandler, os, signal, sys
    import numpy as np
    sys.path[:0] = [{tests!r}, {tests!r} + '/helpers']
    from programs import dense, learner, random_weight, weight
    from cdl import _core
    from cdl._ir.program import Program

    def make():
        rng = np.random.default_rng(0)
        program = Program()
        h = dense(program, program.input((20,)), random_weight(rng, 20, 50), weight(np.zeros(50)))
        program.output(dense(program, h, random_weight(rng, 50, 3)))
        program.loss("mean_squared_error", program.input((3,), role="y"), program.outputs[0])
        return program, [rng.normal(size=(200, 20)), rng.normal(size=(200, 3))]

    def work(threads):
        "Weights and predictions after some training."
        program, arrays = make()
        optimizer = learner("sgd", program.variables)
        executor = _core.Executor(
            program, 64, training=True, optimizer=optimizer, threads=threads)
        executor.begin(arrays, 64)
        executor.train(10**6, 1e9, [0.1], 0, 0)
        return [v.numpy() for v in program.variables] + [executor.predict(arrays)]

    def same(a, b):
        return all((x == y).all() for x, y in zip(a, b, strict=True))

    def fork_and(check):
        "0 if the child finds that check() holds."
        child = os.fork()
        if child == 0:
            faulthandler.register(signal.SIGALRM, chain=True)  # says where, then ends the child
            signal.alarm(200)
            os._exit(0 if check() else 7)
        status = os.waitpid(child, 0)[1]
        return status

"""


@pytest.fixture
def run_forking(run_python, root):
    def run(code):
        return run_python(START.format(tests=str(root / "tests")) + code)

    return run


def test_a_child_of_a_parent_with_threads_trains_and_predicts_the_same(run_forking):
    run_forking("""
    expected = work(2)
    assert fork_and(lambda: same(work(2), expected)) == 0
    assert fork_and(lambda: same(work(0), expected)) == 0
    assert same(work(2), expected)  # and the parent goes on
    """)


def test_an_executor_of_the_parent_works_on_in_the_child(run_forking):
    run_forking("""
    program, arrays = make()
    optimizer = learner("sgd", program.variables)
    executor = _core.Executor(program, 64, training=True, optimizer=optimizer, threads=3)
    executor.begin(arrays, 64)
    executor.train(2, 1e9, [0.1], 0, 0)

    def go_on():
        return executor.train(10**6, 1e9, [0.1], 2, 0) == 4 and executor.predict(arrays).shape

    assert fork_and(go_on) == 0
    assert go_on()
    """)


def test_a_child_says_that_it_runs_alone_and_why(run_forking):
    run_forking("""
    before = _core.info()
    work(2)

    def alone():
        info = _core.info()
        return info["threads"] == 1 and "forked" in info["threads_reason"]

    assert fork_and(alone) == 0
    assert _core.info() == before
    """)


def test_a_child_works_whose_parent_used_openmp_by_another_library(run_forking):
    run_forking("""
    import ctypes, ctypes.util
    runtime = ctypes.util.find_library("gomp")
    if runtime is None:
        sys.exit(0)
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda nothing: None)
    ctypes.CDLL(runtime).GOMP_parallel(function, None, 3, 0)
    assert fork_and(lambda: same(work(2), work(1)) and _core.info()["threads"] == 1) == 0
    """)


def test_a_grandchild_works_too(run_forking):
    run_forking("""
    expected = work(2)
    assert fork_and(lambda: fork_and(lambda: same(work(3), expected)) == 0) == 0
    """)


def test_a_pool_of_forked_processes_works(run_forking):
    run_forking("""
    import multiprocessing
    expected = work(2)
    signal.alarm(300)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for found in pool.map(work, [1, 2, 3, 0]):
            assert same(found, expected)
    """)


def test_children_work_that_are_forked_while_other_threads_predict(run_forking):
    run_forking("""
    import threading
    program, arrays = make()
    executor = _core.Executor(program, 64, threads=2)
    x = [np.tile(array, (200, 1)) for array in arrays]
    expected, over = executor.predict(x), threading.Event()

    def forever():
        while not over.is_set():
            executor.predict(x)

    threads = [threading.Thread(target=forever) for _ in range(3)]
    for thread in threads:
        thread.start()
    found = [fork_and(lambda: same([executor.predict(x)], [expected]) and same(work(2), work(1)))
             for _ in range(10)]
    over.set()
    for thread in threads:
        thread.join()
    assert found == [0] * 10, found
    assert same([executor.predict(x)], [expected])
    """)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_child_works_that_is_forked_after_ctrl_c(run_forking, threads):
    run_forking(f"""
    program, arrays = make()
    executor = _core.Executor(program, 64, threads={threads})
    x = [np.tile(array, (200, 1)) for array in arrays]
    expected = executor.predict(x)

    def press():
        _core.answer_signals()
        signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    _core.answer_signals(press, 0.0)
    try:
        executor.predict(x)
        sys.exit("it was not interrupted")
    except KeyboardInterrupt:
        pass
    assert fork_and(lambda: same([executor.predict(x)], [expected])) == 0

    def interrupted():
        "A child is interrupted as its parent was: its one thread is the main one."
        _core.answer_signals(press, 0.0)
        try:
            executor.predict(x)
        except KeyboardInterrupt:
            return same([executor.predict(x)], [expected])

    assert fork_and(interrupted) == 0
    import threading
    child = []
    thread = threading.Thread(target=lambda: child.append(fork_and(interrupted)))
    thread.start()
    thread.join()
    assert child == [0]
    """)


# A thread holds a lock while the process forks: the child, which does not have that thread, works.
HELD = {
    "NumPy's generator": "np.random.mtrand.get_bit_generator().lock",
    "metrics": "core_metric._loading",
    "callbacks": "callback_list._taking",
    "iterators": "ahead._finding",
    "derivatives": "slope.__self__._lock",
    "steps of an optimizer": "next(iter(model.optimizer._executors.values()))._lock",
}


@pytest.mark.parametrize("lock", HELD)
def test_a_child_works_whose_parent_forks_while_a_thread_holds(lock, run_forking):
    run_forking(f"""
    import threading, time
    import cdl
    from cdl.callbacks import callback_list
    from cdl.data import ahead
    from cdl.metrics import core_metric
    model = cdl.Sequential([cdl.Input((4,)), cdl.layers.Dense(3)])
    model.compile("adam", "mse", metrics=["mae", "AUC"])
    x, y = np.ones((40, 4), np.float32), np.ones((40, 3), np.float32)
    slope = cdl.value_and_grad(lambda v: (v**2).sum())
    weights = model.trainable_variables

    def batches():
        while True:
            time.sleep(0.002)
            yield x, y

    def everything():
        model.fit(x, y, verbose=0)
        model.fit(batches(), steps_per_epoch=3, verbose=0)
        model.train_on_batch(x, y)
        model.optimizer.apply([w.numpy() for w in weights], weights)
        slope(x)
        slope(x[:, :2])
        cdl.value_and_grad(lambda v: v.sum())(x)
        model.evaluate(x, y, verbose=0)
        model.predict(x, verbose=0)
        return True

    model.fit(x, y, verbose=0)
    model.optimizer.apply([w.numpy() for w in weights], weights)
    slope(x)
    held, over = threading.Event(), threading.Event()

    def hold():
        with {HELD[lock]}:
            held.set()
            over.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = fork_and(lambda: signal.alarm(60) is not None and everything())
    over.set()
    thread.join()
    assert child == 0, child
    """)


def test_all_locks_are_free_in_a_child(root):
    # The last two make theirs anew, and nobody waits for that of interrupts.py.
    own = {"locks.py", "interrupts.py", "batcher.py", "model_holder.py"}
    for path in (root / "cdl").rglob("*.py"):
        text = path.read_text()
        assert path.name in own or not ("threading.Lock()" in text or "RLock()" in text), path
