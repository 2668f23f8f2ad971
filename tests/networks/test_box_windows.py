"""A detector over whole volumes."""

import pytest
import torch
from torch import Tensor

from volseg.errors import GeometryError
from volseg.networks.anchored_boxes import AnchoredBoxes
from volseg.networks.box_windows import BoxWindows
from volseg.networks.detector import Detector
from volseg.networks.encoder import Encoder, FeatureSpec
from volseg.networks.residual import ResidualEncoder


class Averaging(Encoder):
    """Means over blocks: what it says of a place does not depend on the window."""

    spec = FeatureSpec(1, (1, 1), ((2, 2, 2), (4, 4, 4)), mask_mode="fill", divisor=(4, 4, 4))

    def forward(self, x, mask=None):
        return [torch.nn.functional.avg_pool3d(x, step) for step in (2, 4)]

    def layer_groups(self):
        return []


class Bright(Detector):
    """Says that there is a box around each bright block of the finest level."""

    def __init__(self):
        super().__init__(Averaging(), anchors=((4, 4, 4),), finest=0, width=8)

    def maps(self, x: Tensor) -> list[Tensor]:
        fine, coarse = self.encoder(x)
        offsets = [torch.zeros(len(x), 6, *level.shape[2:]) for level in (fine, coarse)]
        return [20 * fine - 10, torch.full_like(coarse, -20), *offsets]


def spots(size, places):
    volume = torch.zeros(1, 1, *size)
    for x, y, z in places:
        volume[0, 0, x : x + 2, y : y + 2, z : z + 2] = 1
    return volume


PLACES = [(2, 4, 6), (14, 10, 2), (26, 18, 8)]


@pytest.mark.parametrize("overlap", [0, 0.3, 0.5, 0.75])
def test_boxes_are_where_they_are_in_the_volume_whatever_the_windows(overlap):
    volume = spots((29, 21, 11), PLACES)  # no multiple of the divisor
    found = BoxWindows((8, 16, 8), overlap)(volume, Bright())
    assert found.shape == (1, 3, 8)
    boxes = sorted(found[0, :, :6].tolist())
    assert boxes == [
        [x - 1, y - 1, z - 1, x + 3, min(y + 3, 21), min(z + 3, 11)] for x, y, z in PLACES
    ]
    assert found[0, :, 6].tolist() == pytest.approx([1 / (1 + 2.718281828**-10)] * 3, abs=1e-6)
    assert found[0, :, 7].tolist() == [0, 0, 0]


def test_a_volume_of_one_window_is_what_the_network_says_of_it():
    torch.manual_seed(0)
    network = Detector(ResidualEncoder(1, (2, 4, 4)), width=8).eval()
    volume = torch.randn(1, 1, 16, 8, 8)
    found = BoxWindows((16, 8, 8), least_score=0.0)(volume, network)
    boxes = AnchoredBoxes(network, least_score=0.0)
    (expected,) = boxes.select(network(volume).detach(), (16, 8, 8), (16, 8, 8))
    assert torch.allclose(found[0, :, :6], expected["boxes"], atol=1e-4)
    assert torch.allclose(found[0, :, 6], expected["labels_scores"], atol=1e-5)


def test_without_a_box_there_is_none():
    assert BoxWindows((8, 8, 8))(torch.zeros(1, 1, 9, 9, 9), Bright()).shape == (1, 0, 8)


def test_of_boxes_on_top_of_each_other_the_best_stays():
    volume = spots((16, 16, 16), [(4, 4, 4)])
    volume[0, 0, 6:8, 4:6, 4:6] = 0.9  # its box shares a third of both
    assert len(BoxWindows((16, 16, 16), nms=0.4)(volume, Bright())[0]) == 2
    found = BoxWindows((16, 16, 16), nms=0.3)(volume, Bright())[0]
    assert found[:, :6].tolist() == [[3, 3, 3, 7, 7, 7]]


def test_what_cannot_be_is_refused():
    with pytest.raises(GeometryError, match=r"overlap is 1.0; use a share"):
        BoxWindows((8, 8, 8), 1.0)
    with pytest.raises(GeometryError, match="2 volumes at once; give one"):
        BoxWindows((8, 8, 8))(torch.zeros(2, 1, 8, 8, 8), Bright())
    with pytest.raises(GeometryError, match=r"size \(8, 6, 8\) is not a multiple"):
        BoxWindows((8, 6, 8))(torch.zeros(1, 1, 8, 8, 8), Bright())
