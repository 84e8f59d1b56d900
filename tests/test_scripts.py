"""Scripts written for Keras run unmodified by `python -m cdl`."""

import signal
import subprocess
import sys
import textwrap

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
        import atexit, signal
        atexit.register(print, "put away", flush=True)
        print("begun", flush=True)
        signal.raise_signal(signal.SIGINT)
        print("not stopped")
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
        out, err = process.communicate(timeout=500)
        found.append((process.returncode, out, err))
    assert found[0] == found[1]
    assert found[0][:2] == (-signal.SIGINT, "begun\nput away\n")


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
        print(hasattr(keras.layers, "Dance"), "Dense" in dir(keras.layers), keras.__name__)
        print(isinstance(keras.Sequential(), cdl.Sequential))
        """,
        "-m",
        "cdl",
    )
    assert done.stdout == ("True True\n3.15.1 2.21.0 CosineDecay\nFalse True keras\nTrue\n"), (
        done.stderr
    )


@pytest.mark.parametrize(
    "imported", ["keras", "keras.layers", "keras.utils", "keras.src.saving.saving_lib"]
)
def test_scripts_of_keras_alone_load_nothing_of_tensorflow(imported, script):
    done = script(
        f"""
        import sys
        import {imported}
        print([name for name in sys.modules if name.startswith("tensorflow")])
        print("cdl.scripts.tensorflow" in sys.modules)
        import tensorflow
        print("cdl.scripts.tensorflow" in sys.modules)
        """,
        "-m",
        "cdl",
    )
    assert done.stdout.splitlines() == ["[]", "False", "True"], done.stderr


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
    "from keras.layers import Dance": ("ImportError: cdl has no keras.layers.Dance; there: ",),
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
    "import tensorflow as tf\ntf.distribute.cluster_resolver.TPUClusterResolver()": (
        "AttributeError: cdl has no tensorflow.distribute.cluster_resolver: one process",
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
    assert "scripts/imports.py" not in done.stderr
    assert "scripts/run.py" not in done.stderr


def test_optional_imports_are_survived(script):
    done = script(
        """
        try:
            from keras.layers import Dance
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
    """Processes that a script starts, and programs that import cdl, see the installed Keras."""
    done = script(
        """
        import subprocess, sys
        code = "import cdl, sys; print('cdl.scripts.imports' in sys.modules)"
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
