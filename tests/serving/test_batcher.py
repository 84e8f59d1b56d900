"""`cdl.serving.Batcher`: requests of many threads in few calls, each with its own answer."""

import asyncio
import os
import queue
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor

import numpy as np
import pytest

import cdl
from cdl.serving import Batcher, ModelHolder

X = np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def net():
    return cdl.Sequential([cdl.Input((6,)), cdl.layers.Dense(8, "tanh"), cdl.layers.Dense(2)])


class Gate:
    """A function that waits at its first call, so that what comes meanwhile makes one batch."""

    def __init__(self, function=lambda x: x * 2):
        self.function, self.sizes = function, []
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self, x):
        self.sizes.append(len(x))
        if len(self.sizes) == 1:
            self.begun.set()
            assert self.go_on.wait(500)
        return self.function(x)


def held(batcher, gate, requests):
    """Futures of requests that come while the first one is answered; then all go on."""
    first = batcher.submit(np.zeros((1, 6), np.float32))
    assert gate.begun.wait(500)
    futures = [batcher.submit(each) for each in requests]
    gate.go_on.set()
    first.result(500)
    return futures


def test_requests_that_come_together_are_answered_by_one_call():
    gate = Gate()
    with Batcher(gate, wait=0) as batcher:
        parts = [X[:1], X[1:4], X[4:9]]
        futures = held(batcher, gate, parts)
        for part, future in zip(parts, futures, strict=True):
            np.testing.assert_array_equal(future.result(500), part * 2)
        assert gate.sizes == [1, 9]
        health = {"waiting": 0, "requests": 4, "rows": 10, "batches": 2, "closed": False}
        assert batcher.health() == health


def test_answers_have_the_bits_of_the_model_alone(net):
    alone = [net.predict(X[i : i + 1], verbose=0) for i in range(64)]
    with Batcher(net, wait=0.01) as batcher, ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda i: batcher.predict(X[i : i + 1]), range(64)))
    assert all(map(np.array_equal, found, alone))


def test_a_batch_has_at_most_max_rows_unless_one_request_has_more():
    gate = Gate()
    with Batcher(gate, max_rows=4, wait=0) as batcher:
        futures = held(batcher, gate, [X[:2], X[:2], X[:3], X[:9], X[:1]])
        assert [len(each.result(500)) for each in futures] == [2, 2, 3, 9, 1]
        assert sorted(gate.sizes) == [1, 4, 4, 9]


def test_a_request_waits_for_others():
    function_calls = []
    both = threading.Barrier(2)

    def ask(batcher, i):
        both.wait()
        return batcher.predict(X[i : i + 1])

    def function(x):
        function_calls.append(len(x))
        return x

    with Batcher(function, max_rows=2, wait=400) as batcher, ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda i: ask(batcher, i), range(2)))
    assert function_calls == [2]


def test_each_waiter_gets_its_own_error():
    def function(x):
        if (x < 0).any():
            raise ValueError(f"negative: {x.min()}")
        return x

    gate = Gate(function)
    parts = [X[:1] * 0 + value for value in (1, -1, 2, -3)]
    with Batcher(gate, wait=0) as batcher:
        futures = held(batcher, gate, parts)
        for part, future in zip(parts, futures, strict=True):
            if part[0, 0] < 0:
                with pytest.raises(ValueError, match=f"negative: {part[0, 0]}"):
                    future.result(500)
            else:
                np.testing.assert_array_equal(future.result(500), part)
        assert batcher.predict(X[:1] * 0) is not None


@pytest.mark.parametrize("error", [MemoryError, SystemExit, KeyboardInterrupt, RecursionError])
def test_any_error_reaches_its_waiters_and_the_next_request_is_answered(error):
    def function(x):
        if x[0, 0] == 1:
            raise error
        return x

    with Batcher(function) as batcher:
        with pytest.raises(error):
            batcher.predict(np.ones((1, 2)))
        assert batcher.predict(np.zeros((1, 2))).shape == (1, 2)


def test_requests_that_do_not_fit_into_one_batch_make_several(net):
    gate = Gate()
    parts = [X[:1], X[:2, :3], X[:3].astype(np.float64), X[:4], X[:5, :3]]
    with Batcher(gate, wait=0) as batcher:
        futures = held(batcher, gate, parts)
        for part, future in zip(parts, futures, strict=True):
            assert future.result(500).dtype == part.dtype
            np.testing.assert_array_equal(future.result(500), part * 2)
        assert sorted(gate.sizes) == [1, 3, 5, 7]


def test_a_wrong_request_is_refused_as_by_the_model(net):
    with Batcher(net) as batcher:
        for wrong in (X[:, :5], [["a"] * 6], np.zeros((0, 6)), np.zeros(6), 3, None):
            with pytest.raises((ValueError, TypeError)) as alone:
                net.predict(wrong, verbose=0)
            with pytest.raises(type(alone.value)) as caught:
                batcher.predict(wrong)
            assert str(caught.value) == str(alone.value)
        assert batcher.predict(X[:1]).shape == (1, 2)


def test_several_inputs_and_outputs():
    a, b = cdl.Input((2,), name="a"), cdl.Input((3,), name="b")
    net = cdl.Model({"a": a, "b": b}, {"sum": cdl.layers.Concatenate()([a, b]), "b": b})
    gate = Gate(lambda x: net.predict(x, verbose=0))
    rows = [{"a": X[i : i + 1, :2], "b": X[i : i + 1, 3:]} for i in range(5)]
    with Batcher(gate, wait=0) as batcher:
        first = batcher.submit(rows[0])
        assert gate.begun.wait(500)
        futures = [batcher.submit(each) for each in rows]
        gate.go_on.set()
        for x, future in zip([rows[0], *rows], [first, *futures], strict=True):
            np.testing.assert_array_equal(future.result(500)["b"], x["b"])
            assert future.result(500)["sum"].shape == (1, 5)
        assert batcher.health()["batches"] == 2


def test_a_list_of_arrays_is_one_of_inputs():
    net = cdl.Model([a := cdl.Input((2,)), b := cdl.Input((3,))], [b, a])
    with Batcher(net) as batcher:
        second, first = batcher.predict([X[:2, :2], X[:2, 3:]])
    assert first.shape == (2, 2) and second.shape == (2, 3)


def test_data_frames_are_answered_alone(net):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X[:3])
    with Batcher(net) as batcher:
        np.testing.assert_array_equal(batcher.predict(frame), net.predict(frame, verbose=0))


def test_nobody_holds_the_rows_of_others():
    gate = Gate()
    with Batcher(gate, wait=0) as batcher:
        one, other = (each.result(500) for each in held(batcher, gate, [X[:1], X[1:2]]))
    one[:] = 7
    np.testing.assert_array_equal(other, X[1:2] * 2)
    assert one.base is None and other.base is None


def test_outputs_of_other_rows_are_refused():
    gate = Gate(lambda x: x.sum(0, keepdims=True))
    with Batcher(gate, wait=0) as batcher:
        futures = held(batcher, gate, [X[:2], X[:2]])
        assert [each.result(500).shape for each in futures] == [(1, 6), (1, 6)]  # each alone


def test_a_timeout_withdraws_the_request():
    gate = Gate()
    with Batcher(gate, wait=0) as batcher:
        first = batcher.submit(X[:1])
        assert gate.begun.wait(500)
        with pytest.raises(TimeoutError, match=r"no answer within 0\.01 s"):
            batcher.predict(X[:1], timeout=0.01)
        gate.go_on.set()
        assert first.result(500).shape == (1, 6)
        batcher.predict(X[:2])
    assert gate.sizes == [1, 2]


def test_a_timeout_of_the_function_is_its_own():
    def function(x):
        raise TimeoutError("mine")

    with Batcher(function) as batcher, pytest.raises(TimeoutError, match="mine"):
        batcher.predict(X[:1], timeout=500)


def test_a_future_may_be_cancelled():
    gate = Gate()
    with Batcher(gate, wait=0) as batcher:
        first = batcher.submit(X[:1])
        assert gate.begun.wait(500)
        second = batcher.submit(X[:3])
        assert second.cancel()
        gate.go_on.set()
        first.result(500)
    assert gate.sizes == [1]
    with pytest.raises(CancelledError):
        second.result()


def test_more_than_max_waiting_requests_are_refused():
    gate = Gate()
    with Batcher(gate, wait=0, max_waiting=2) as batcher:
        first = batcher.submit(X[:1])
        assert gate.begun.wait(500)
        futures = [batcher.submit(X[:1]) for _ in range(2)]
        with pytest.raises(queue.Full, match="2 requests wait already"):
            batcher.predict(X[:1])
        gate.go_on.set()
        assert all(each.result(500) is not None for each in (first, *futures))


def test_close_answers_those_that_wait_and_refuses_more():
    before = threading.active_count()
    gate = Gate()
    batcher = Batcher(gate, wait=400)
    futures = [batcher.submit(X[:1])]
    closing = threading.Thread(target=batcher.close)
    closing.start()
    assert gate.begun.wait(500)  # nobody waits for others any more
    gate.go_on.set()
    closing.join()
    assert futures[0].result(0).shape == (1, 6)
    with pytest.raises(RuntimeError, match="closed"):
        batcher.predict(X[:1])
    batcher.close()
    assert threading.active_count() == before


def test_a_batcher_that_nobody_has_answers_and_ends():
    before = threading.active_count()
    future = Batcher(lambda x: x, wait=400).submit(X[:1])
    assert future.result(500).shape == (1, 6)
    while threading.active_count() > before:
        time.sleep(0.005)


def test_a_function_that_asks_the_batcher_itself_is_told():
    def function(x):
        return batcher.predict(x)

    with Batcher(function) as batcher, pytest.raises(RuntimeError, match="must not ask"):
        batcher.predict(X[:1])


def test_a_holder_may_swap_its_model_meanwhile(net, tmp_path):
    net.save(tmp_path / "net.keras")
    with ModelHolder(tmp_path / "net.keras", every=None) as holder, Batcher(holder) as batcher:
        np.testing.assert_array_equal(batcher.predict(X[:3]), net.predict(X[:3], verbose=0))
        zeros = cdl.models.clone_model(net)
        zeros.set_weights([0 * each for each in net.get_weights()])
        zeros.save(tmp_path / "net.keras")
        holder.reload()
        assert not batcher.predict(X[:3]).any()


def test_what_is_not_finite_is_refused_where_that_is_asked_for(net, tmp_path):
    bad = X[:3].copy()
    bad[1, 2] = np.nan
    text = r"must be finite, it holds NaN in column 2, in 1 of 3 rows, the first of them row 1"
    with Batcher(net, finite=True) as batcher:
        for x in (bad, bad.tolist()):
            with pytest.raises(ValueError, match=f"Batcher: x {text}"):
                batcher.predict(x)
        with pytest.raises(ValueError, match=r"x\['a'\] must be finite, it holds inf"):
            batcher.predict({"a": X[:3] * 0 + np.inf})
        assert batcher.predict(X[:1]).shape == (1, 2)
    net.save(tmp_path / "net.keras")
    with ModelHolder(tmp_path / "net.keras", every=None) as holder:
        assert np.isnan(holder.predict(bad)[1]).all()
        with pytest.raises(ValueError, match=f"ModelHolder: x {text}"):
            holder.predict(bad, finite=True)
        assert holder.predict(X[:1], finite=True).shape == (1, 2)


def test_an_estimator_may_be_served():
    class Estimator:
        def predict(self, X):
            return X[:, 0]

    with Batcher(Estimator()) as batcher:
        np.testing.assert_array_equal(batcher.predict(X[:3]), X[:3, 0])


def test_asyncio_waits_for_it(net):
    async def ask(batcher):
        calls = [asyncio.wrap_future(batcher.submit(X[i : i + 1])) for i in range(20)]
        return await asyncio.gather(*calls)

    with Batcher(net) as batcher:
        found = asyncio.run(ask(batcher))
    np.testing.assert_array_equal(np.concatenate(found), net.predict(X[:20], verbose=0))


def test_a_forked_child_has_a_queue_and_a_thread_of_its_own():
    gate = Gate()
    with Batcher(gate, wait=0) as batcher:
        future = batcher.submit(X[:1])
        assert gate.begun.wait(500)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = batcher.predict(X[:2]).shape != (2, 6)
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        gate.go_on.set()
        assert future.result(500).shape == (1, 6)


def test_a_script_that_ends_with_requests_open_ends():
    code = """if True:
        import threading
        from cdl.serving import Batcher
        batcher = Batcher(lambda x: threading.Event().wait())
        batcher.submit([[1.0]])
        print("end")
    """
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=500, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


@pytest.mark.parametrize(
    "given, text",
    [
        ({"max_rows": 0}, "max_rows must be an integer above 0, got 0"),
        ({"max_rows": 1.5}, "max_rows must be an integer above 0"),
        ({"wait": -1}, "wait must be a number of seconds, 0 or more"),
        ({"wait": float("inf")}, "wait must be"),
        ({"max_waiting": True}, "max_waiting must be"),
        ({"model": 3}, "model must be a model, a ModelHolder or a function"),
    ],
)
def test_bad_arguments_are_refused(given, text):
    with pytest.raises(ValueError, match=f"Batcher: {text}"):
        Batcher(**{"model": len, **given})


def test_requests_that_were_withdrawn_keep_no_place_from_others():
    goes_on = threading.Event()

    def slow(x):
        goes_on.wait()
        return x

    with Batcher(slow, wait=0, max_waiting=2) as batcher:
        busy = batcher.submit(X[:1])
        while batcher.health()["waiting"]:
            time.sleep(0.001)
        try:
            for _ in range(4):  # each is withdrawn, and the model is still at the first
                with pytest.raises(TimeoutError):
                    batcher.predict(X[:1], timeout=0.01)
        finally:
            goes_on.set()
        assert len(busy.result(500)) == 1


def test_sizes_may_be_integers_of_numpy():
    with Batcher(lambda x: x, max_rows=np.int64(8), max_waiting=np.int32(2)) as batcher:
        assert batcher.predict(X).shape == X.shape
