"""Layers that lay out the places of images anew, and pooling to a size."""

from registry import add, error_of, label

from cases.convolution import BLOCK, FIRST, PLANE, STEPS, in_training
from cases.layers import on_arrays

TABLE = {
    "ZeroPadding1D": (
        STEPS,
        [{}, {"padding": 2}, {"padding": (0, 3)}, {"padding": [1, 2], **FIRST}],
    ),
    "ZeroPadding2D": (
        PLANE,
        [
            {}, {"padding": 2}, {"padding": (0, 3)}, {"padding": ((1, 2), (0, 3))},
            {"padding": ((1, 0), (2, 1)), **FIRST},
        ],
    ),
    "ZeroPadding3D": (
        BLOCK,
        [
            {}, {"padding": 2}, {"padding": (1, 0, 2), **FIRST},
            {"padding": ((1, 2), (0, 3), (0, 0))},
        ],
    ),
    "Cropping1D": (STEPS, [{}, {"cropping": 2}, {"cropping": (0, 3)}, {"cropping": (3, 0)}]),
    "Cropping2D": (
        PLANE,
        [
            {}, {"cropping": 2}, {"cropping": (0, 2)}, {"cropping": ((1, 2), (0, 3))},
            {"cropping": ((1, 0), (2, 1)), **FIRST},
        ],
    ),
    "Cropping3D": (
        BLOCK,
        [
            {}, {"cropping": 1}, {"cropping": (1, 0, 2)}, {"cropping": ((1, 2), (0, 3), (0, 0))},
            {"cropping": ((0, 1), (1, 2), (0, 1)), **FIRST},
        ],
    ),
    "UpSampling1D": (STEPS, [{}, {"size": 3}]),
    "UpSampling2D": (
        PLANE,
        [
            {}, {"size": 3}, {"size": (1, 2)}, {"size": (2, 3), **FIRST},
            {"interpolation": "bilinear"}, {"size": (3, 1), "interpolation": "bilinear", **FIRST},
            {"size": (1, 2), "interpolation": "bicubic"}, {"interpolation": "lanczos3"},
            {"size": (2, 3), "interpolation": "lanczos5"}, {"interpolation": "NEAREST"},
        ],
    ),
    "UpSampling3D": (BLOCK, [{}, {"size": (1, 2, 3)}, {"size": 2, **FIRST}]),
    **{
        f"Adaptive{kind}Pooling{x.ndim - 2}D": (x, rows)
        for kind in ("Average", "Max")
        for x, rows in (
            (STEPS, [{"output_size": 3}, {"output_size": (4,)}, {"output_size": 3, **FIRST}]),
            (PLANE, [{"output_size": 3}, {"output_size": (2, 9)}, {"output_size": 2, **FIRST}]),
            (BLOCK, [{"output_size": 2}, {"output_size": (2, 3, 4)}, {"output_size": 2, **FIRST}]),
        )
    },
}  # fmt: skip

for _name, (_x, _rows) in TABLE.items():
    for _options in _rows:
        add("places", f"{_name} {label(_options)}", on_arrays(_name, _x, _options))
        add("places", f"{_name} {label(_options)} in training", in_training(_name, _x, _options))

WRONG = {
    "ZeroPadding1D": [{"padding": -1}, {"padding": (1, 2, 3)}, {"padding": "same"}],
    "ZeroPadding2D": [{"padding": -1}, {"padding": (1, 2, 3)}, {"padding": ((1, 2), (3, -1))}],
    "ZeroPadding3D": [{"padding": (1, 1)}, {"padding": None}],
    "Cropping1D": [{"cropping": -1}, {"cropping": (5, 4)}, {"cropping": 5}],
    "Cropping2D": [{"cropping": -1}, {"cropping": ((4, 3), (0, 0))}, {"cropping": (1, 2, 3)}],
    "Cropping3D": [{"cropping": 2}, {"cropping": (1, 1)}],
    "UpSampling1D": [{"size": 0}, {"size": 2.5}, {"size": (2,)}, {"size": -1}],
    "UpSampling2D": [{"size": 0}, {"size": (2, 2, 2)}],
    "UpSampling3D": [{"size": (2, 2)}, {"size": 0}],
    "AdaptiveMaxPooling1D": [{"output_size": (2, 2)}, {"output_size": "a"}, {"output_size": None}],
    "AdaptiveMaxPooling2D": [{"output_size": (2, 2, 2)}, {"output_size": "a"}],
    "AdaptiveAveragePooling3D": [{"output_size": (2,)}, {"output_size": 1.5}],
}


def wrong(name, options):
    def run(k):
        shape = TABLE[name][0].shape[1:]
        return {
            "raises error": error_of(lambda: getattr(k.layers, name)(**options)(k.Input(shape)))
        }

    return run


for _name, _cases in WRONG.items():
    for _options in _cases:
        add("places", f"wrong {_name} {label(_options)}", wrong(_name, _options))


def other_ranks(k):
    return {
        name: error_of(lambda name=name: getattr(k.layers, name)(k.Input((9,))))
        for name in ("ZeroPadding2D", "Cropping2D", "UpSampling1D")
    }


add("places", "inputs of other ranks", other_ranks)
