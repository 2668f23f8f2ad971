"""The level is moved until the largest component has the wanted voxels."""

import math

import torch

from volseg.transforms.resection.level import Candidates, find_component, tight_box


def row(values):
    """Candidates in a row; infinite ones cannot be taken out."""
    values = torch.tensor(values)
    taken = values.isfinite().nonzero().flatten()
    return Candidates((1, 1, len(values)), taken, values[taken])


def test_specks_do_not_count():
    ready = row([0.1, 0.2, math.inf, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    start, mask = find_component(ready, 5)
    assert start[2] + int(mask[0, 0].nonzero()[0]) == 3
    assert mask.sum() == 5


def test_a_hole_is_filled_and_counted():
    values = torch.full((5, 5, 5), 9.0)
    values[1:4, 1:4, 1:4] = torch.arange(27.0).reshape(3, 3, 3) / 27
    values[2, 2, 2] = 5.0
    ready = Candidates((5, 5, 5), torch.arange(125), values.flatten())
    start, mask = find_component(ready, 27)
    assert start == (1, 1, 1)
    assert mask.shape == (3, 3, 3)
    assert mask.all()


def test_a_hole_that_cannot_be_taken_stays():
    values = torch.full((3, 3, 3), 1.0)
    values[1, 1, 1] = math.inf
    taken = values.flatten().isfinite().nonzero().flatten()
    ready = Candidates((3, 3, 3), taken, values.flatten()[taken])
    _, mask = find_component(ready, 26)
    assert (int(mask.sum()), bool(mask[1, 1, 1])) == (26, False)


def test_all_is_taken_if_there_is_less_than_wanted():
    _, mask = find_component(row([3.0, 1.0, 2.0]), 10)
    assert mask.sum() == 3


def test_a_level_has_as_many_voxels_below_it_as_asked():
    ready = row([5.0, 3.0, 4.0, 1.0, 2.0])
    assert [ready.level(count) for count in (1, 3, 5, 9)] == [1.0, 3.0, 5.0, 5.0]


def test_a_tight_box_holds_what_is_marked_and_no_more():
    mask = torch.zeros((5, 6, 7), dtype=torch.bool)
    mask[1, 2, 3] = mask[3, 2, 6] = True
    assert tight_box(mask) == ((1, 2, 3), (slice(1, 4), slice(2, 3), slice(3, 7)))
    assert tight_box(torch.zeros_like(mask)) is None
