"""Lowerings: programs under construction, with a mode and a recorder."""

import pytest

from cdl._ir.lowering import Lowering, Recorder
from cdl._ir.program import Program


def test_fusion_gives_data_without_mode_and_recorder():
    lowering = Lowering(True, Recorder(calls=[]))
    x = lowering.input((3,))
    lowering.output(lowering.emit("dropout", [x], x.shape, rate=0.5, seed=1))
    for program in (lowering.fused(), lowering.fused(False)):
        assert type(program) is Program
        assert vars(program).keys() == vars(Program()).keys()


@pytest.mark.parametrize(
    ("trains", "asked", "training", "noisy"),
    [
        (True, None, True, True),
        (True, True, True, True),
        (True, False, False, False),
        (False, None, False, False),
        (False, True, False, True),  # dropout acts, and statistics stay those of inference
        (False, False, False, False),
    ],
)
def test_layers_behave_as_the_nearest_call_asks(trains, asked, training, noisy):
    lowering = Lowering(trains)
    if asked is not None:
        with lowering.fixed(not asked), lowering.fixed(asked):
            assert (lowering.training, lowering.is_noisy) == (training, noisy)
    assert (lowering.training, lowering.is_noisy) == (trains, trains)


def test_a_part_is_lowered_in_the_mode_around_it_and_records_merged_weights_alone():
    lowering = Lowering(True, Recorder(merged=[], calls=[], observed={}), unrolls=True)
    with lowering.fixed():
        part = lowering.within()
    assert part.mode == lowering.mode._replace(asked=False)
    assert part.recorder == Recorder(merged=[])
    assert part.recorder.merged is lowering.recorder.merged
