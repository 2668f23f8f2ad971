"""Numbers of well-known label maps mean what their makers say."""

import pytest

from volseg.errors import DataError
from volseg.transforms.anatomy.maps import Lobe, Side, Tissue
from volseg.transforms.anatomy.schemes import SCHEMES, find_scheme, guess_scheme


@pytest.mark.parametrize(
    ("scheme", "number", "meaning"),
    [
        ("freesurfer", 41, (Tissue.WHITE, Side.RIGHT, Lobe.NONE)),
        ("freesurfer", 17, (Tissue.LIMBIC, Side.LEFT, Lobe.NONE)),
        ("freesurfer", 1028, (Tissue.CORTEX, Side.LEFT, Lobe.FRONTAL)),
        ("freesurfer", 2030, (Tissue.CORTEX, Side.RIGHT, Lobe.TEMPORAL)),
        ("freesurfer", 12175, (Tissue.CORTEX, Side.RIGHT, Lobe.NONE)),
        ("freesurfer", 3022, (Tissue.WHITE, Side.LEFT, Lobe.PARIETAL)),
        ("freesurfer", 5002, (Tissue.WHITE, Side.RIGHT, Lobe.NONE)),
        ("synthseg", 515, (Tissue.SKULL, Side.NONE, Lobe.NONE)),
        ("gif", 41, (Tissue.CEREBELLUM_WHITE, Side.RIGHT, Lobe.NONE)),
        ("gif", 46, (Tissue.WHITE, Side.LEFT, Lobe.NONE)),
        ("gif", 134, (Tissue.CORTEX, Side.LEFT, Lobe.TEMPORAL)),
        ("gif", 85, (Tissue.WHITE, Side.RIGHT, Lobe.OCCIPITAL)),
        ("gif", 94, (Tissue.WHITE, Side.LEFT, Lobe.PARIETAL)),
    ],
)
def test_a_number_means_what_its_makers_say(scheme, number, meaning):
    assert SCHEMES[scheme][number] == meaning


@pytest.mark.parametrize("scheme", ["freesurfer", "synthseg", "gif"])
def test_both_sides_have_the_same_structures(scheme):
    meanings = SCHEMES[scheme].values()
    left = sorted((each.tissue, each.lobe) for each in meanings if each.side == Side.LEFT)
    right = sorted((each.tissue, each.lobe) for each in meanings if each.side == Side.RIGHT)
    assert left == right
    assert len(left) > 60


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ([0, 2, 3, 4, 10, 16, 41, 42, 43, 49], "freesurfer"),
        ([0, 2, 41, 17, 53, *range(1001, 1036), *range(2001, 2036)], "freesurfer"),
        ([0, 2, 3, 24, 41, 42, 507, 515], "synthseg"),
        ([0, 1, 35, 36, 39, 40, 45, 46, 101, 102, 133, 134], "gif"),
    ],
)
def test_a_scheme_is_guessed_from_what_only_it_has(values, name):
    assert guess_scheme(values) == name


def test_what_may_be_either_is_refused():
    shared = set(SCHEMES["freesurfer"]) & set(SCHEMES["gif"]) & set(range(98))
    assert {2, 3, 41, 42, 46} <= shared
    with pytest.raises(DataError, match="fit FreeSurfer's and GIF's numbers; name the scheme"):
        guess_scheme([*shared, 45, 101])


def test_what_fits_nothing_is_refused_with_its_labels():
    with pytest.raises(DataError, match="labels 0, 1, 2, 3 fit none of the schemes"):
        guess_scheme([0, 1, 2, 3])


def test_an_unknown_name_is_refused_with_those_that_are_known():
    with pytest.raises(DataError, match="'aal' is not known; use one of freesurfer, synthseg, gif"):
        find_scheme("aal", [0])
