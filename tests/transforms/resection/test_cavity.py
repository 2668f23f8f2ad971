"""What was drawn for a resection survives a way through a file."""

import json

from hypothesis import given
from hypothesis import strategies as st

from volseg.transforms.resection.cavity import (
    MODES,
    STAGES,
    Cavity,
    Content,
    Flap,
    HalfSpace,
    Shift,
    Solid,
)

number = st.floats(-300, 300, width=32)
point = st.tuples(number, number, number)
planes = st.lists(st.builds(HalfSpace, point, point), max_size=2).map(tuple)
solids = st.lists(
    st.builds(Solid, point, point, point, number, seed=st.integers(0, 2**62), planes=planes),
    max_size=3,
).map(tuple)
cavities = st.builds(
    Cavity,
    mode=st.sampled_from(MODES),
    stage=st.sampled_from(STAGES),
    side=st.integers(0, 2),
    solids=solids,
    content=st.builds(Content, clot=number, blur=number),
    shift=st.builds(Shift, number, number, point),
    flap=st.none() | st.builds(Flap, point, number),
    seed=st.integers(0, 2**62),
    is_ok=st.booleans(),
)


@given(cavity=cavities)
def test_a_cavity_comes_back_equal_from_json(cavity):
    assert Cavity.from_json(json.loads(json.dumps(cavity.to_json()))) == cavity


def test_values_that_a_record_lacks_take_their_defaults():
    cavity = Cavity.from_json(
        {
            "mode": "lobectomy",
            "solids": [
                {"centre": [1, 2, 3], "radii": [4, 5, 6], "angles": [0, 0, 0], "volume_ml": 7}
            ],
        }
    )
    assert cavity.solids[0].centre == (1, 2, 3)
    assert cavity.solids[0].roughness == 0.5
    assert cavity.flap is None
    assert cavity.is_ok


def test_a_fresh_cavity_is_a_negative():
    assert Cavity().solids == ()
    assert Cavity().mode == "none"
