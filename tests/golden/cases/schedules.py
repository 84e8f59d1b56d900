"""Learning rate schedules over steps, their configs and errors."""

from registry import add, config_of, error_of, label

STEPS = [0, 1, 2, 3, 5, 7, 9, 10, 11, 14, 19, 20, 21, 29, 30, 40, 100]
TABLE = {
    "ExponentialDecay": [
        {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5},
        {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5, "staircase": True},
    ],
    "InverseTimeDecay": [
        {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5},
        {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5, "staircase": True},
    ],
    "PolynomialDecay": [
        {"initial_learning_rate": 0.1, "decay_steps": 10},
        {"initial_learning_rate": 0.1, "decay_steps": 10, "end_learning_rate": 0.01, "power": 2.0},
        {"initial_learning_rate": 0.1, "decay_steps": 10, "power": 0.5, "cycle": True},
    ],
    "PiecewiseConstantDecay": [{"boundaries": [5, 10, 20], "values": [0.1, 0.05, 0.01, 0.001]}],
    "CosineDecay": [
        {"initial_learning_rate": 0.1, "decay_steps": 20},
        {"initial_learning_rate": 0.1, "decay_steps": 20, "alpha": 0.1},
        {
            "initial_learning_rate": 0.01,
            "decay_steps": 20,
            "warmup_target": 0.1,
            "warmup_steps": 5,
        },
    ],
    "CosineDecayRestarts": [
        {"initial_learning_rate": 0.1, "first_decay_steps": 5},
        {
            "initial_learning_rate": 0.1,
            "first_decay_steps": 5,
            "t_mul": 1.5,
            "m_mul": 0.8,
            "alpha": 0.01,
        },
    ],
}


def values(name, options):
    def run(k):
        schedule = getattr(k.optimizers.schedules, name)(**options)
        return {
            "rates": [float(schedule(step)) for step in STEPS],
            "config": config_of(schedule),
            "again": float(type(schedule).from_config(schedule.get_config())(7)),
        }

    return run


def errors(k):
    s = k.optimizers.schedules
    return {
        "steps 0": error_of(lambda: s.ExponentialDecay(0.1, 0, 0.5)),
        "values": error_of(lambda: s.PiecewiseConstantDecay([1, 2], [0.1])),
        "cosine": error_of(lambda: s.CosineDecay(0.1, 0)),
        "polynomial": error_of(lambda: s.PolynomialDecay(0.1, 0)),
    }


for _name, _rows in TABLE.items():
    for _options in _rows:
        add("schedules", f"{_name} {label(_options)}", values(_name, _options))
add("schedules", "errors", errors)
