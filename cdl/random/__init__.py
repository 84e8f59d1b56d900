"""Random arrays, seed generators, and the seed of the whole process.

Python's `random` gives the seeds of initializers and Dropout layers that were given none; NumPy's
global generator shuffles; the core draws by (seed, step, index) and keeps no state of its own.
"""

from cdl._common.public_names import publish
from cdl.random.draws import (
    SeedGenerator,
    beta,
    binomial,
    categorical,
    dropout,
    gamma,
    normal,
    randint,
    shuffle,
    truncated_normal,
    uniform,
)
from cdl.random.sources import Kept as Kept
from cdl.random.sources import checked_seed as checked_seed
from cdl.random.sources import core_seed as core_seed
from cdl.random.sources import draw_from as draw_from
from cdl.random.sources import draw_seed as draw_seed
from cdl.random.sources import generator_within as generator_within
from cdl.random.sources import generators_within as generators_within
from cdl.random.sources import have_generators as have_generators
from cdl.random.sources import numpys as numpys
from cdl.random.sources import permutation as permutation
from cdl.random.sources import permutations as permutations
from cdl.random.sources import pythons as pythons
from cdl.random.sources import seeded as seeded
from cdl.random.sources import set_random_seed as set_random_seed
from cdl.random.sources import set_state as set_state
from cdl.random.sources import state as state

__all__ = [
    "SeedGenerator",
    "beta",
    "binomial",
    "categorical",
    "dropout",
    "gamma",
    "normal",
    "randint",
    "shuffle",
    "truncated_normal",
    "uniform",
]

publish(globals())
