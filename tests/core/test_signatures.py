"""csrc/ops/ops.def says what each op reads, takes and gives; all that is said again agrees."""

import re
from pathlib import Path

import pytest

from cdl._core import OPS

FOLDER = Path(__file__).parents[2] / "csrc" / "ops"
# A name, [a name], or a name... for several; each part a list of them.
NAMES = r"(?:\[?\w+\]?(?:\.\.\.)?(?:, \[?\w+\]?(?:\.\.\.)?)*)?"
SIGNATURE = re.compile(rf"{NAMES}(?:; ?{NAMES}){{0,2}} ->(?: {NAMES})?")
ENUM = re.compile(r"^enum \{([^}]*)\};\s*/\* (attributes|params)(?: of (\w+))?\b", re.MULTILINE)


def source_of(op: str) -> str:
    """The one file that defines an op: its own, or that of its family."""
    texts = [path.read_text() for path in FOLDER.glob("*.c")]
    (found,) = [text for text in texts if f"const struct cdl_op cdl_op_{op} = {{" in text]
    return found


@pytest.mark.parametrize("op", OPS)
def test_an_op_has_a_signature_a_meaning_and_a_file(op):
    assert SIGNATURE.fullmatch(OPS[op].signature)
    assert OPS[op].meaning
    assert source_of(op)


@pytest.mark.parametrize("op", OPS)
def test_enums_of_an_op_are_in_the_order_of_its_signature(op):
    text = source_of(op)
    names = {"attributes": OPS[op].attributes, "params": OPS[op].params}
    for members, what, of in ENUM.findall(text):
        if of not in ("", op):
            continue
        found = [m.strip().lower() for m in members.split(",") if not m.strip().startswith("N_")]
        assert tuple(found) == names[what]
        del names[what]
    used = [what for what in names if names[what] and f"{what.removesuffix('s')}[" in text]
    assert used == []


def test_a_signature_tells_weights_from_attributes_and_from_what_has_any_length():
    assert OPS["dense"].params == ("kernel", "bias")
    assert OPS["dense"].attributes == OPS["conv"].attributes == ("activation",)
    assert OPS["softmax"].params == OPS["softmax"].attributes == ()
