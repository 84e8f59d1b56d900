"""Losses and metrics that users write with `ops`, in nets that train."""

from nets import bits, classes, numbers, one_hot, shares, state_weights
from registry import add

X = numbers(24, 4)
VALUES = numbers(24, 3, seed=1)
BITS = bits(24, 3, seed=2)
ONE_HOT = one_hot(24, 3, seed=3)
CLASSES = classes(24, 3, seed=4)
POSITIVE = shares(24, 3, seed=5) * 4
MASKED = VALUES * (shares(24, 3, seed=6) > 0.3)
MAPS = bits(24, 4, 3, seed=7)


# --- losses: functions of (k, y_true, y_pred) ---


def binary_focal(k, y, p, gamma=2.0, alpha=0.25):
    p = k.ops.clip(p, k.backend.epsilon(), 1 - k.backend.epsilon())
    pt = k.ops.where(k.ops.equal(y, 1), p, 1 - p)
    at = k.ops.where(k.ops.equal(y, 1), alpha, 1 - alpha)
    return -k.ops.mean(at * k.ops.power(1 - pt, gamma) * k.ops.log(pt), axis=-1)


def categorical_focal(k, y, p):
    p = p / k.ops.sum(p, axis=-1, keepdims=True)
    p = k.ops.clip(p, 1e-7, 1.0 - 1e-7)
    return k.ops.sum(0.25 * (1 - p) ** 2 * (-y * k.ops.log(p)), axis=-1)


def sparse_focal(k, y, p):
    y = k.ops.one_hot(k.ops.cast(y, "int32"), 3)
    pt = k.ops.sum(y * p, axis=-1)
    return -((1 - pt) ** 2) * k.ops.log(pt + 1e-7)


def dice(k, y, p, smooth=1.0):
    y, p = k.ops.reshape(y, [-1]), k.ops.reshape(p, [-1])
    both = k.ops.sum(y * p)
    return 1 - (2 * both + smooth) / (k.ops.sum(y) + k.ops.sum(p) + smooth)


def dice_of_samples(k, y, p):
    y, p = k.ops.reshape(y, (k.ops.shape(y)[0], -1)), k.ops.reshape(p, (k.ops.shape(p)[0], -1))
    both = k.ops.sum(k.ops.abs(y * p), axis=-1)
    total = k.ops.sum(k.ops.square(y), -1) + k.ops.sum(k.ops.square(p), -1)
    return 1 - (2.0 * both + 1e-6) / (total + 1e-6)


def tversky(k, y, p, alpha=0.7):
    y, p = k.ops.ravel(y), k.ops.ravel(p)
    tp = k.ops.sum(y * p)
    fn, fp = k.ops.sum(y * (1 - p)), k.ops.sum((1 - y) * p)
    return k.ops.power(1 - (tp + 1) / (tp + alpha * fn + (1 - alpha) * fp + 1), 0.75)


def jaccard(k, y, p):
    both = k.ops.sum(k.ops.abs(y * p), axis=-1)
    either = k.ops.sum(k.ops.abs(y) + k.ops.abs(p), axis=-1) - both
    return (1 - (both + 100) / (either + 100)) * 100


def soft_f1(k, y, p):
    tp = k.ops.sum(y * p, axis=0)
    fp, fn = k.ops.sum((1 - y) * p, axis=0), k.ops.sum(y * (1 - p), axis=0)
    return 1 - k.ops.mean(2 * tp / (2 * tp + fn + fp + 1e-16))


def huber(k, y, p, delta=0.7):
    e = y - p
    small = k.ops.abs(e) <= delta
    return k.ops.where(small, 0.5 * k.ops.square(e), delta * (k.ops.abs(e) - 0.5 * delta))


def quantile(k, y, p, q=0.3):
    e = y - p
    return k.ops.mean(k.ops.maximum(q * e, (q - 1) * e), axis=-1)


def quantiles(k, y, p):
    parts = []
    for i, q in enumerate([0.1, 0.5, 0.9]):
        e = y[:, 0] - p[:, i]
        parts.append(k.ops.maximum(q * e, (q - 1) * e))
    return k.ops.sum(k.ops.stack(parts, axis=-1), axis=-1)


def log_cosh(k, y, p):
    x = p - y
    return k.ops.mean(x + k.ops.softplus(-2.0 * x) - k.ops.log(2.0), axis=-1)


def wing(k, y, p, w=1.0, epsilon=0.5):
    x = k.ops.abs(y - p)
    c = w * (1.0 - k.ops.log(1.0 + w / epsilon))
    values = k.ops.where(w > x, w * k.ops.log(1.0 + x / epsilon), x - c)
    return k.ops.mean(k.ops.sum(values, axis=-1), axis=0)


def masked_mse(k, y, p):
    mask = k.ops.cast(k.ops.not_equal(y, 0), y.dtype)
    return k.ops.sum(k.ops.square(y - p) * mask) / k.ops.maximum(k.ops.sum(mask), 1)


def rmse(k, y, p):
    return k.ops.sqrt(k.ops.mean(k.ops.square(p - y)))


def weighted_mse(k, y, p):
    weights = k.ops.convert_to_tensor([0.2, 1.0, 3.0])
    return k.ops.mean(weights * (y - p) ** 2, axis=-1)


def cosine(k, y, p):
    y, p = k.ops.normalize(y, axis=-1), k.ops.normalize(p, axis=-1)
    return 1 - k.ops.sum(y * p, axis=-1)


def weighted_bce(k, y, p):
    loss = k.ops.binary_crossentropy(y, p)
    return k.ops.mean(loss * (y * 3.0 + (1 - y) * 0.5), axis=-1)


def bce_of_scores(k, y, p):
    zeros = k.ops.zeros_like(p)
    relu = k.ops.where(p >= zeros, p, zeros)
    return relu - p * y + k.ops.log1p(k.ops.exp(-k.ops.abs(p)))


def smoothed_ce(k, y, p):
    n = k.ops.cast(k.ops.shape(p)[-1], "float32")
    y = y * (1 - 0.1) + 0.1 / n
    return k.ops.categorical_crossentropy(y, p, from_logits=True)


def kl(k, y, p):
    p = k.ops.softmax(p)
    return k.ops.sum(y * k.ops.log((y + 1e-7) / (p + 1e-7)), axis=-1)


def gaussian(k, y, p):
    mean, log_var = p[..., :1], k.ops.clip(p[..., 1:2], -3, 3)
    return 0.5 * (log_var + k.ops.square(y[..., :1] - mean) / k.ops.exp(log_var))


def mixture(k, y, p):
    score, mean, width = p[:, 0:1], p[:, 1:2], k.ops.softplus(p[:, 2:3]) + 0.1
    z = (y - mean) / width
    parts = k.ops.log_sigmoid(score) - 0.5 * z * z - k.ops.log(width)
    return -k.ops.logsumexp(parts, axis=-1)


def poisson(k, y, p):
    return k.ops.mean(k.ops.exp(p) - y * p, axis=-1)


def tweedie(k, y, p, power=1.5):
    p = k.ops.softplus(p) + 1e-3
    dev = k.ops.power(p, 2 - power) / (2 - power) - y * k.ops.power(p, 1 - power) / (1 - power)
    return k.ops.mean(2 * dev)


def contrastive(k, y, p, margin=1.0):
    y = k.ops.cast(y[:, 0], "float32")
    d = k.ops.sqrt(k.ops.maximum(k.ops.sum(k.ops.square(p), axis=1), 1e-7))
    return k.ops.mean((1 - y) * d**2 + y * k.ops.square(k.ops.maximum(margin - d, 0)))


def triplet(k, y, p):
    a, b, c = k.ops.split(p, 3, axis=-1)
    near, far = k.ops.norm(a - b, axis=-1), k.ops.norm(a - c, axis=-1)
    return k.ops.relu(near - far + 0.5)


def squared_hinge(k, y, p):
    signs = k.ops.where(y > 0.5, 1.0, -1.0)
    return k.ops.mean(k.ops.square(k.ops.maximum(1 - signs * p, 0.0)), axis=-1)


def correlation(k, y, p):
    y, p = y - k.ops.mean(y, axis=0), p - k.ops.mean(p, axis=0)
    r = k.ops.sum(y * p) / k.ops.sqrt(k.ops.sum(y**2) * k.ops.sum(p**2) + 1e-7)
    return 1 - r


def r_squared(k, y, p):
    left = k.ops.sum(k.ops.square(y - p))
    total = k.ops.sum(k.ops.square(y - k.ops.mean(y)))
    return left / (total + k.backend.epsilon())


def concordance(k, y, p):
    my, mp = k.ops.mean(y), k.ops.mean(p)
    vy, vp = k.ops.var(y), k.ops.var(p)
    both = k.ops.mean((y - my) * (p - mp))
    return 1 - 2 * both / (vy + vp + (my - mp) ** 2)


def decorrelation(k, y, p):
    z = (p - k.ops.mean(p, axis=0)) / (k.ops.std(p, axis=0) + 1e-3)
    c = k.ops.einsum("bi,bj->ij", z, z) / k.ops.cast(k.ops.shape(p)[0], "float32")
    off = c * (1 - k.ops.eye(3))
    return k.ops.mean(k.ops.square(y - p)) + 0.1 * k.ops.sum(off**2)


def variance_penalty(k, y, p):
    spread = k.ops.sqrt(k.ops.var(p, axis=0) + 1e-4)
    return k.ops.mean(k.ops.square(y - p)) + k.ops.mean(k.ops.relu(1 - spread))


def smooth(k, y, p):
    jumps = k.ops.diff(p, axis=-1)
    return k.ops.mean((y - p) ** 2, -1) + 0.1 * k.ops.mean(k.ops.abs(jumps), -1)


def ranked(k, y, p):
    gap = k.ops.expand_dims(p, 2) - k.ops.expand_dims(p, 1)
    want = k.ops.sign(k.ops.expand_dims(y, 2) - k.ops.expand_dims(y, 1))
    return k.ops.mean(k.ops.softplus(-want * gap), axis=(1, 2))


def cumulative(k, y, p):
    return k.ops.mean(k.ops.square(k.ops.cumsum(y, -1) - k.ops.cumsum(k.ops.softmax(p), -1)), -1)


def symmetric_mape(k, y, p):
    top = 2 * k.ops.abs(p - y)
    return 100 * k.ops.mean(top / (k.ops.abs(y) + k.ops.abs(p) + 0.1))


def built_in_and_own(k, y, p):
    return 0.5 * k.losses.mean_squared_error(y, p) + 0.5 * k.losses.MeanAbsoluteError()(y, p)


TABLE = {
    binary_focal: (BITS, "sigmoid"),
    categorical_focal: (ONE_HOT, "softmax"),
    sparse_focal: (CLASSES, "softmax"),
    dice: (BITS, "sigmoid"),
    dice_of_samples: (BITS, "sigmoid"),
    tversky: (BITS, "sigmoid"),
    jaccard: (BITS, "sigmoid"),
    soft_f1: (BITS, "sigmoid"),
    huber: (VALUES, None),
    quantile: (VALUES, None),
    quantiles: (VALUES, None),
    log_cosh: (VALUES, None),
    wing: (VALUES, None),
    masked_mse: (MASKED, None),
    rmse: (VALUES, None),
    weighted_mse: (VALUES, None),
    cosine: (VALUES, None),
    weighted_bce: (BITS, "sigmoid"),
    bce_of_scores: (BITS, None),
    smoothed_ce: (ONE_HOT, None),
    kl: (ONE_HOT, None),
    gaussian: (VALUES, None),
    mixture: (VALUES[:, :1], None),
    poisson: (POSITIVE, None),
    tweedie: (POSITIVE, None),
    contrastive: (BITS, None),
    triplet: (VALUES, None),
    squared_hinge: (BITS, None),
    correlation: (VALUES, None),
    r_squared: (VALUES, None),
    concordance: (VALUES, None),
    decorrelation: (VALUES, None),
    variance_penalty: (VALUES, None),
    smooth: (VALUES, None),
    ranked: (VALUES, None),
    cumulative: (ONE_HOT, None),
    symmetric_mape: (VALUES, None),
    built_in_and_own: (VALUES, None),
}
AS_METRICS = ("rmse", "dice", "soft_f1", "correlation", "jaccard", "sparse_focal", "r_squared")


def fitted(k, y, last, **compiled):
    net = k.Sequential(
        [
            k.layers.Input((4,)),
            k.layers.Dense(5, activation="tanh"),
            k.layers.Dense(3, activation=last),
        ]
    )
    state_weights(net)
    net.compile(k.optimizers.SGD(0.05), **compiled)
    history = net.fit(X, y, batch_size=8, epochs=2, shuffle=False, verbose=0).history
    return {
        "history": history,
        "evaluate": net.evaluate(X, y, batch_size=8, verbose=0),
        "weights": net.get_weights(),
    }


def named(k, function):
    def loss(y_true, y_pred):
        return function(k, y_true, y_pred)

    loss.__name__ = function.__name__
    return loss


for _function, (_y, _last) in TABLE.items():
    add(
        "custom",
        f"loss {_function.__name__}",
        lambda k, f=_function, y=_y, last=_last: fitted(k, y, last, loss=named(k, f)),
    )
    if _function.__name__ in AS_METRICS:
        add(
            "custom",
            f"metric {_function.__name__}",
            lambda k, f=_function, y=_y, last=_last: fitted(
                k,
                y,
                last,
                loss="sparse_categorical_crossentropy" if y is CLASSES else "mse",
                metrics=[named(k, f)],
            ),
        )
