"""Tests that every encoder and every decoder must pass; a test class inherits them."""

from abc import ABC, abstractmethod
from math import prod

import pytest
import torch
from torch import Tensor, nn

from volseg.errors import GeometryError
from volseg.networks.decoder import Decoder
from volseg.networks.encoder import Encoder
from volseg.transforms.masking import BlockMask
from volseg.types import Size


def smallest_size(encoder: Encoder) -> Size:
    """Give a non-cubic size that the encoder takes."""
    a, b, c = encoder.spec.divisor
    return (2 * a, 3 * b, c)


def seeded_volume(encoder: Encoder, batch: int = 2, size: Size | None = None) -> Tensor:
    """Give a random batch that is the same at every call."""
    generator = torch.Generator().manual_seed(0)
    shape = (batch, encoder.spec.in_channels, *(size or smallest_size(encoder)))
    return torch.randn(shape, generator=generator)


def first_half_hidden(encoder: Encoder, batch: int = 2) -> BlockMask:
    """Hide the first of the two blocks along the first axis."""
    grid = torch.zeros(batch, 2, 3, 1, dtype=torch.bool)
    grid[:, 0] = True
    return BlockMask(grid, encoder.spec.divisor)


class EncoderContract(ABC):
    """What every encoder promises."""

    @abstractmethod
    @pytest.fixture
    def encoder(self) -> Encoder:
        """Give a tiny encoder."""

    def test_the_maps_are_as_the_spec_says(self, encoder):
        size = smallest_size(encoder)
        maps = encoder(seeded_volume(encoder))
        assert [m.shape[1] for m in maps] == list(encoder.spec.channels)
        for level, stride in zip(maps, encoder.spec.strides, strict=True):
            wanted = tuple(n // s for n, s in zip(size, stride, strict=True))
            assert tuple(level.shape[2:]) == wanted

    def test_strides_grow_and_divide_the_divisor(self, encoder):
        volumes = [prod(stride) for stride in encoder.spec.strides]
        assert volumes == sorted(volumes)
        for stride in encoder.spec.strides:
            assert all(d % s == 0 for d, s in zip(encoder.spec.divisor, stride, strict=True))

    def test_another_size_works_too(self, encoder):
        a, b, c = encoder.spec.divisor
        maps = encoder(seeded_volume(encoder, 1, (a, 2 * b, 3 * c)))
        assert tuple(maps[0].shape[2:]) == tuple(
            n // s for n, s in zip((a, 2 * b, 3 * c), encoder.spec.strides[0], strict=True)
        )

    def test_each_case_of_a_batch_is_as_alone(self, encoder):
        encoder.eval()
        x = seeded_volume(encoder)
        for together, alone in zip(encoder(x), encoder(x[1:]), strict=True):
            torch.testing.assert_close(together[1:], alone, rtol=1e-4, atol=1e-4)

    def test_an_indivisible_size_is_refused_with_one_that_fits(self, encoder):
        a, b, c = encoder.spec.divisor
        size = (2 * a + 1, 3 * b, c)
        with pytest.raises(GeometryError, match="is not a multiple") as caught:
            encoder(seeded_volume(encoder, 1, size))
        assert str((3 * a, 3 * b, c)) in str(caught.value)

    def test_an_empty_mask_changes_nothing(self, encoder):
        encoder.eval()
        x = seeded_volume(encoder)
        empty = BlockMask(torch.zeros(2, 2, 3, 1, dtype=torch.bool), encoder.spec.divisor)
        for masked, plain in zip(encoder(x, empty), encoder(x), strict=True):
            torch.testing.assert_close(masked, plain, rtol=1e-5, atol=1e-5)

    def test_hidden_voxels_have_no_influence_and_visible_ones_have(self, encoder):
        x = seeded_volume(encoder).requires_grad_()
        mask = first_half_hidden(encoder)
        weights = [torch.rand_like(level) for level in encoder(x, mask)]
        maps = encoder(x, mask)
        sum((m * w).sum() for m, w in zip(maps, weights, strict=True)).backward()
        hidden = mask.to((1, 1, 1))[:, None].expand_as(x)
        assert x.grad[hidden].abs().max() == 0
        assert x.grad[~hidden].abs().max() > 0

    def test_every_parameter_learns(self, encoder):
        x, mask = seeded_volume(encoder), first_half_hidden(encoder)
        generator = torch.Generator().manual_seed(1)
        maps = [*encoder(x, mask), *encoder(x)]
        weights = [torch.rand(m.shape, generator=generator) for m in maps]
        sum((m * w).square().sum() for m, w in zip(maps, weights, strict=True)).backward()
        still = [n for n, p in encoder.named_parameters() if p.grad is None or not p.grad.any()]
        assert still == []

    def test_layer_groups_hold_every_parameter_once(self, encoder):
        grouped = [id(p) for group in encoder.layer_groups() for p in group]
        assert sorted(grouped) == sorted(id(p) for p in encoder.parameters())

    def test_a_saved_encoder_computes_the_same(self, encoder, tmp_path):
        encoder.eval()
        x = seeded_volume(encoder)
        before = encoder(x)
        torch.save(encoder.state_dict(), tmp_path / "encoder.pt")
        for parameter in encoder.parameters():
            nn.init.zeros_(parameter)
        encoder.load_state_dict(torch.load(tmp_path / "encoder.pt", weights_only=True))
        for level, again in zip(before, encoder(x), strict=True):
            assert torch.equal(level, again)

    def test_the_embedding_is_one_finite_vector_a_case(self, encoder):
        x = seeded_volume(encoder)
        assert encoder.embed(x).shape == (2, 2 * encoder.spec.channels[-1])
        assert encoder.embed(x, "max").shape == (2, sum(encoder.spec.channels))
        assert encoder.embed(x).isfinite().all()
        with pytest.raises(ValueError, match="pool is 'mean'"):
            encoder.embed(x, "mean")


class DecoderContract(ABC):
    """What every decoder promises."""

    @abstractmethod
    @pytest.fixture
    def encoder(self) -> Encoder:
        """Give an encoder that the decoder fits."""

    @abstractmethod
    @pytest.fixture
    def decoder(self, encoder: Encoder) -> Decoder:
        """Give a tiny decoder of that encoder."""

    def test_the_finest_map_is_at_full_resolution(self, encoder, decoder):
        assert decoder.strides[0] == (1, 1, 1)

    def test_the_maps_are_as_promised(self, encoder, decoder):
        size = smallest_size(encoder)
        x = seeded_volume(encoder)
        maps = decoder(x, encoder(x))
        assert [m.shape[1] for m in maps] == list(decoder.channels)
        for level, stride in zip(maps, decoder.strides, strict=True):
            assert tuple(level.shape[2:]) == tuple(
                n // s for n, s in zip(size, stride, strict=True)
            )

    def test_each_case_of_a_batch_is_as_alone(self, encoder, decoder):
        encoder.eval()
        decoder.eval()
        x = seeded_volume(encoder)
        together = decoder(x, encoder(x))[0][1:]
        torch.testing.assert_close(
            together, decoder(x[1:], encoder(x[1:]))[0], rtol=1e-3, atol=1e-3
        )

    def test_every_parameter_learns(self, encoder, decoder):
        x = seeded_volume(encoder)
        generator = torch.Generator().manual_seed(1)
        finest = decoder(x, encoder(x))[0]
        (finest * torch.rand(finest.shape, generator=generator)).square().sum().backward()
        still = [n for n, p in decoder.named_parameters() if p.grad is None or not p.grad.any()]
        assert still == []

    def test_every_feature_map_is_used(self, encoder, decoder):
        x = seeded_volume(encoder)
        features = [level.detach().requires_grad_() for level in encoder(x)]
        finest = decoder(x, features)[0]
        generator = torch.Generator().manual_seed(1)
        (finest * torch.rand(finest.shape, generator=generator)).square().sum().backward()
        assert all(level.grad is not None and level.grad.any() for level in features)
