"""What labels stand for, read by number and by tissue."""

import pytest

from volseg.transforms.anatomy.maps import Tissue
from volseg.transforms.anatomy.schemes import SCHEMES
from volseg.transforms.label_kinds import (
    BRAIN,
    LEFT_OF_RIGHT,
    NUMBERS,
    Kind,
    kind_of_label,
    read_labels,
)

SOLID = {
    Tissue.CORTEX,
    Tissue.WHITE,
    Tissue.DEEP,
    Tissue.LIMBIC,
    Tissue.CALLOSUM,
    Tissue.BRAINSTEM,
    Tissue.CEREBELLUM_CORTEX,
    Tissue.CEREBELLUM_WHITE,
}


def test_left_and_right_of_a_pair_are_one_kind():
    for right, left in LEFT_OF_RIGHT.items():
        assert kind_of_label(left) is kind_of_label(right) is not Kind.OTHER


def test_every_right_label_has_a_left_one_of_its_own():
    assert len(set(LEFT_OF_RIGHT.values())) == len(LEFT_OF_RIGHT)
    assert not set(LEFT_OF_RIGHT) & set(LEFT_OF_RIGHT.values())
    # Thalamus, pallidum, hippocampus, amygdala, accumbens.
    pairs = {49: 10, 52: 13, 53: 17, 54: 18, 58: 26}
    assert {right: LEFT_OF_RIGHT[right] for right in pairs} == pairs


def test_no_number_stands_for_two_kinds():
    numbers = [number for each in NUMBERS.values() for number in each]
    assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize("kind", [Kind.WHITE, Kind.GREY, Kind.FOLIA, Kind.DEEP, Kind.STEM])
def test_the_kinds_of_the_brain_agree_with_the_anatomy_of_the_same_numbers(kind):
    table = SCHEMES["synthseg"]
    assert all(table[number].tissue in SOLID for number in NUMBERS[kind])


def test_the_anatomy_outside_the_brain_agrees_too():
    table = SCHEMES["synthseg"]
    for number in range(502, 531):
        if number in table:
            assert kind_of_label(number) not in BRAIN | {Kind.OTHER, Kind.VENTRICLE}


def test_parcels_of_the_cortex_look_like_the_cortex():
    looks = read_labels([3, 1015, 2030, 11150, 12174, 41, 3003, 14003])
    assert {looks[n] for n in (3, 1015, 2030, 11150, 12174)} == {looks[3]}
    assert {looks[n] for n in (41, 3003, 14003)} == {looks[41]}


def test_a_number_of_gif_is_not_read_as_one_of_freesurfer():
    labels = [0, 41, 42, 45, 46, 101, 102, 52]
    looks = read_labels(labels, "auto")
    assert looks[41].kind is looks[46].kind is Kind.WHITE
    assert looks[101] == looks[102]
    assert looks[52].kind is Kind.VENTRICLE
    assert read_labels([42])[42].kind is Kind.GREY


def test_own_tissues_can_be_given():
    looks = read_labels([1, 2, 7], {1: Tissue.CORTEX, 2: Tissue.HEAD})
    assert [looks[n].kind for n in (1, 2, 7)] == [Kind.GREY, Kind.SOFT, Kind.OTHER]
