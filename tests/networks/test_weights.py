"""Weights: saved and loaded they are equal, adapted they say so, and a wrong file is refused."""

import json
import os
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from volseg.errors import WeightsError
from volseg.networks import storage
from volseg.networks.card import Card
from volseg.networks.decoder import ConvolutionalDecoder
from volseg.networks.description import describe_weights
from volseg.networks.fingerprint import fingerprint
from volseg.networks.residual import ResidualEncoder
from volseg.networks.segmenter import Segmenter
from volseg.networks.storage import read_state_dict
from volseg.networks.swin import SwinEncoder
from volseg.networks.vit import ViTEncoder
from volseg.networks.weights import (
    CARD_KEY,
    build_network,
    load_encoder,
    load_segmenter,
    read_card,
    save_state_dict,
    save_weights,
    segmenter_parts,
)

WIDTHS = (4, 8)
RESIDUAL = {"_target_": "volseg.networks.residual.ResidualEncoder", "widths": list(WIDTHS)}
VIT = {
    "_target_": "volseg.networks.vit.ViTEncoder",
    "size": [8, 8, 8],
    "patch": 4,
    "width": 12,
    "depth": 4,
    "heads": 2,
}
SWIN = {"_target_": "volseg.networks.swin.SwinEncoder", "width": 8, "depths": [2], "heads": [2]}


def seeded(make, seed=0):
    """Build a network whose parameters are all random, biases and tables too."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = make()
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.3)
    return network


def residual(channels=1, seed=0, widths=WIDTHS):
    return seeded(lambda: ResidualEncoder(channels, widths), seed)


def swin(channels=1, seed=0, window=2, heads=(2,)):
    return seeded(lambda: SwinEncoder(channels, 8, (2,), heads, window), seed)


def vit(channels=1, seed=0, size=(8, 8, 8), heads=2, mask_mode="drop"):
    return seeded(lambda: ViTEncoder(channels, size, 4, 12, 4, heads, mask_mode), seed)


def card(config=RESIDUAL, channels=("T1",)):
    return Card(network={"encoder": {**config, "in_channels": len(channels)}}, channels=channels)


def same(one, two):
    ours, theirs = one.state_dict(), two.state_dict()
    return list(ours) == list(theirs) and all(torch.equal(ours[k], theirs[k]) for k in ours)


def volume(channels=1, size=(8, 12, 16)):
    generator = torch.Generator().manual_seed(3)
    return torch.randn((1, channels, *size), generator=generator)


@pytest.fixture
def file(tmp_path):
    """Give the path of a saved encoder of one channel."""
    path = tmp_path / "encoder.safetensors"
    save_weights(path, {"encoder": residual()}, card())
    return path


class TestSaving:
    @pytest.mark.parametrize(("make", "config"), [(residual, RESIDUAL), (swin, SWIN), (vit, VIT)])
    def test_an_encoder_saved_and_loaded_is_equal(self, tmp_path, make, config):
        path = tmp_path / "encoder.safetensors"
        source, target = make(seed=0), make(seed=1)
        save_weights(path, {"encoder": source}, card(config))
        receipt = load_encoder(target, path)
        assert same(source, target)
        assert receipt.fraction == 1
        assert len(receipt.loaded) == len(source.state_dict())
        assert (*receipt.resized, *receipt.inflated, *receipt.fresh, *receipt.left_over) == ()

    def test_the_card_rebuilds_the_network(self, file):
        network = build_network(read_card(file))
        load_encoder(network, file)
        assert same(network, residual())

    def test_the_card_records_what_can_be_measured(self, tmp_path):
        path = tmp_path / "swin.safetensors"
        written = save_weights(path, {"encoder": swin()}, card(SWIN))
        assert read_card(path) == written
        assert written.merge_order == "v2"
        assert written.architecture == {"encoder": "volseg.networks.swin.SwinEncoder"}
        assert written.versions["torch"] == torch.__version__
        assert set(written.versions) == {"volseg", "monai", "torch"}
        assert len(written.fingerprint.levels) == 2

    def test_half_precision_is_rounded_once_and_read_as_float32(self, tmp_path):
        path = tmp_path / "encoder.safetensors"
        source, target = residual(), residual(seed=1)
        save_weights(path, {"encoder": source}, card(), dtype=torch.float16)
        load_encoder(target, path)
        for name, tensor in target.state_dict().items():
            assert tensor.dtype == torch.float32
            assert torch.equal(tensor, source.state_dict()[name].half().float())
        assert load_file(path)["encoder.levels.0.0.conv1.conv.weight"].dtype == torch.float16
        assert read_card(path).fingerprint == fingerprint(target)

    def test_saving_leaves_the_encoder_and_the_random_state_as_they_are(self, tmp_path):
        source = residual().train()
        state = torch.get_rng_state()
        save_weights(tmp_path / "a.safetensors", {"encoder": source}, card(), dtype=torch.float16)
        assert torch.equal(torch.get_rng_state(), state)
        assert source.training
        assert same(source, residual())

    def test_the_same_network_gives_the_same_bytes(self, tmp_path, file):
        again = tmp_path / "again.safetensors"
        save_weights(again, {"encoder": residual()}, card())
        assert again.read_bytes() == file.read_bytes()

    def test_values_that_are_not_finite_are_refused(self, tmp_path):
        source = residual()
        nn.init.constant_(source.levels[0][0].conv1.conv.weight, 1e6)
        path = tmp_path / "encoder.safetensors"
        with pytest.raises(WeightsError, match=r"not finite in torch\.float16"):
            save_weights(path, {"encoder": source}, card(), dtype=torch.float16)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("name", "parts", "channels", "message"),
        [
            ("model.pt", {"encoder": residual()}, ("T1",), "ending"),
            ("a.safetensors", {"decoder": residual()}, ("T1",), "give an encoder"),
            ("a.safetensors", {"encoder": nn.Linear(1, 1)}, ("T1",), "give an encoder"),
            ("a.safetensors", {"encoder": residual(), "x": residual()}, ("T1",), "give an encoder"),
            ("a.safetensors", {"encoder": residual()}, ("T1", "T2"), "the encoder has 1"),
        ],
    )
    def test_parts_that_contradict_the_card_are_refused(
        self, tmp_path, name, parts, channels, message
    ):
        with pytest.raises(WeightsError, match=message):
            save_weights(tmp_path / name, parts, card(channels=channels))

    def test_a_disk_that_fails_leaves_the_old_file_whole(self, tmp_path, file, monkeypatch):
        before = file.read_bytes()

        def full(_descriptor):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(storage.os, "fsync", full)
        with pytest.raises(WeightsError, match="No space left on device"):
            save_weights(file, {"encoder": residual(seed=5)}, card())
        assert file.read_bytes() == before
        assert list(tmp_path.iterdir()) == [file]

    def test_a_file_is_replaced_and_never_written_over(self, tmp_path, file):
        before, reader = file.read_bytes(), tmp_path / "open elsewhere"
        reader.hardlink_to(file)
        save_weights(file, {"encoder": residual(seed=5)}, card())
        assert reader.read_bytes() == before
        assert file.read_bytes() != before
        assert set(tmp_path.iterdir()) == {file, reader}

    def test_a_folder_that_is_a_file_is_refused(self, file):
        with pytest.raises(WeightsError, match="cannot write"):
            save_weights(file / "encoder.safetensors", {"encoder": residual()}, card())


class TestChannels:
    @pytest.mark.parametrize(("make", "config"), [(residual, RESIDUAL), (swin, SWIN), (vit, VIT)])
    @pytest.mark.parametrize("count", [2, 3])
    def test_a_repeated_channel_gives_the_features_of_one(self, tmp_path, make, config, count):
        path = tmp_path / "encoder.safetensors"
        source, target = make().eval(), make(channels=count, seed=1).eval()
        save_weights(path, {"encoder": source}, card(config))
        receipt = load_encoder(target, path)
        assert receipt.inflated
        first = ("encoder.levels.0.0.", "encoder.embedding.weight", "encoder.weight")
        assert all(name.startswith(first) for name in receipt.inflated)
        assert receipt.fraction == 1
        for one, many in zip(
            source(volume()), target(volume().expand(1, count, -1, -1, -1)), strict=True
        ):
            torch.testing.assert_close(many, one, rtol=1e-4, atol=1e-4)

    def test_fewer_channels_are_summed(self, tmp_path):
        path = tmp_path / "encoder.safetensors"
        source, target = residual(channels=3), residual(seed=1)
        save_weights(path, {"encoder": source}, card(channels=("T1", "T2", "FLAIR")))
        assert len(load_encoder(target, path).inflated) == 2
        name = "levels.0.0.conv1.conv.weight"
        summed = source.state_dict()[name].sum(1, keepdim=True)
        torch.testing.assert_close(target.state_dict()[name], summed)

    def test_a_known_channel_among_new_ones_gives_the_features_it_gave(self, tmp_path):
        path = tmp_path / "encoder.safetensors"
        source, target = residual().eval(), residual(channels=3, seed=1).eval()
        save_weights(path, {"encoder": source}, card())
        load_encoder(target, path, channels=["T2", "T1", "FLAIR"])
        many = torch.cat([volume() * 5, volume(), volume() - 7], dim=1)
        for one, named in zip(source(volume()), target(many), strict=True):
            torch.testing.assert_close(named, one, rtol=1e-4, atol=1e-4)

    def test_names_that_do_not_count_the_channels_are_refused(self, file):
        with pytest.raises(WeightsError, match="the encoder has 1"):
            load_encoder(residual(seed=1), file, channels=["T1", "T2"])

    def test_the_decoder_stem_on_the_image_is_inflated_too(self, tmp_path):
        path = tmp_path / "segmenter.safetensors"
        source = seeded(lambda: Segmenter(SwinEncoder(1, 8, (2,), (2,), 2), 2)).eval()
        target = seeded(lambda: Segmenter(SwinEncoder(2, 8, (2,), (2,), 2), 2), 1).eval()
        save_weights(path, segmenter_parts(source), card(SWIN))
        receipt = load_encoder(target, path)
        assert "decoder.stem.conv1.conv.weight" in receipt.inflated
        assert "decoder.stem.conv3.conv.weight" in receipt.inflated
        target.heads.load_state_dict(source.heads.state_dict())
        repeated = target(volume().expand(1, 2, -1, -1, -1))
        torch.testing.assert_close(repeated, source(volume()), rtol=1e-4, atol=1e-4)


class TestPositions:
    def test_another_patch_size_interpolates_the_positions(self, tmp_path):
        path = tmp_path / "encoder.safetensors"
        source, target = vit(size=(8, 8, 16)), vit(size=(8, 16, 24), seed=1)
        save_weights(path, {"encoder": source}, card(VIT))
        receipt = load_encoder(target, path)
        assert receipt.resized == ("encoder.position",)
        assert receipt.fraction == 1
        old, new = (net.position.detach()[0] for net in (source, target))
        assert new.shape == (12, 2, 4, 6)
        # Doubling a line of 2: the ends stay, a quarter of the way in between.
        between = [old[:, :, 0] * (1 - f) + old[:, :, 1] * f for f in (0, 0.25, 0.75, 1)]
        by_hand = torch.stack(between, dim=2)
        # 4 tokens to 6: the first centre lies before the first old one, the fourth at 3.5 * 2 / 3.
        torch.testing.assert_close(new[..., 0], by_hand[..., 0])
        share = 3.5 * 4 / 6 - 0.5 - 1
        fourth = by_hand[..., 1] * (1 - share) + by_hand[..., 2] * share
        torch.testing.assert_close(new[..., 3], fourth)

    def test_other_channels_and_another_size_at_once(self, tmp_path):
        path = tmp_path / "encoder.safetensors"
        save_weights(path, {"encoder": vit(size=(8, 8, 16))}, card(VIT))
        receipt = load_encoder(vit(channels=4, size=(8, 16, 24), seed=1), path)
        assert (receipt.resized, receipt.inflated) == (("encoder.position",), ("encoder.weight",))

    def test_another_patch_resizes_its_kernel_and_the_positions(self, tmp_path):
        path = tmp_path / "encoder.safetensors"
        save_weights(path, {"encoder": vit(size=(8, 8, 16))}, card(VIT))
        target = seeded(lambda: ViTEncoder(1, (8, 8, 16), 2, 12, 4, 2), seed=1)
        receipt = load_encoder(target, path)
        assert receipt.resized == ("encoder.weight", "encoder.position")
        assert receipt.inflated == ()
        assert receipt.fraction == 1

    def test_an_encoder_that_drops_tokens_has_no_use_for_the_learned_one(self, tmp_path):
        path = tmp_path / "encoder.safetensors"
        source, target = vit(mask_mode="replace"), vit(seed=1)
        save_weights(path, {"encoder": source}, card(VIT))
        assert load_encoder(target, path).left_over == ("encoder.mask_token",)
        assert torch.equal(target.position, source.position)

    def test_other_heads_of_equal_shape_are_told_by_the_features(self, tmp_path):
        path = tmp_path / "encoder.safetensors"
        save_weights(path, {"encoder": vit(heads=2)}, card(VIT))
        with pytest.raises(WeightsError, match="features differ"):
            load_encoder(vit(heads=3, seed=1), path)

    def test_other_heads_are_told_at_another_size_too(self, tmp_path):
        """The answer is that at the stored size: the table of positions is put back for it."""
        path = tmp_path / "encoder.safetensors"
        source = vit(size=(8, 8, 16))
        for parameter in source.blocks.parameters():
            parameter.data *= 3  # sharp attention, of which the heads make a difference
        save_weights(path, {"encoder": source}, card(VIT))
        assert load_encoder(vit(size=(8, 16, 24), seed=1), path).resized == ("encoder.position",)
        with pytest.raises(WeightsError, match="features differ"):
            load_encoder(vit(size=(8, 16, 24), heads=3, seed=1), path)

    def test_blocks_that_the_network_has_not_are_no_leftovers(self, tmp_path):
        path = tmp_path / "encoder.safetensors"
        deep = seeded(lambda: ViTEncoder(1, (8, 8, 16), 4, 12, 8, 2))
        save_weights(path, {"encoder": deep}, card({**VIT, "depth": 8}))
        for size in [(8, 8, 16), (8, 16, 24)]:
            with pytest.raises(WeightsError, match="features differ"):
                load_encoder(vit(size=size, seed=1), path)
        finer = seeded(lambda: ViTEncoder(1, (8, 8, 16), 2, 12, 4, 2), seed=1)
        with pytest.raises(WeightsError, match=r"of which the network takes 5\d\.\d%; 95% are"):
            load_encoder(finer, path)


class TestWindow:
    def test_another_window_resizes_the_bias_of_each_head(self, tmp_path):
        path = tmp_path / "encoder.safetensors"
        source, target = swin(window=2), swin(window=3, seed=1)
        save_weights(path, {"encoder": source}, card(SWIN))
        receipt = load_encoder(target, path)
        tables = ("stages.0.blocks.0.attention.bias", "stages.0.blocks.1.attention.bias")
        assert receipt.resized == tuple(f"encoder.{name}" for name in tables)
        for name in tables:
            old, new = (net.state_dict()[name][0] for net in (source, target))
            assert new.shape == (2, 5, 5, 5)
            assert torch.equal(new[:, ::2, ::2, ::2], old)

    def test_another_number_of_heads_is_refused(self, tmp_path):
        path = tmp_path / "encoder.safetensors"
        save_weights(path, {"encoder": swin()}, card(SWIN))
        with pytest.raises(WeightsError, match=r"attention\.bias: \(1, 2, 3, 3, 3\) in the file"):
            load_encoder(swin(heads=(4,), seed=1), path)


class TestRefusal:
    def refused(self, path, message, target=None):
        """Assert that a file is refused and the network is as it was."""
        target = residual(seed=1) if target is None else target
        before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
        with pytest.raises(WeightsError, match=message):
            load_encoder(target, path)
        assert all(torch.equal(t, before[n]) for n, t in target.state_dict().items())

    def rewrite(self, file, change, **fields):
        """Change the tensors and the card's fields of a file in place."""
        described = {**read_card(file).to_dict(), **fields}
        save_file(change(load_file(file)), file, {CARD_KEY: json.dumps(described)})

    def test_a_file_that_is_not_there(self, tmp_path):
        self.refused(tmp_path / "none.safetensors", "is not there")
        self.refused(tmp_path, "is a folder")

    @pytest.mark.parametrize("content", [b"", b"hello", b"\x1f\x8b" + bytes(100), bytes(64)])
    def test_a_file_that_is_no_safetensors_file(self, tmp_path, content):
        path = tmp_path / "encoder.safetensors"
        path.write_bytes(content)
        self.refused(path, "is not a safetensors file")

    @pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.99])
    def test_a_truncated_file(self, file, share):
        content = file.read_bytes()
        file.write_bytes(content[: int(share * len(content))])
        self.refused(file, "is truncated or damaged")

    def test_a_pytorch_file_by_the_name_of_a_safetensors_file(self, tmp_path):
        path = tmp_path / "encoder.safetensors"
        torch.save(residual().state_dict(), path)
        self.refused(path, "is a PyTorch file, not safetensors")

    def test_a_header_that_claims_more_than_there_is(self, tmp_path):
        path = tmp_path / "encoder.safetensors"
        path.write_bytes(struct.pack("<Q", 2**40) + b"{}")
        self.refused(path, "is truncated or damaged")

    def test_a_file_without_a_card(self, tmp_path):
        path = tmp_path / "encoder.safetensors"
        save_file({"encoder.a": torch.zeros(1)}, path)
        self.refused(path, "has no volseg card")

    def test_a_card_that_is_none(self, tmp_path):
        path = tmp_path / "encoder.safetensors"
        save_file({"encoder.a": torch.zeros(1)}, path, {CARD_KEY: "{}"})
        self.refused(path, r"encoder\.safetensors: card is not of format")

    def test_another_architecture_is_named_beside_the_own(self, file):
        both = "residual.ResidualEncoder as encoder, the network has .*swin.SwinEncoder"
        self.refused(file, both, swin(seed=1))

    def test_another_merge_order(self, tmp_path):
        path = tmp_path / "swin.safetensors"
        save_weights(path, {"encoder": swin()}, card(SWIN))
        self.rewrite(path, dict, merge_order="monai_1_5")
        self.refused(path, "order 'monai_1_5', the network in 'v2'", swin(seed=1))

    def test_another_octant_order_behind_the_right_name(self, tmp_path):
        path = tmp_path / "swin.safetensors"
        save_weights(path, {"encoder": swin()}, card(SWIN))

        def exchange(tensors):
            for name in ("norm.weight", "norm.bias", "reduction.weight"):
                full = f"encoder.stages.0.merge.{name}"
                octants = tensors[full].unflatten(-1, (2, 2, 2, 8))
                tensors[full] = octants.transpose(-4, -2).flatten(-4).contiguous()
            return tensors

        self.rewrite(path, exchange)
        self.refused(path, "features differ by", swin(seed=1))

    def test_other_numbers_in_the_same_shapes(self, file):
        def negate(tensors):
            tensors["encoder.levels.0.0.conv1.conv.weight"] *= -1
            return tensors

        self.rewrite(file, negate)
        self.refused(file, "features differ by")

    def test_a_stem_whose_channels_do_not_add_up_to_the_stored_one(self, tmp_path, file):
        # Inflation keeps the answer to one image in every channel, so it is verified as well.
        def shift(tensors):
            tensors["encoder.levels.0.0.conv1.conv.weight"][:, :, 0] += 1
            return tensors

        self.rewrite(file, shift)
        self.refused(file, "features differ by", residual(channels=2, seed=1))

    def test_a_card_without_a_fingerprint(self, file):
        self.rewrite(file, dict, fingerprint=None)
        self.refused(file, "without a fingerprint")

    def test_a_missing_level(self, file):
        def drop(tensors):
            return {name: t for name, t in tensors.items() if ".levels.1." not in name}

        self.rewrite(file, drop)
        self.refused(file, r"fills 1\d\.\d% .*\.levels\.1\.0\.conv1\.conv\.weight: not in the file")

    def test_a_wrong_prefix(self, file):
        self.rewrite(file, lambda tensors: {f"swinViT.{name}": t for name, t in tensors.items()})
        self.refused(file, r"fills 0\.0%")

    def test_other_widths(self, file):
        self.refused(
            file,
            r"\(4, 1, 3, 3, 3\) in the file, \(6, 1, 3, 3, 3\) here",
            residual(seed=1, widths=(6, 8)),
        )

    def test_one_small_tensor_of_another_shape(self, file):
        name = "encoder.levels.0.0.norm1.bias"
        self.rewrite(file, lambda tensors: {**tensors, name: torch.zeros(5)})
        self.refused(file, rf"none of another shape\. {name}: \(5,\) in the file, \(4,\) here")

    def test_a_shortcut_that_the_network_has_not(self, file):
        # With as many channels as the first width, MONAI's block leaves out its projection.
        target = residual(channels=4, seed=1)
        self.refused(file, "features differ by", target)

    def test_a_level_that_the_network_has_not(self, tmp_path):
        path = tmp_path / "encoder.safetensors"
        save_weights(path, {"encoder": residual(widths=(4, 8, 16))}, card())
        self.refused(path, "features differ by inf")

    def test_one_small_tensor_missing_is_told_and_not_refused(self, file):
        name = "encoder.levels.0.0.norm1.bias"

        def drop(tensors):
            del tensors[name]
            return {**tensors, "heads.other": torch.zeros(1)}

        self.rewrite(file, drop)
        receipt = load_encoder(residual(seed=1), file)
        parameters = sum(p.numel() for p in residual().parameters())
        assert receipt.fresh == (name,)
        assert receipt.left_over == ("heads.other",)
        assert receipt.fraction == pytest.approx(1 - 4 / parameters)

    @pytest.mark.parametrize("wrap", ["module.{}", "_orig_mod.module.{}", "encoder.module.{}"])
    def test_prefixes_of_wrappers_are_taken_off_and_told(self, file, wrap):
        def rename(tensors):
            short = wrap.startswith("encoder")
            return {
                wrap.format(n.removeprefix("encoder.") if short else n): t
                for n, t in tensors.items()
            }

        count = len(load_file(file))
        self.rewrite(file, rename)
        target = residual(seed=1)
        receipt = load_encoder(target, file)
        assert same(target, residual())
        assert f"off {count} names" in receipt.notes[0]

    def test_names_with_and_without_a_wrapper_clash(self, file):
        self.rewrite(file, lambda t: {**t, **{f"module.{n}": v.clone() for n, v in t.items()}})
        self.refused(file, "clash")


class TestSegmenter:
    @pytest.fixture
    def source(self):
        return seeded(lambda: Segmenter(ResidualEncoder(1, WIDTHS), 2))

    @pytest.fixture
    def target(self):
        return seeded(lambda: Segmenter(ResidualEncoder(1, WIDTHS), 2), seed=1)

    def test_saved_and_loaded_it_is_equal_in_both_forms(self, tmp_path, source, target):
        save_weights(tmp_path / "model.safetensors", segmenter_parts(source), card())
        save_state_dict(tmp_path / "model.pt", source)
        for name in ("model.safetensors", "model.pt"):
            other = seeded(lambda: Segmenter(ResidualEncoder(1, WIDTHS), 2), seed=1)
            receipt = load_segmenter(other, tmp_path / name)
            assert same(other, source)
            assert set(receipt.loaded) == set(source.state_dict())

    def test_the_state_dict_is_plain(self, tmp_path, source):
        save_state_dict(tmp_path / "model.pt", source)
        values = torch.load(tmp_path / "model.pt", weights_only=True)
        assert type(values) is dict
        assert list(values) == list(source.state_dict())

    def test_an_encoder_takes_the_equal_decoder_along_and_leaves_the_heads(
        self, tmp_path, source, target
    ):
        path = tmp_path / "model.safetensors"
        save_weights(path, segmenter_parts(source), card())
        heads = {name: tensor.clone() for name, tensor in target.heads.state_dict().items()}
        receipt = load_encoder(target, path)
        assert same(target.encoder, source.encoder)
        assert same(target.decoder, source.decoder)
        assert all(torch.equal(t, heads[n]) for n, t in target.heads.state_dict().items())
        assert all(name.startswith("heads.") for name in receipt.fresh + receipt.left_over)

    def test_without_decoder_it_stays_fresh(self, tmp_path, source, target):
        path = tmp_path / "model.safetensors"
        save_weights(path, segmenter_parts(source), card())
        receipt = load_encoder(target, path, with_decoder=False)
        assert same(target.encoder, source.encoder)
        assert not same(target.decoder, source.decoder)
        assert any(name.startswith("decoder.") for name in receipt.fresh)

    def test_another_decoder_stays_fresh_and_the_receipt_says_why(self, tmp_path):
        path = tmp_path / "model.safetensors"

        def make(width):
            return Segmenter(
                SwinEncoder(1, 8, (2,), (2,), 2), 2, lambda spec: ConvolutionalDecoder(spec, width)
            )

        source, target = seeded(lambda: make(4)), seeded(lambda: make(6), seed=1)
        save_weights(path, segmenter_parts(source), card(SWIN))
        receipt = load_encoder(target, path)
        assert same(target.encoder, source.encoder)
        assert any(name.startswith("decoder.") for name in receipt.fresh)
        assert "decoder stays fresh" in receipt.notes[0]

    def test_an_encoder_alone_does_not_make_a_segmenter(self, file, target):
        with pytest.raises(WeightsError, match="nothing as decoder, the network has"):
            load_segmenter(target, file)

    def test_other_classes_are_refused(self, tmp_path, source):
        other = seeded(lambda: Segmenter(ResidualEncoder(1, WIDTHS), 3))
        save_state_dict(tmp_path / "model.pt", source)
        with pytest.raises(WeightsError, match=r"in another shape 4 \(heads\.0\.weight"):
            load_segmenter(other, tmp_path / "model.pt")

    def test_missing_and_unknown_names_are_refused(self, tmp_path, source, target):
        state = dict(source.state_dict())
        state["surplus"] = state.pop("heads.0.bias")
        torch.save(state, tmp_path / "model.pt")
        with pytest.raises(WeightsError, match=r"lacks 1 \(heads\.0\.bias\), has besides 1 \(sur"):
            load_segmenter(target, tmp_path / "model.pt")

    def test_a_wrapped_state_dict_is_taken_and_told(self, tmp_path, source, target):
        torch.save({f"module.{n}": t for n, t in source.state_dict().items()}, tmp_path / "m.pt")
        receipt = load_segmenter(target, tmp_path / "m.pt")
        assert same(target, source)
        assert "prefix 'module.'" in str(receipt)

    def test_a_changed_encoder_is_refused(self, tmp_path, source, target):
        path = tmp_path / "model.safetensors"
        save_weights(path, segmenter_parts(source), card())
        tensors = load_file(path)
        tensors["encoder.levels.1.0.conv1.conv.weight"] *= 2
        tensors["encoder.levels.0.0.norm3.weight"] *= -2
        save_file(tensors, path, {CARD_KEY: read_card(path).to_json()})
        with pytest.raises(WeightsError, match="features differ"):
            load_segmenter(target, path)

    def test_code_in_a_pickle_is_not_run(self, tmp_path, target):
        bait = tmp_path / "bait"

        class Evil:
            def __reduce__(self):
                return os.system, (f"touch {bait}",)

        torch.save({"a": Evil()}, tmp_path / "model.pt")
        with pytest.raises(
            WeightsError, match=r"is not a plain state dict \(it holds a \w+\.system\)"
        ):
            load_segmenter(target, tmp_path / "model.pt")
        assert not bait.exists()

    def test_a_whole_network_in_a_pickle_is_named_without_advice_to_unpickle_it(self, tmp_path):
        torch.save(nn.Sequential(nn.Linear(1, 1)), tmp_path / "model.pt")
        with pytest.raises(WeightsError) as refused:
            read_state_dict(tmp_path / "model.pt")
        assert "(it holds a torch.nn.modules.container.Sequential); save it" in str(refused.value)
        assert "trust" not in str(refused.value)

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"model": {"a": torch.zeros(1)}, "epoch": 3}, "does not hold this network"),
            ([torch.zeros(1)], "holds a list"),
            ({}, "holds a dict"),
        ],
    )
    def test_a_pickle_that_is_no_plain_state_dict(self, tmp_path, target, values, message):
        torch.save(values, tmp_path / "model.pt")
        with pytest.raises(WeightsError, match=message):
            load_segmenter(target, tmp_path / "model.pt")

    @pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04", b"\x80\x02."])
    def test_a_pt_file_of_rubbish(self, tmp_path, target, content):
        (tmp_path / "model.pt").write_bytes(content)
        with pytest.raises(WeightsError, match="is not a plain state dict"):
            load_segmenter(target, tmp_path / "model.pt")


class TestReceipt:
    def test_it_prints_counts_and_names(self, file):
        receipt = load_encoder(residual(channels=2, seed=1), file)
        lines = str(receipt).splitlines()
        assert lines[0] == f"{file}: 100.0% of the encoder's parameters"
        assert lines[1].split() == ["loaded", str(len(receipt.loaded))]
        assert lines[2].split()[:3] == ["inflated", "2:", f"{receipt.inflated[0]},"]

    def test_many_names_are_counted_part_by_part(self, tmp_path):
        network = seeded(lambda: Segmenter(ResidualEncoder(1, WIDTHS), 2))
        path = tmp_path / "encoder.safetensors"
        save_weights(path, {"encoder": network.encoder}, card())
        fresh = load_encoder(network, path).fresh
        assert f"fresh       {len(fresh)}" in str(load_encoder(network, path))
        heads = sum(name.startswith("heads.") for name in fresh)
        counts = f"{len(fresh) - heads} in decoder, {heads} in heads"
        assert counts in str(load_encoder(network, path))

    def test_its_json_is_plain(self, file):
        plain = load_encoder(residual(seed=1), file).to_json()
        assert json.loads(json.dumps(plain)) == plain
        assert plain["fraction"] == 1


class TestDescription:
    def test_a_weights_file_is_described_by_its_card_and_its_counts(self, tmp_path):
        network = seeded(lambda: Segmenter(ResidualEncoder(1, WIDTHS), 2))
        path = tmp_path / "model.safetensors"
        save_weights(path, segmenter_parts(network), card(), dtype=torch.float16)
        found = describe_weights(path)
        sizes = {
            part: sum(t.numel() for t in module.state_dict().values())
            for part, module in segmenter_parts(network).items()
        }
        assert found["parts"] == sizes
        assert found["parameters"] == sum(sizes.values())
        assert found["tensors"] == len(network.state_dict())
        assert found["dtypes"] == ["F16"]
        assert found["bytes"] == path.stat().st_size
        assert found["card"] == read_card(path).to_dict()

    def test_a_state_dict_is_described_without_a_card(self, tmp_path):
        path = tmp_path / "model.pt"
        save_state_dict(path, nn.Linear(3, 2), dtype=torch.float16)
        found = describe_weights(path)
        assert "of no layout" in found.pop("foreign")["why not"]
        assert found == {
            "format": "state dict",
            "bytes": path.stat().st_size,
            "tensors": 2,
            "parameters": 8,
            "parts": {"weight": 6, "bias": 2},
            "dtypes": ["torch.float32"],
            "card": None,
        }

    def test_a_safetensors_file_without_a_card_is_described(self, tmp_path):
        path = tmp_path / "other.safetensors"
        save_file({"a": torch.zeros(2, 3)}, path)
        assert describe_weights(path)["card"] is None
        assert describe_weights(path)["parameters"] == 6

    def test_a_card_without_a_network_builds_none(self):
        with pytest.raises(WeightsError, match="describes no network"):
            build_network(Card(network={}, channels=("T1",)))
