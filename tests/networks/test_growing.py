"""Trained weights grow, and the larger network computes the same and learns with all of it."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from tests.benchmarks.grow_weights import grow, grown_card, main
from tests.benchmarks.mean_weights import loaded
from volseg.networks.card import Card
from volseg.networks.weights import build_network, save_weights, segmenter_parts

CARD = Card(
    {
        "_target_": "volseg.networks.segmenter.Segmenter",
        "encoder": {
            "_target_": "volseg.networks.residual.ResidualEncoder",
            "in_channels": 2,
            "widths": [4, 8, 12],
            "blocks": [1, 2, 1],
            "patch": [2, 2, 2],
        },
        "decoder": {
            "_target_": "volseg.networks.decoder_subpixel.SubpixelDecoder",
            "_mode_": "callable",
        },
        "num_classes": 2,
    },
    ("MRI", "MRI mirrored"),
)


@pytest.fixture
def small():
    """Give a network with weights that are not those of its start."""
    torch.manual_seed(0)
    network = build_network(CARD)
    with torch.no_grad():
        for value in network.parameters():
            value.add_(0.1 * torch.randn_like(value))
    return network.eval()


def grown(small, widths, blocks):
    """Give a larger network that computes what the small one does."""
    large = build_network(grown_card(CARD, list(widths), list(blocks)))
    grow(small, large)
    return large.eval()


def difference(small, large, image):
    """Give the largest difference of two networks' maps, over the spread of the first's."""
    with torch.no_grad():
        maps = zip(small(image, is_deep=True), large(image, is_deep=True), strict=True)
        return max(float((first - second).abs().max() / first.std()) for first, second in maps)


@pytest.mark.parametrize(
    ("widths", "blocks", "tolerance"),
    [
        ((4, 8, 12), (1, 2, 1), 1e-6),
        ((6, 8, 20), (1, 2, 1), 1e-4),
        ((6, 9, 20), (2, 3, 1), 0.1),
    ],
)
def test_a_grown_network_computes_the_same(small, widths, blocks, tolerance):
    large = grown(small, widths, blocks)
    assert large.encoder.spec.channels == widths
    image = torch.randn(1, 2, 16, 16, 24)
    assert difference(small, large, image) < tolerance


def test_what_is_new_learns(small):
    large = grown(small, (6, 9, 20), (1, 3, 1))
    optimizer = torch.optim.Adam(large.parameters(), lr=0.01)
    image, label = torch.randn(2, 2, 16, 16, 24), torch.randint(0, 2, (2, 16, 16, 24))
    before = {name: value.detach().clone() for name, value in large.named_parameters()}
    for _ in range(4):  # the first gives new channels someone who listens
        optimizer.zero_grad()
        outputs = large(image, is_deep=True)
        sum(functional.cross_entropy(each, label) for each in outputs).backward()
        optimizer.step()
    for name, value in large.named_parameters():
        moved = value.detach() != before[name]
        if value.ndim == 5:
            assert moved.flatten(1).any(dim=1).all(), name


def test_a_grown_file_says_what_it_holds(small, tmp_path):
    save_weights(tmp_path / "small.safetensors", segmenter_parts(small), CARD)
    paths = [str(tmp_path / name) for name in ("small.safetensors", "large.safetensors")]
    main([paths[0], "--widths", "6", "8", "20", "--blocks", "1", "2", "2", "--output", paths[1]])
    large = loaded(Path(paths[1]))
    assert large.encoder.spec.channels == (6, 8, 20)
    assert difference(small, large.eval(), torch.randn(1, 2, 16, 16, 24)) < 0.1


@pytest.mark.parametrize(
    ("widths", "blocks", "message"),
    [
        (["3", "8", "12"], ["1", "2", "1"], "widths are [3, 8, 12]"),
        (["6", "9"], ["1", "2"], "give as many, none smaller"),
        (["6", "9", "20"], ["1", "1", "1"], "blocks are [1, 1, 1]"),
    ],
)
def test_a_network_that_would_shrink_is_refused(small, tmp_path, capsys, widths, blocks, message):
    save_weights(tmp_path / "small.safetensors", segmenter_parts(small), CARD)
    output = tmp_path / "large.safetensors"
    command = [str(tmp_path / "small.safetensors"), "--output", str(output)]
    with pytest.raises(SystemExit):
        main([*command, "--widths", *widths, "--blocks", *blocks])
    assert message in capsys.readouterr().err
    assert not output.exists()
