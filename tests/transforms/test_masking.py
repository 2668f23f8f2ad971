"""Block masks on grids of any, also unlike, sizes."""

from math import ceil, prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from volseg.errors import GeometryError
from volseg.transforms.masking import BlockMask, draw_block_mask

cells = st.tuples(*[st.integers(1, 4)] * 3)
edges = st.tuples(*[st.integers(1, 4)] * 3)
ratios = st.floats(0, 1)
seeds = st.integers(0, 2**31)


def draw(seed, size, block, ratio, valid=None):
    return draw_block_mask(size, block, ratio, torch.Generator().manual_seed(seed), valid)


def multiply(a, b):
    return tuple(x * y for x, y in zip(a, b, strict=True))


@given(cells, edges, ratios, seeds)
def test_exactly_the_ratio_rounded_up_is_hidden(grid, block, ratio, seed):
    mask = draw(seed, multiply(grid, block), block, ratio)
    assert tuple(mask.shape) == grid
    assert mask.sum() == ceil(ratio * prod(grid))


@given(cells, edges, edges, seeds)
def test_a_cell_is_hidden_as_the_block_that_holds_it(grid, steps, stride, seed):
    block = multiply(steps, stride)
    mask = draw(seed, multiply(grid, block), block, 0.5)
    expanded = BlockMask(mask[None], block).to(stride)[0]
    assert tuple(expanded.shape) == multiply(grid, steps)
    for i, j, k in torch.cartesian_prod(*map(torch.arange, expanded.shape)).view(-1, 3).tolist():
        assert expanded[i, j, k] == mask[i // steps[0], j // steps[1], k // steps[2]]


@given(cells, edges, seeds)
def test_every_stride_hides_the_same_share(grid, block, seed):
    mask = BlockMask(draw(seed, multiply(grid, block), block, 0.4)[None], block)
    shares = [mask.to(stride).float().mean().item() for stride in ((1, 1, 1), block)]
    assert shares[0] == pytest.approx(shares[1])
    assert mask.size == multiply(grid, block)


@given(cells, edges, seeds)
def test_equal_seeds_draw_equal_masks(grid, block, seed):
    size = multiply(grid, block)
    assert torch.equal(draw(seed, size, block, 0.5), draw(seed, size, block, 0.5))


def test_every_block_is_as_likely_as_any_other():
    generator = torch.Generator().manual_seed(0)
    drawn = [draw_block_mask((2, 6, 4), (1, 2, 4), 0.5, generator) for _ in range(600)]
    share = torch.stack(drawn).float().mean(0)
    # four standard errors of a share of one half in 600 draws
    assert (share - 0.5).abs().max() < 4 * (0.25 / 600) ** 0.5


def test_drawing_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    wanted = torch.rand(1)
    torch.manual_seed(0)
    draw(1, (4, 4, 4), (2, 2, 2), 0.5)
    assert torch.equal(torch.rand(1), wanted)


def test_blocks_with_less_than_a_quarter_of_valid_voxels_are_never_hidden():
    valid = torch.zeros(4, 2, 6, dtype=torch.bool)
    valid[:2, :, :2] = True  # block (0, 0, 0): all eight
    valid[2, 0, 2:4] = True  # block (1, 0, 1): two of eight, just enough
    valid[3, 1, 5] = True  # block (1, 0, 2): one of eight
    mask = draw(0, (4, 2, 6), (2, 2, 2), 1.0, valid)
    assert mask.nonzero().tolist() == [[0, 0, 0], [1, 0, 1]]


def test_the_ratio_is_of_the_eligible_blocks():
    valid = torch.zeros(4, 4, 4, dtype=torch.bool)
    valid[:2] = True
    for seed in range(10):
        mask = draw(seed, (4, 4, 4), (2, 2, 2), 0.5, valid)
        assert mask.sum() == 2
        assert not mask[1].any()


def test_nothing_valid_hides_nothing():
    assert not draw(0, (2, 2, 4), (1, 1, 2), 1.0, torch.zeros(2, 2, 4, dtype=torch.bool)).any()


def test_a_size_that_the_block_does_not_divide_is_refused_with_one_that_fits():
    with pytest.raises(GeometryError, match=r"\(5, 8, 6\) is not a multiple.*use \(6, 8, 8\)"):
        draw(0, (5, 8, 6), (3, 8, 4), 0.5)


@pytest.mark.parametrize("ratio", [-0.1, 1.1, float("nan")])
def test_a_ratio_outside_0_to_1_is_refused(ratio):
    with pytest.raises(GeometryError, match="use a value from 0 to 1"):
        draw(0, (2, 2, 2), (1, 1, 1), ratio)


def test_a_stride_that_would_cut_a_block_is_refused():
    mask = BlockMask(torch.zeros(1, 2, 2, 2, dtype=torch.bool), (8, 8, 4))
    with pytest.raises(GeometryError, match=r"stride \(8, 8, 8\) does not divide.*\(8, 8, 4\)"):
        mask.to((8, 8, 8))
    with pytest.raises(GeometryError, match=r"stride \(0, 1, 1\)"):
        mask.to((0, 1, 1))


@pytest.mark.parametrize("grid", [torch.zeros(1, 2, 2, 2), torch.zeros(2, 2, 2, dtype=torch.bool)])
def test_a_grid_that_is_no_boolean_batch_is_refused(grid):
    with pytest.raises(GeometryError, match=r"use boolean \(B, d, h, w\)"):
        BlockMask(grid, (2, 2, 2))
