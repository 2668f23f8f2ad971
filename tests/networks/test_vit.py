import math

import pytest
import torch

from tests.contracts import EncoderContract
from tests.networks.peers import peer_of_vit
from volseg.errors import GeometryError
from volseg.networks import vit
from volseg.networks.vit import ViTEncoder, cut_patches, wave_positions
from volseg.transforms.masking import BlockMask


class TestViTEncoderThatDrops(EncoderContract):
    @pytest.fixture
    def encoder(self):
        return _tiny("drop")


class TestViTEncoderThatReplaces(EncoderContract):
    @pytest.fixture
    def encoder(self):
        return _tiny("replace")


def _tiny(mask_mode, in_channels=2):
    torch.manual_seed(0)
    encoder = ViTEncoder(in_channels, (8, 12, 4), 4, 12, 4, 2, mask_mode)
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return encoder


def _mask(*cases):
    """Mask the first tokens of a 2x3x1 grid, so many a case."""
    grid = torch.zeros(len(cases), 6, dtype=torch.bool)
    for row, count in zip(grid, cases, strict=True):
        row[:count] = True
    return BlockMask(grid.view(-1, 2, 3, 1), (4, 4, 4))


def test_maps_equal_the_hidden_states_of_monai_with_the_same_weights():
    encoder = _tiny("drop")
    x = torch.randn(2, 2, 8, 12, 4, generator=torch.Generator().manual_seed(0))
    last, states = peer_of_vit(encoder, (8, 12, 4))(x)
    for ours, theirs in zip(encoder(x), [*states[:3], last], strict=True):
        theirs_map = theirs.transpose(1, 2).view(ours.shape)
        torch.testing.assert_close(ours, theirs_map, rtol=1e-4, atol=1e-4)


def test_the_maps_come_after_each_quarter_of_the_blocks():
    encoder = ViTEncoder(1, (4, 4, 4), 2, 6, 8, 1)
    seen = []
    for index, block in enumerate(encoder.blocks):
        block.register_forward_hook(lambda _m, _i, out, index=index: seen.append((index, out)))
    maps = encoder(torch.randn(1, 1, 4, 4, 4))
    for level, (_, state) in zip(maps[:3], [seen[1], seen[3], seen[5]], strict=True):
        assert torch.equal(level.flatten(2).transpose(1, 2), state)


def test_only_visible_tokens_are_computed():
    encoder = _tiny("drop")
    counts = []
    for block in encoder.blocks:
        block.register_forward_pre_hook(lambda _m, args: counts.append(args[0].shape[1]))
    encoder(torch.randn(2, 2, 8, 12, 4), _mask(4, 4))
    assert counts == [2, 2, 2, 2]


def test_dropping_tokens_is_never_attending_to_them():
    encoder = _tiny("drop")
    x = torch.randn(1, 2, 8, 12, 4)
    maps = encoder(x, _mask(2))
    tokens = torch.nn.functional.linear(cut_patches(x, 4), encoder.weight.flatten(1), encoder.bias)
    tokens = tokens + encoder.position[0].flatten(1).t()
    seen = torch.tensor([False, False, True, True, True, True]).view(1, 1, 1, 6)
    for block in encoder.blocks:
        tokens = block(tokens, seen)
    wanted = encoder.norm(tokens)[:, 2:]
    found = maps[-1].flatten(2).transpose(1, 2)
    torch.testing.assert_close(found[:, 2:], wanted, rtol=1e-4, atol=1e-4)
    assert found[:, :2].abs().max() == 0


def test_cases_that_hide_more_than_others_are_as_alone():
    encoder = _tiny("drop")
    x = torch.randn(2, 2, 8, 12, 4).requires_grad_()
    together = encoder(x, _mask(1, 4))
    for case, count in enumerate((1, 4)):
        alone = encoder(x[case : case + 1], _mask(count))
        for one, two in zip(together, alone, strict=True):
            torch.testing.assert_close(one[case : case + 1], two, rtol=1e-4, atol=1e-4)
    sum(level.square().sum() for level in together).backward()
    hidden = _mask(1, 4).to((1, 1, 1))[:, None].expand_as(x)
    assert x.grad[hidden].abs().max() == 0
    assert x.grad.isfinite().all()


def test_a_case_without_a_visible_token_is_refused():
    with pytest.raises(GeometryError, match="hides a whole case"):
        _tiny("drop")(torch.zeros(2, 2, 8, 12, 4), _mask(2, 6))


def test_a_wholly_hidden_case_can_be_replaced():
    encoder = _tiny("replace")
    one, two = (encoder(torch.randn(1, 2, 8, 12, 4), _mask(6))[-1] for _ in range(2))
    assert torch.equal(one, two)


def test_positions_that_are_constant_stay_so_on_another_grid():
    encoder = _tiny("drop", in_channels=1)
    with torch.no_grad():
        encoder.position.copy_(torch.arange(12.0).view(1, 12, 1, 1, 1).expand(1, 12, 2, 3, 1))
    table = encoder._positions((3, 5, 2))
    assert table.shape == (30, 12)
    torch.testing.assert_close(table, torch.arange(12.0).expand(30, 12))


def test_positions_vary_along_their_own_axis_alone():
    encoder = _tiny("drop", in_channels=1)
    with torch.no_grad():
        encoder.position.copy_(torch.arange(3.0).view(1, 1, 1, 3, 1).expand(1, 12, 2, 3, 1))
    table = encoder._positions((2, 6, 1)).view(2, 6, 1, 12)
    # Halfway between the centres of the old tokens, and clamped at the border.
    wanted = torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2])
    torch.testing.assert_close(table[1, :, 0, 5], wanted)


def test_waves_are_sines_and_cosines_of_the_place_on_each_axis():
    table = wave_positions(13, (2, 3, 4))
    assert table.shape == (13, 2, 3, 4)
    assert table[:, 0, 0, 0].tolist() == [0, 0, 1, 1] * 3 + [0]
    place = table[:, 1, 2, 3].tolist()
    for axis, steps in enumerate((1, 2, 3)):
        slow = steps / 100  # the second of two rates is 10000 ** -0.5
        wanted = [math.sin(steps), math.sin(slow), math.cos(steps), math.cos(slow)]
        assert place[4 * axis : 4 * axis + 4] == pytest.approx(wanted, abs=1e-6)


def test_channels_last_changes_the_memory_alone():
    encoder = _tiny("drop")
    x = torch.randn(1, 2, 8, 12, 8)
    maps = encoder(x)
    encoder.to(memory_format=torch.channels_last_3d)
    for one, two in zip(maps, encoder(x.to(memory_format=torch.channels_last_3d)), strict=True):
        torch.testing.assert_close(one, two)


def test_groups_are_the_embedding_and_the_blocks():
    groups = _tiny("replace").layer_groups()
    assert [len(group) for group in groups] == [4, 12, 12, 12, 14]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 6}, "depth 6 and 2 heads of 12 channels do not fit"),
        ({"heads": 5}, "depth 4 and 5 heads of 12 channels do not fit"),
        ({"mask_mode": "fill"}, "mask mode is 'fill'; use 'drop' or 'replace'"),
        ({"size": (8, 8, 9)}, r"size \(8, 8, 9\) is not a multiple .*; use \(8, 8, 12\)"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    fitting = {"size": (8, 8, 8), "patch": 4, "width": 12, "depth": 4, "heads": 2}
    with pytest.raises(GeometryError, match=message):
        ViTEncoder(1, **(fitting | arguments))


@pytest.mark.parametrize(
    ("preset", "millions"),
    [(vit.tiny, 0.86), (vit.small, 15.9), (vit.base, 88.4), (vit.large, 306.7)],
)
def test_a_preset_has_the_size_its_docstring_says(preset, millions):
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in preset().parameters())
    assert f"{millions} million parameters" in preset.__doc__
    assert round(count / 1e6, 2 if millions < 1 else 1) == millions
