import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.networks.nets.swin_unetr import PatchMerging as OtherPatchMerging
from monai.networks.nets.swin_unetr import PatchMergingV2
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from tests.contracts import EncoderContract
from tests.networks.peers import peer_of_swin, swin_block_pairs
from volseg.errors import GeometryError
from volseg.networks import swin
from volseg.networks.swin import PatchMerging, SwinEncoder
from volseg.networks.swin_attention import WindowAttention, cut_axis
from volseg.transforms.masking import BlockMask


class TestSwinEncoder(EncoderContract):
    @pytest.fixture
    def encoder(self):
        torch.manual_seed(0)
        return SwinEncoder(2, 8, (2, 2), (2, 4), window=2)


class TestSwinEncoderWhoseWindowDoesNotDivideTheGrid(EncoderContract):
    @pytest.fixture
    def encoder(self):
        torch.manual_seed(0)
        return SwinEncoder(1, 4, (2, 1, 2), (1, 2, 2), window=3)


@pytest.fixture(scope="module")
def pair():
    """Give an encoder and MONAI's with the same weights, large enough to tell blocks apart."""
    torch.manual_seed(0)
    ours = SwinEncoder(2, 4, (2, 2, 2, 1), (1, 2, 2, 4), window=2)
    for parameter in ours.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return ours, peer_of_swin(ours)


def test_maps_equal_those_of_monai_with_the_same_weights(pair):
    x = torch.randn(2, 2, 32, 64, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        maps = [network(x) for network in pair]
    for ours, theirs in zip(*maps, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_gradients_equal_those_of_monai_with_the_same_weights(pair):
    x = torch.randn(1, 2, 32, 64, 32, generator=torch.Generator().manual_seed(0))
    for network in pair:
        network.zero_grad()
        sum(level[:, 0].square().sum() for level in network(x)).backward()
    ours, theirs = (pair[0].stages[0].blocks[1], pair[1].layers1[0].blocks[1])
    for our_part, their_part in swin_block_pairs(ours, theirs):
        scale = their_part.weight.grad.abs().max()
        difference = (our_part.weight.grad - their_part.weight.grad).abs().max()
        assert difference < 1e-3 * scale
    table = theirs.attn.relative_position_bias_table.grad.t()
    difference = (ours.attention.bias.grad[0].flatten(1) - table).abs().max()
    assert difference < 1e-3 * table.abs().max()


def test_octants_are_merged_in_the_order_v2_and_no_other():
    ours = PatchMerging(3)
    theirs, other = PatchMergingV2(3), OtherPatchMerging(3)
    theirs.load_state_dict(ours.state_dict())
    other.load_state_dict(ours.state_dict())
    tokens = torch.randn(1, 2, 4, 6, 3)
    torch.testing.assert_close(ours(tokens), theirs(tokens))
    assert not torch.allclose(ours(tokens), other(tokens), atol=0.01)
    assert SwinEncoder(1, 4, (1,), (1,)).merge_order == "v2"


@pytest.mark.parametrize("windows", ["clamped", "scattered"])
def test_padded_windows_are_ours_where_the_window_divides_the_grid(windows):
    ours = SwinEncoder(1, 4, (2,), (2,), 4)
    padded = SwinEncoder(1, 4, (2,), (2,), 4, windows)
    for parameter in ours.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    padded.load_state_dict(ours.state_dict())
    x = torch.randn(1, 1, 16, 16, 24)
    with torch.no_grad():
        is_equal = torch.allclose(padded(x)[1], ours(x)[1], atol=1e-5)
    assert is_equal == (windows == "clamped")  # scattered ones are where no other code has them


class TestSwinEncoderWithPaddedWindows(EncoderContract):
    @pytest.fixture(params=["clamped", "scattered"])
    def encoder(self, request):
        torch.manual_seed(0)
        return SwinEncoder(
            1, 4, (2, 1), (1, 2), 3, request.param, "smit", is_embedding_normalised=True
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [({"windows": "padded"}, "windows are 'padded'"), ({"merge_order": "v3"}, "order is 'v3'")],
)
def test_ways_that_are_not_known_are_refused(options, message):
    with pytest.raises(GeometryError, match=message):
        SwinEncoder(1, 4, (1,), (1,), **options)


@given(length=st.integers(1, 60), window=st.integers(1, 9), is_shifted=st.booleans())
def test_windows_cover_an_axis_and_differ_by_one_at_most(length, window, is_shifted):
    lengths = cut_axis(length, window, is_shifted=is_shifted)
    inner = lengths[1:-1] if is_shifted and len(lengths) > 1 else lengths
    assert sum(lengths) == length
    assert 0 < min(lengths) <= max(lengths) <= window
    assert not inner or max(inner) - min(inner) <= 1


@pytest.mark.parametrize("is_shifted", [False, True])
@pytest.mark.parametrize("is_learning", [False, True])
@pytest.mark.parametrize("grid", [(4, 6, 8), (5, 7, 2), (3, 1, 10)])
def test_attention_is_that_of_a_mask_over_the_whole_grid(grid, is_shifted, is_learning):
    torch.manual_seed(0)
    attention = WindowAttention(6, 2, 3, is_shifted=is_shifted)
    torch.nn.init.normal_(attention.bias)
    tokens = torch.randn(2, *grid, 6)
    slow = _masked_attention(attention, tokens, is_shifted=is_shifted)
    gradient = torch.randn_like(slow)
    with torch.set_grad_enabled(is_learning):
        fast = attention(tokens)
    torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-5)
    if is_learning:
        parameters = list(attention.parameters())
        wanted = torch.autograd.grad(slow, parameters, gradient)
        found = torch.autograd.grad(fast, parameters, gradient)
        for one, two in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-4)


def _masked_attention(attention, tokens, *, is_shifted):
    """Attend by the definition: every pair of tokens, those of other windows at minus infinity."""
    grid = tokens.shape[1:4]
    marks = []
    for length in grid:
        lengths = torch.tensor(cut_axis(length, 3, is_shifted=is_shifted))
        marks.append(torch.arange(len(lengths)).repeat_interleave(lengths))
    window = torch.stack(torch.meshgrid(*marks, indexing="ij")).flatten(1)
    place = torch.stack(torch.meshgrid(*map(torch.arange, grid), indexing="ij")).flatten(1)
    together = (window[:, :, None] == window[:, None, :]).all(0)
    offset = (place[:, :, None] - place[:, None, :]).clamp(-2, 2) + 2
    bias = attention.bias[0, :, offset[0], offset[1], offset[2]]
    flat = tokens.flatten(1, 3)
    query, key, value = attention.qkv(flat).unflatten(-1, (3, 2, 3)).permute(2, 0, 3, 1, 4)
    scores = query @ key.mT / 3**0.5 + bias
    weights = scores.masked_fill(~together, -torch.inf).softmax(-1)
    mixed = (weights @ value).transpose(1, 2).flatten(2)
    return attention.project(mixed).view(tokens.shape)


@pytest.mark.parametrize("is_learning", [False, True])
def test_the_fused_kernel_runs_in_training_and_inference(is_learning):
    attention = WindowAttention(8, 1, 3, is_shifted=True)
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION), torch.set_grad_enabled(is_learning):
        assert attention(torch.randn(1, 5, 6, 7, 8)).isfinite().all()


def test_training_keeps_no_scores():
    attention = WindowAttention(8, 2, 4, is_shifted=False)
    kept = []
    hooks = torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.append(tensor.numel()) or tensor, lambda tensor: tensor
    )
    with hooks:
        attention(torch.randn(1, 8, 8, 8, 8))
    tokens_of_three = 8**3 * 3 * 8
    bias = 2 * 64 * 64
    assert max(kept) <= max(tokens_of_three, bias) < 8 * bias


def test_a_network_that_inferred_first_can_learn():
    attention = WindowAttention(4, 1, 2, is_shifted=True)
    tokens = torch.randn(1, 4, 6, 10, 4)
    with torch.inference_mode():
        before = attention(tokens)
    after = attention(tokens)
    after.sum().backward()
    torch.testing.assert_close(before, after.detach())


def test_gradients_in_bfloat16_are_those_of_float32_up_to_its_rounding():
    torch.manual_seed(0)
    attention = WindowAttention(16, 2, 3, is_shifted=True)
    tokens = torch.randn(1, 6, 6, 6, 16)
    exact = torch.autograd.grad(attention(tokens).square().sum(), attention.bias)[0]
    with torch.autocast("cpu", torch.bfloat16):
        mixed = attention(tokens)
    rounded = torch.autograd.grad(mixed.float().square().sum(), attention.bias)[0]
    # Eight bits of mantissa; the gradient is a difference of nearly equal sums.
    assert (rounded - exact).norm() < 0.1 * exact.norm()


def test_hidden_tokens_become_the_learned_one_and_visible_ones_stay():
    encoder = SwinEncoder(1, 4, (1,), (1,), window=2)
    grid = torch.zeros(1, 1, 2, 1, dtype=torch.bool)
    grid[0, 0, 1, 0] = True
    x = torch.randn(1, 1, 4, 8, 4)
    masked, plain = encoder(x, BlockMask(grid, (4, 4, 4)))[0], encoder(x)[0]
    learned = functional.layer_norm(encoder.embedding.mask_token, (4,))
    assert torch.equal(masked[..., :2, :], plain[..., :2, :])
    torch.testing.assert_close(masked[0, :, 0, 2, 0], learned)


def test_channels_last_changes_the_memory_alone():
    encoder = SwinEncoder(2, 4, (2,), (1,), window=2)
    x = torch.randn(1, 2, 4, 8, 12)
    maps = encoder(x)
    encoder.to(memory_format=torch.channels_last_3d)
    for one, two in zip(maps, encoder(x.to(memory_format=torch.channels_last_3d)), strict=True):
        torch.testing.assert_close(one, two)


def test_groups_are_the_embedding_and_the_stages():
    groups = SwinEncoder(1, 4, (1, 1), (1, 1)).layer_groups()
    assert len(groups) == 3
    assert any(p.shape == (4, 1, 2, 2, 2) for p in groups[0])


def test_stages_without_a_head_count_are_refused():
    with pytest.raises(GeometryError, match="2 depths and 1 head counts do not fit"):
        SwinEncoder(1, 4, (1, 1), (1,))


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(GeometryError, match="3 heads do not divide width 4"):
        SwinEncoder(1, 4, (1,), (3,))


@pytest.mark.parametrize(
    ("preset", "millions"),
    [(swin.tiny, 0.23), (swin.small, 2.1), (swin.base, 8.0), (swin.large, 38.9)],
)
def test_a_preset_has_the_size_its_docstring_says(preset, millions):
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in preset().parameters())
    assert f"{millions} million parameters" in preset.__doc__
    assert round(count / 1e6, 2 if millions < 1 else 1) == millions
