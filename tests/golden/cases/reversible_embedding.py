"""ReversibleEmbedding with all its arguments: both ways, configs, training, files."""

import os
import tempfile

from nets import classes, numbers, state_weights, trained
from registry import add, case, config_of, error_of, label

TOKENS, ROWS = classes(30, 7).reshape(6, 5), numbers(2, 3, 4)
OPTIONS = [
    {},
    {"tie_weights": False},
    {"mask_zero": True, "embeddings_regularizer": "l2"},
    {"logit_soft_cap": 2.0, "tie_weights": False, "embeddings_regularizer": "l1"},
    {"embeddings_constraint": "unit_norm", "reverse_dtype": "float32"},
    {"lora_rank": 2},
]


def _net(k, options):
    layer = k.layers.ReversibleEmbedding(7, 4, **options)
    x = k.Input((5,), dtype="int32")
    hidden = layer(x)
    mean = k.layers.GlobalAveragePooling1D()(hidden)
    scores = layer(k.layers.LayerNormalization()(hidden), reverse=True)
    return layer, state_weights(k.Model(x, [scores, mean]))


def _run(options):
    def run(k):
        layer, net = _net(k, options)
        net.compile(k.optimizers.Adam(0.01), "mse")
        seen = {
            "own config": config_of(layer),
            "names": [weight.name for weight in net.weights],
            "shapes": [str(tuple(each.shape)) for each in net.outputs],
            "computed": [
                str(tuple(layer.compute_output_shape((2, 3)))),
                str(tuple(layer.compute_output_shape((2, 3, 4), reverse=True))),
            ],
            "y": net.predict(TOKENS, verbose=0),
            "forth": layer(TOKENS),
            "back": layer(ROWS, reverse=True),
            **trained(k, net, TOKENS, [numbers(6, 5, 7, seed=1), numbers(6, 4, seed=2)]),
        }
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "net.keras")
            net.save(path)
            seen["read"] = k.models.load_model(path).predict(TOKENS, verbose=0)
        return seen

    return run


for _options in OPTIONS:
    add("reversible_embedding", label(_options), _run(_options))


@case("reversible_embedding")
def sequence(k):
    """Embedding and projection back to tokens in a subclassed model."""

    class Net(k.Model):
        def __init__(self):
            super().__init__()
            self.table = k.layers.ReversibleEmbedding(7, 4)

        def call(self, x):
            return self.table(self.table(x), reverse=True)

    net = Net()
    net(TOKENS)
    state_weights(net)
    net.compile(k.optimizers.SGD(0.1), "mse")
    return {"y": net.predict(TOKENS, verbose=0), **trained(k, net, TOKENS, numbers(6, 5, 7))}


@case("reversible_embedding")
def errors(k):
    make = k.layers.ReversibleEmbedding
    return {
        "input_dim": error_of(lambda: make(0, 4)),
        "output_dim": error_of(lambda: make(7, -1)),
    }
