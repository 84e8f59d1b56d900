"""test_scripts.py - scripts written for Keras run unmodified by `python -m cdl`."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

PLAIN = {
    "nothing": "",
    "arguments": """
        import sys
        print(sys.argv, __name__, __file__, sys.path[0], __package__, __spec__, __doc__)
        print(type(__loader__).__name__, __cached__, sorted(globals()))
        print(sys.modules["__main__"].__file__ == __file__)
        """,
    "docstring": '''
        """What it is for."""
        print(__doc__)
        ''',
    "future": """
        from __future__ import annotations
        def f(x: Missing) -> Missing: return 1
        print(f.__annotations__)
        """,
    "no_future": "def f(x: int): pass\nprint(f.__annotations__)",
    "exit_number": "import sys; print('a'); sys.exit(3)",
    "exit_text": "import sys; sys.exit('went wrong')",
    "exit_none": "raise SystemExit",
    "error": """
        def f(x):
            return 1 / x

        print("before")
        f(0)
        """,
    "error_chain": """
        def f():
            raise KeyError("a")

        try:
            f()
        except KeyError as error:
            raise RuntimeError("b") from error
        """,
    "error_in_another_file": "import helper\nhelper.fail()",
    "syntax_error": "print(1)\nx = = 2\n",
    "hook_of_its_own": """
        import sys
        sys.excepthook = lambda kind, value, traceback: print("mine", kind.__name__, value)
        raise ValueError("x")
        """,
    "main_guard": """
        def main():
            print("ran")

        if __name__ == "__main__":
            main()
        """,
    "at_exit": "import atexit; atexit.register(print, 'end'); print('body')",
    "pickled": """
        import pickle

        class Thing:
            pass

        print(type(pickle.loads(pickle.dumps(Thing()))) is Thing, Thing.__module__)
        """,
    "source": """
        import inspect

        def f():
            return 42

        print(inspect.getsource(f))
        """,
    "warning": "import warnings; warnings.warn('careful', DeprecationWarning)",
    "assertion": "assert 1 == 2, 'no'",
    "no_such_module": "import nothing_of_that_name",
    "processes": """
        import multiprocessing

        def square(x):
            return x * x

        if __name__ == "__main__":
            with multiprocessing.get_context("fork").Pool(2) as pool:
                print(pool.map(square, [1, 2, 3]))
        """,
}


@pytest.fixture
def script(tmp_path):
    """Write a script, and run it by some way of Python's."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    (folder / "helper.py").write_text("def fail():\n    raise OSError('from helper')\n")

    def run(text, *how, arguments=("--units", "3", "x y"), cwd=tmp_path, name="a folder/train.py"):
        if text is not None:
            (tmp_path / "a folder" / "train.py").write_text(textwrap.dedent(text).lstrip("\n"))
        return subprocess.run(
            [sys.executable, *how, name, *arguments],
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return run


def outcome(done):
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("text", PLAIN.values(), ids=PLAIN)
def test_all_is_as_if_python_ran_it(text, script):
    expected = outcome(script(text))
    if "hook_of_its_own" not in text:
        assert outcome(script(text, "-m", "cdl")) == expected


def test_paths_are_those_of_python(script, tmp_path):
    text = PLAIN["arguments"]
    script(text)
    (tmp_path / "link.py").symlink_to(tmp_path / "a folder" / "train.py")
    for name in ("link.py", str(tmp_path / "a folder" / "train.py"), "./a folder/../link.py"):
        assert outcome(script(None, "-m", "cdl", name=name)) == outcome(script(None, name=name))
    here = {"cwd": tmp_path / "a folder", "name": "train.py"}
    assert outcome(script(None, "-m", "cdl", **here)) == outcome(script(None, **here))


def test_script_that_is_not_there_is_python_s_own_error(script):
    expected = outcome(script(None, name="none.py"))
    assert expected[0] == 2
    assert outcome(script(None, "-m", "cdl", name="none.py")) == expected


def test_ctrl_c_ends_it_as_it_ends_python(script, tmp_path):
    text = """
        import atexit, time
        atexit.register(print, "put away", flush=True)
        print("begun", flush=True)
        time.sleep(60)
        """
    script("")
    path = tmp_path / "a folder" / "train.py"
    path.write_text(textwrap.dedent(text))
    found = []
    for how in ([], ["-m", "cdl"]):
        process = subprocess.Popen(
            [sys.executable, *how, str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell has its jobs in the background ignore Ctrl-C, and so the tests among them.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )
        assert process.stdout.readline() == "begun\n"
        time.sleep(0.5)  # until it sleeps
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
        found.append((process.returncode, out, err))
    assert found[0] == found[1]
    assert found[0][0] == -signal.SIGINT


# --- keras and tensorflow ---

TRAINS = """
    x = np.random.RandomState(0).normal(size=(40, 4)).astype("float32")
    y = to_categorical((x.sum(1) > 0).astype(int), 2)
    model = Sequential([Dense(8, activation="relu", input_shape=(4,)), Dense(2, "softmax")])
    model.compile(Adam(0.05), "categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x, y, epochs=30, verbose=0)
    print(history.history["accuracy"][-1] > 0.9, type(model).__module__)
    """
IMPORTS = {
    "keras": """
        import numpy as np, keras
        from keras.layers import Dense
        from keras.models import Sequential
        from keras.optimizers import Adam
        from keras.utils import to_categorical
        """,
    "tensorflow.keras": """
        import numpy as np
        from tensorflow.keras.layers import Dense
        from tensorflow.keras.models import Sequential
        from tensorflow.keras.optimizers import Adam
        from tensorflow.keras.utils import to_categorical
        """,
    "from tensorflow import keras": """
        import numpy as np
        from tensorflow import keras
        from keras import layers, optimizers, utils
        Dense, Sequential, Adam = layers.Dense, keras.Sequential, keras.optimizers.Adam
        to_categorical = utils.to_categorical
        """,
    "tf": """
        import numpy as np
        import tensorflow as tf
        tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)
        for gpu in tf.config.experimental.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
        tf.random.set_seed(3)
        print(tf.config.list_physical_devices("GPU"))
        Dense, Sequential = tf.keras.layers.Dense, tf.keras.models.Sequential
        Adam, to_categorical = tf.keras.optimizers.Adam, tf.keras.utils.to_categorical
        """,
    "modules": """
        import numpy as np
        import keras.layers, keras.models, keras.backend as K
        import tensorflow.keras.optimizers as optimizers
        import tensorflow.keras.utils
        Dense, Sequential, Adam = keras.layers.Dense, keras.models.Sequential, optimizers.Adam
        to_categorical = tensorflow.keras.utils.to_categorical
        print(K.floatx())
        """,
    "stars": """
        import numpy as np
        from keras.layers import *
        from keras.models import *
        from keras.optimizers import *
        from tensorflow.keras.utils import *
        """,
    "older places": """
        import numpy as np
        from keras.layers.core import Dense
        from keras.engine.sequential import Sequential
        from tensorflow.python.keras.optimizers import Adam
        from keras.utils import np_utils
        to_categorical = np_utils.to_categorical
        """,
}


@pytest.mark.parametrize("imports", IMPORTS.values(), ids=IMPORTS)
def test_script_of_keras_trains(imports, script):
    text = textwrap.dedent(imports) + textwrap.dedent(TRAINS)
    done = script(text, "-W", "error", "-m", "cdl")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("True cdl.models")


def test_names_mean_one_thing(script):
    done = script(
        """
        import keras, tensorflow as tf, cdl
        from keras.layers import Dense
        print(Dense is cdl.layers.Dense is tf.keras.layers.Dense, keras.layers is keras.layers)
        print(keras.__version__, tf.__version__, keras.optimizers.schedules.CosineDecay.__name__)
        print(hasattr(keras.layers, "Conv9D"), "Dense" in dir(keras.layers), keras.__name__)
        print(isinstance(keras.Sequential(), cdl.Sequential))
        """,
        "-m",
        "cdl",
    )
    assert done.stdout == (
        "True True\n3.15.1+cdl 2.21.0+cdl CosineDecay\nFalse True keras\nTrue\n"
    ), done.stderr


def test_functions_of_tensorflow_are_those_of_cdl_and_are_compiled(script):
    done = script(
        """
        import json
        import numpy as np
        import tensorflow as tf
        from tensorflow import keras

        @tf.function
        def rmse(y_true, y_pred):
            error = tf.math.squared_difference(tf.cast(y_true, tf.float32), y_pred)
            return tf.sqrt(tf.reduce_mean(error, axis=-1))

        def smooth(y_true, y_pred):
            size = tf.abs(y_true - y_pred)
            value = tf.where(size < 1.0, 0.5 * tf.square(size), size - 0.5)
            return tf.reduce_mean(value, axis=-1)

        model = keras.Sequential([keras.layers.Dense(3, tf.nn.relu), keras.layers.Dense(1)])
        model.compile("adam", smooth, metrics=[rmse])
        x = np.random.rand(64, 4)
        history = model.fit(x, x[:, :1], epochs=2, verbose=0)
        json.dumps(history.history)
        found = model(x[:2])
        print(type(found.numpy()).__name__, found.numpy().shape, type(model.predict(x)).__name__)
        print(f"{keras.losses.MeanSquaredError()([1.0], [3.0]).numpy():.1f}")
        metric = keras.metrics.Accuracy()
        metric.update_state([1, 2], [1, 1])
        print(metric.result().numpy(), tf.add_n([tf.ones(2), tf.constant([1.0, 2.0])]).numpy())
        print(tf.argmax([[1, 5], [7, 2]]).numpy(), tf.argmax([[1, 5], [7, 2]], axis=1).numpy())
        print(tf.reduce_sum(input_tensor=tf.eye(3)).numpy(), tf.nn.leaky_relu([-1.0]).numpy())
        norm = keras.layers.Normalization()
        norm.adapt(np.ones((4, 2)))
        print(norm.mean.numpy())
        """,
        "-m",
        "cdl",
    )
    assert done.stdout.splitlines() == [
        "ndarray (2, 1) ndarray",
        "4.0",
        "0.5 [2. 3.]",
        "[1 0] [1 0]",
        "3.0 [-0.2]",
        "[[1. 1.]]",
    ], done.stderr


TENSORFLOW = {
    "tf.gather(x, [2, 0])": "x[[2, 0]]",
    "tf.gather(x, [1], axis=1)": "x[:, [1]]",
    "tf.split(x, 2, axis=1)[1]": "x[:, 2:]",
    "tf.split(x, [1, 3], 1)[1]": "x[:, 1:]",
    "tf.unstack(x)[1]": "x[1]",
    "tf.unstack(x, axis=1)[1]": "x[:, 1]",
    "tf.argmin(x)": "x.argmin(0)",
    "tf.reverse(x, [1])": "x[:, ::-1]",
    "tf.fill((2, 3), 4.0)": "np.full((2, 3), 4.0)",
    "tf.rank(x)": "2",
    "tf.identity(x)": "x",
    "tf.roll(x, 1, axis=0)": "np.roll(x, 1, 0)",
    "tf.nn.l2_loss(x)": "(x**2).sum() / 2",
    "tf.math.l2_normalize(x, 1)": "x / np.linalg.norm(x, axis=1, keepdims=True)",
    "tf.nn.sigmoid_cross_entropy_with_logits(labels=z, logits=x)": (
        "-z * np.log(1 / (1 + np.exp(-x))) - (1 - z) * np.log(1 / (1 + np.exp(x)))"
    ),
    "tf.nn.softmax_cross_entropy_with_logits(z, x)": (
        "-(z * (x - np.log(np.exp(x).sum(-1, keepdims=True)))).sum(-1)"
    ),
    "tf.linalg.norm(x)": "np.linalg.norm(x)",
    "tf.Variable(x).assign_add(x)": "2 * x",
    "tf.losses.MeanSquaredError()(x, 0 * x)": "(x**2).mean()",
    "tf.initializers.Constant(2.0)((2,))": "[2.0, 2.0]",
    "tf.nn.embedding_lookup(x, [1])": "x[[1]]",
}


def test_functions_of_tensorflow_give_what_they_give_there(script):
    lines = [f"    np.testing.assert_allclose({a}, {b}, rtol=1e-5)" for a, b in TENSORFLOW.items()]
    done = script(
        "import numpy as np, tensorflow as tf\n"
        "x = np.random.default_rng(0).normal(size=(3, 4)).astype('float32')\n"
        "z = np.eye(4, dtype='float32')[:3]\n"
        "if True:\n" + "\n".join(lines) + "\nprint('all')",
        "-m",
        "cdl",
    )
    assert done.stdout == "all\n", done.stderr


def test_windows_over_a_series_are_a_data_set(script):
    done = script(
        """
        import numpy as np, tensorflow as tf
        data = np.arange(40.0).reshape(20, 2)
        windows = tf.keras.utils.timeseries_dataset_from_array(data, None, 4, batch_size=8)
        pairs = windows.map(lambda w: (w[:, :3], w[:, 3:])).prefetch(1)
        for x, y in pairs.take(1):
            print(x.numpy().shape, y.shape, len(pairs), next(iter(windows)).numpy().shape)
        model = tf.keras.Sequential(
            [tf.keras.layers.Flatten(), tf.keras.layers.Dense(2), tf.keras.layers.Reshape((1, 2))]
        )
        model.compile("adam", "mse")
        print(len(model.fit(pairs, epochs=2, verbose=0).history["loss"]))
        """,
        "-m",
        "cdl",
    )
    assert done.stdout == "(8, 3, 2) (8, 1, 2) 3 (8, 4, 2)\n2\n", done.stderr


def test_data_sets_of_tensorflow_train(script):
    done = script(
        """
        import numpy as np
        import tensorflow as tf
        from tensorflow.keras import layers

        tf.random.set_seed(0)
        x = np.random.normal(size=(80, 2)).astype("float32")
        frame = {"a": x[:, 0], "b": x[:, 1]}
        data = tf.data.Dataset.from_tensor_slices((frame, x.sum(1)))
        data = data.map(lambda row, y: (row, tf.cast(y > 0, tf.float32)), tf.data.AUTOTUNE)
        train = data.shuffle(buffer_size=len(data)).batch(16).prefetch(tf.data.AUTOTUNE)
        inputs = {name: tf.keras.Input((1,), name=name) for name in frame}
        hidden = layers.Dense(8, "tanh")(layers.concatenate(list(inputs.values())))
        model = tf.keras.Model(inputs, layers.Dense(1, "sigmoid")(hidden))
        model.compile(tf.keras.optimizers.Adam(0.05), "binary_crossentropy", metrics=["accuracy"])
        history = model.fit(train, epochs=15, validation_data=data.batch(16), verbose=0)
        print(history.history["val_accuracy"][-1] > 0.9)
        for row, y in train.take(1):
            print(row["a"].numpy().shape, y.dtype)
        """,
        "-m",
        "cdl",
    )
    assert done.stdout == "True\n(16,) float32\n", done.stderr


def test_every_function_of_tensorflow_is_there():
    from cdl import _tensorflow, ops

    for names in _tensorflow._FUNCTIONS.values():
        for name in names:
            assert callable(getattr(ops, _tensorflow._OTHER_NAMES.get(name, name))), name


def test_wrappers_of_keras_2_work_in_scikit_learn(script):
    pytest.importorskip("sklearn")
    done = script(
        """
        import numpy as np
        from keras.models import Sequential
        from keras.layers import Dense
        from keras.wrappers.scikit_learn import KerasClassifier, KerasRegressor
        from sklearn.datasets import load_diabetes, load_iris
        from sklearn.model_selection import GridSearchCV, cross_val_score
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from keras.utils import set_random_seed

        set_random_seed(1)

        def classifier(units=8):
            model = Sequential([Dense(units, "relu", input_dim=4), Dense(3, "softmax")])
            model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
            return model

        def regressor():
            model = Sequential([Dense(8, "relu", input_dim=10), Dense(1)])
            model.compile("adam", "mse")
            return model

        x, y = load_iris(return_X_y=True)
        names = np.array(["a", "b", "c"])[y]
        made = KerasClassifier(build_fn=classifier, epochs=40, batch_size=8, verbose=0)
        history = made.fit(x, names)
        print(type(history).__name__, set(made.predict(x)) <= {"a", "b", "c"})
        print(made.score(x, names) > 0.6)
        print(made.predict_proba(x).shape)
        search = GridSearchCV(made, {"units": [4, 16], "epochs": [30]}, cv=3).fit(x, y)
        print(search.best_score_ > 0.5, sorted(search.best_params_))
        x, y = load_diabetes(return_X_y=True)
        made = KerasRegressor(build_fn=regressor, epochs=3, verbose=0)
        line = make_pipeline(StandardScaler(), made)
        print(cross_val_score(line, x, y, cv=3).max() < 0)
        try:
            KerasClassifier(build_fn=classifier, epoch=3)
        except ValueError as error:
            print(error)
        """,
        "-m",
        "cdl",
    )
    lines = done.stdout.splitlines()
    assert lines[:5] == [
        "History True",
        "True",
        "(150, 3)",
        "True ['epochs', 'units']",
        "True",
    ], done.stderr
    assert "epoch is not a legal parameter" in lines[5]


LACKING = {
    "from keras.layers import Dens": ("ImportError: cdl has no keras.layers.Dens; near: Dense",),
    "from keras.layers import Conv9D": ("ImportError: cdl has no keras.layers.Conv9D; there: ",),
    "import keras.activation": ("ImportError: cdl has no keras.activation; near: activations",),
    "import keras.nothing_like_it": ("ImportError: cdl has no keras.nothing_like_it",),
    "from keras import layrs": ("ImportError: cdl has no keras.layrs; near: layers",),
    "from tensorflow import keras\nkeras.layers.Dens": (
        "AttributeError: cdl has no tensorflow.keras.layers.Dens; near: Dense",
    ),
    "import keras\nkeras.optimizers.Adamm()": (
        "AttributeError: cdl has no keras.optimizers.Adamm; near: Adam",
    ),
    "import keras\nkeras.layers.dense": ("AttributeError: cdl has no keras.layers.dense",),
    "import keras\nkeras._program": ("AttributeError: module 'keras' has no attribute '_program'",),
    "from keras.ops import nn\nnn.sigmod": (
        "AttributeError: cdl has no keras.ops.nn.sigmod; near: sigmoid",
    ),
    "import tensorflow as tf\ntf.reduce_maen": (
        "AttributeError: cdl has no tensorflow.reduce_maen; near: reduce_mean",
    ),
    "import tensorflow as tf\ntf.data.DataSet": (
        "AttributeError: cdl has no tensorflow.data.DataSet; near: Dataset",
    ),
    "import tensorflow as tf\nwith tf.GradientTape() as tape: pass": (
        "AttributeError: cdl has no tensorflow.GradientTape: model.gradients(x, y) gives",
    ),
    "import tensorflow.lite": ("ImportError: cdl has no tensorflow.lite",),
    "from tensorflow.keras.models import Modle": (
        "ImportError: cdl has no tensorflow.keras.models.Modle; near: Model",
    ),
}


@pytest.mark.parametrize("text", LACKING)
def test_what_cdl_lacks_is_an_error_that_names_it(text, script):
    done = script(text, "-m", "cdl")
    assert done.returncode == 1
    last = done.stderr.rstrip().splitlines()[-1]
    assert last.startswith(LACKING[text][0]), done.stderr
    assert "_imports.py" not in done.stderr
    assert "_scripts.py" not in done.stderr


def test_optional_imports_are_survived(script):
    done = script(
        """
        try:
            from keras.layers import Conv9D
        except ImportError:
            print("without")
        try:
            import tensorflow.lite
        except ImportError:
            print("without")
        import importlib.util
        print(importlib.util.find_spec("keras") is not None)
        """,
        "-m",
        "cdl",
    )
    assert done.stdout == "without\nwithout\nTrue\n", done.stderr


def test_other_processes_keep_their_keras(script):
    """What a script starts, and whoever imports cdl, sees the Keras that is installed, if any."""
    done = script(
        """
        import subprocess, sys
        code = "import cdl, sys; print('cdl._imports' in sys.modules)"
        print(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout)
        """,
        "-m",
        "cdl",
    )
    assert done.stdout.strip() == "False", done.stderr


def test_commands_are_still_commands(run_python):
    assert "threads" in run_python("-m", "cdl", "info").stdout
    done = run_python("-m", "cdl", "infoo", check=False)
    assert done.returncode == 2
    assert "invalid choice" in done.stderr
    assert "train.py" in run_python("-m", "cdl", "--help").stdout
