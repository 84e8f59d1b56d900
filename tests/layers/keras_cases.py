"""The input_spec of Keras's layers, recorded in keras_specs.json.

`python tests/layers/keras_cases.py [names]` in an environment with Keras 3 records them.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[0:0] = [] if __package__ else [str(HERE.parent), str(HERE.parent / "helpers")]

from recorded import record

_PLANE = (3, 4)  # shapes of samples
_LINE = (4,)


def _functional(K):
    x = K.Input(_LINE, name="x")
    return K.Model(x, K.layers.Dense(3)(x))


MAKERS = {
    "Dense": (lambda K: K.layers.Dense(3), _LINE),
    "Dense of planes": (lambda K: K.layers.Dense(3), _PLANE),
    "Dense without bias": (lambda K: K.layers.Dense(3, use_bias=False), _LINE),
    "EinsumDense": (lambda K: K.layers.EinsumDense("abc,cd->abd", (None, 5)), _PLANE),
    "Embedding": (lambda K: K.layers.Embedding(9, 3), _LINE),
    "BatchNormalization": (lambda K: K.layers.BatchNormalization(), _PLANE),
    "BatchNormalization along 1": (lambda K: K.layers.BatchNormalization(1), _PLANE),
    "LayerNormalization": (lambda K: K.layers.LayerNormalization(), _PLANE),
    "GroupNormalization": (lambda K: K.layers.GroupNormalization(2), _PLANE),
    "RMSNormalization": (lambda K: K.layers.RMSNormalization(), _PLANE),
    "UnitNormalization": (lambda K: K.layers.UnitNormalization(), _PLANE),
    "Normalization": (lambda K: K.layers.Normalization(), _LINE),
    "Rescaling": (lambda K: K.layers.Rescaling(2.0), _LINE),
    "PReLU": (lambda K: K.layers.PReLU(), _PLANE),
    "PReLU shared": (lambda K: K.layers.PReLU(shared_axes=[1]), _PLANE),
    "LeakyReLU": (lambda K: K.layers.LeakyReLU(), _PLANE),
    "ReLU": (lambda K: K.layers.ReLU(), _PLANE),
    "ELU": (lambda K: K.layers.ELU(), _PLANE),
    "Softmax": (lambda K: K.layers.Softmax(), _PLANE),
    "Activation": (lambda K: K.layers.Activation("relu"), _PLANE),
    "Flatten": (lambda K: K.layers.Flatten(), _PLANE),
    "Reshape": (lambda K: K.layers.Reshape((4, 3)), _PLANE),
    "Permute": (lambda K: K.layers.Permute((2, 1)), _PLANE),
    "RepeatVector": (lambda K: K.layers.RepeatVector(3), _LINE),
    "Identity": (lambda K: K.layers.Identity(), _PLANE),
    "Masking": (lambda K: K.layers.Masking(), _PLANE),
    "Lambda": (lambda K: K.layers.Lambda(lambda x: 2 * x), _PLANE),
    "Dropout": (lambda K: K.layers.Dropout(0.5), _PLANE),
    "SpatialDropout1D": (lambda K: K.layers.SpatialDropout1D(0.5), _PLANE),
    "SpatialDropout2D": (lambda K: K.layers.SpatialDropout2D(0.5), (2, *_PLANE)),
    "SpatialDropout3D": (lambda K: K.layers.SpatialDropout3D(0.5), (2, 2, *_PLANE)),
    "AlphaDropout": (lambda K: K.layers.AlphaDropout(0.5), _PLANE),
    "GaussianNoise": (lambda K: K.layers.GaussianNoise(0.5), _PLANE),
    "ActivityRegularization": (lambda K: K.layers.ActivityRegularization(0.5), _PLANE),
    "GlobalAveragePooling1D": (lambda K: K.layers.GlobalAveragePooling1D(), _PLANE),
    "GlobalMaxPooling2D": (lambda K: K.layers.GlobalMaxPooling2D(), (2, *_PLANE)),
    "Conv1D": (lambda K: K.layers.Conv1D(3, 2), _PLANE),
    "Conv2D": (lambda K: K.layers.Conv2D(3, 2), (5, *_PLANE)),
    "Conv2D channels first": (
        lambda K: K.layers.Conv2D(3, 2, data_format="channels_first"),
        (5, *_PLANE),
    ),
    "Conv2DTranspose": (lambda K: K.layers.Conv2DTranspose(3, 2), (5, *_PLANE)),
    "DepthwiseConv1D": (lambda K: K.layers.DepthwiseConv1D(2), _PLANE),
    "SeparableConv2D": (lambda K: K.layers.SeparableConv2D(3, 2), (5, *_PLANE)),
    "MaxPooling2D": (lambda K: K.layers.MaxPooling2D(2), (5, *_PLANE)),
    "ZeroPadding2D": (lambda K: K.layers.ZeroPadding2D(2), (5, *_PLANE)),
    "Cropping1D": (lambda K: K.layers.Cropping1D(1), _PLANE),
    "UpSampling2D": (lambda K: K.layers.UpSampling2D(2), (5, *_PLANE)),
    "Sequential": (lambda K: K.Sequential([K.layers.Dense(3)]), _LINE),
    "Functional": (_functional, _LINE),
}


def _two(K):
    x, y = K.Input(_LINE, name="x"), K.Input((2, 5), name="y")
    return K.Model({"y": y, "x": x}, K.layers.Dense(3)(x))


def _shown(spec):
    """The config of an input spec as JSON, with axes as pairs."""
    if isinstance(spec, list):
        return [_shown(each) for each in spec]
    if spec is None:
        return None
    config = spec.get_config() | {"name": spec.name, "squeeze": spec.allow_last_axis_squeeze}
    said = {name: value for name, value in config.items() if value}
    if "axes" in said:
        said["axes"] = [list(pair) for pair in said["axes"].items()]
    return said


def _case(name):
    make, shape = MAKERS[name]

    def case(K):
        layer = make(K)
        before = _shown(layer.input_spec)
        layer(K.Input(shape))
        return [before, _shown(layer.input_spec)]

    case.__name__ = name
    return case


def functional_of_several_inputs(K):
    return _shown(_two(K).input_spec)


CASES = [*map(_case, MAKERS), functional_of_several_inputs]

if __name__ == "__main__":
    record(CASES, HERE / "keras_specs.json", sys.argv[1:])
