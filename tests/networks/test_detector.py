"""The detector, its anchors, and what its answers mean."""

import sys

import pytest
import torch
from monai.apps.detection.networks import retinanet_detector

from volseg.errors import GeometryError, WeightsError
from volseg.networks.anchored_boxes import AnchoredBoxes
from volseg.networks.card import Card
from volseg.networks.detector import Detector
from volseg.networks.residual import ResidualEncoder
from volseg.networks.vit import tiny as tiny_vit
from volseg.networks.weights import load_encoder, load_segmenter, save_weights, segmenter_parts

SIZE = (16, 8, 8)


def make(seed=0, encoder=None, **options):
    torch.manual_seed(seed)
    encoder = encoder or ResidualEncoder(1, (2, 4, 4))
    return Detector(encoder, **{"num_classes": 3, "width": 8, **options}).eval()


def test_every_anchor_of_every_level_has_an_answer_in_the_order_of_the_anchors():
    network = make(anchors=((4, 4, 4), (4, 8, 6)))
    x = torch.randn(2, 1, *SIZE)
    maps, output = network.maps(x), network(x)
    assert output.shape == (2, 2 + 6, 2 * (8 * 4 * 4 + 4 * 2 * 2))
    fine, coarse, _, offsets = maps
    # anchor 1 of the voxel (3, 2, 1) of the finest level, and class 1 of it
    place = (3 * 16 + 2 * 4 + 1) * 2 + 1
    assert output[1, 1, place] == fine[1, 1 * 2 + 1, 3, 2, 1]
    # anchor 0 of the voxel (1, 0, 1) of the coarser one, and its offset 4
    place = 8 * 4 * 4 * 2 + (1 * 4 + 0 * 2 + 1) * 2
    assert output[0, 2 + 4, place] == offsets[0, 4, 1, 0, 1]
    assert output[0, 0, place] == coarse[0, 0, 1, 0, 1]


def test_anchors_stand_in_the_middle_of_their_voxels_and_grow_with_the_strides():
    encoder = ResidualEncoder(1, (2, 4, 4), downsampling=((2, 2, 1), (2, 2, 2)))
    boxes = AnchoredBoxes(make(encoder=encoder, anchors=((4, 6, 2),)))
    counts, anchors = boxes._anchors((16, 8, 8), torch.device("cpu"))
    assert counts == [8 * 4 * 8, 4 * 2 * 4]
    # voxel (1, 0, 0) of stride (2, 2, 1) has its middle at (3, 1, 0.5), which MONAI floors
    assert anchors[4 * 8].tolist() == [1, -2, -1, 5, 4, 1]
    # voxel 0 of stride (4, 4, 2) has its middle at (2, 2, 1); anchors are (8, 12, 4) there
    assert anchors[8 * 4 * 8].tolist() == [-2, -4, -1, 6, 8, 3]


def test_a_sure_answer_of_one_anchor_becomes_its_box_cut_at_the_volume():
    network = make(anchors=((4, 4, 4),))
    output = torch.zeros(1, 2 + 6, 8 * 4 * 4 + 4 * 2 * 2)
    output[:, :2] = -20
    output[0, 1, 4 * 4] = 3  # the anchor around (3, 1, 1)
    (found,) = AnchoredBoxes(network).select(output, SIZE, (16, 8, 2))
    assert found["boxes"].tolist() == [[1, 0, 0, 5, 3, 2]]
    assert found["labels"].tolist() == [1]
    assert found["labels_scores"].tolist() == [pytest.approx(1 / (1 + 2.718281828**-3))]


def test_a_perfect_answer_has_nearly_no_loss_and_a_wrong_one_much():
    boxes = AnchoredBoxes(make(anchors=((4, 4, 4),)))
    boxes.prepare_training()
    target = {"boxes": torch.tensor([[1.0, 1, 1, 5, 5, 5]]), "labels": torch.tensor([1])}
    output = torch.zeros(1, 2 + 6, 8 * 4 * 4 + 4 * 2 * 2)
    _, anchors = boxes._anchors(SIZE, output.device)
    (numbers,) = boxes.compute_anchor_matched_idxs([anchors], [target], [8 * 4 * 4, 4 * 2 * 2])
    assert (numbers >= 0).any()
    output[0, :2] = -20
    output[0, 1, numbers >= 0] = 20
    aims = boxes.box_coder.encode_single(target["boxes"].expand(len(anchors), 6), anchors)
    output[0, 2:] = aims.T
    right = boxes.losses(output, SIZE, [target])
    assert sum(right.values()) < 1e-6
    wrong = boxes.losses(2 - output, SIZE, [target])
    assert min(wrong.values()) > 1


def test_a_lesion_that_lies_between_anchors_has_those_that_overlap_it_most():
    """ATSS gives it none: four candidates overlap it alike and four others less, and alike."""
    boxes = AnchoredBoxes(make(anchors=((6, 6, 6),)))
    boxes.prepare_training()
    _, anchors = boxes._anchors((16, 16, 16), torch.device("cpu"))
    lesions = torch.tensor([[1.0, 2, 8, 7, 8, 14], [9, 8, 1, 15, 14, 7]])
    counts = [8**3, 4**3]
    _, alone = boxes.proposal_matcher(lesions, anchors, counts, 1)
    assert set(alone.tolist()) == {-1, 0}
    (numbers,) = boxes.compute_anchor_matched_idxs([anchors], [{"boxes": lesions}], counts)
    assert torch.equal(numbers == 0, alone == 0)
    # middles of stride 2 are odd, and that of the lesion is (12, 11, 4)
    middles = anchors[numbers == 1].unflatten(1, (2, 3)).mean(1)
    assert middles.tolist() == [[x, 11, z] for x in (11, 13) for z in (3, 5)]


def test_a_crop_without_a_lesion_has_a_loss_of_classes_alone():
    boxes = AnchoredBoxes(make())
    boxes.prepare_training()
    nothing = {"boxes": torch.zeros(0, 6), "labels": torch.zeros(0, dtype=torch.int64)}
    found = boxes.losses(boxes.network(torch.randn(1, 1, *SIZE)), SIZE, [nothing])
    assert found["box_regression"] == 0
    assert found["classification"] > 0


def test_every_parameter_is_in_one_group():
    network = make()
    listed = [id(p) for group in network.layer_groups() for p in group]
    assert sorted(listed) == sorted(id(p) for p in network.parameters())


def test_it_is_saved_and_loaded_and_takes_the_encoder_of_others(tmp_path):
    network, x = make(), torch.randn(1, 1, *SIZE)
    path = tmp_path / "model.safetensors"
    save_weights(path, segmenter_parts(network), Card({}, ("CT",)))
    other, heir = make(1), make(2, num_classes=2)
    load_segmenter(other, path)
    assert torch.equal(other(x), network(x))
    receipt = load_encoder(heir, path)
    assert receipt.fraction == 1
    assert torch.equal(heir.encoder(x)[-1], network.encoder(x)[-1])
    assert all(name.startswith(("decoder.", "heads.")) for name in receipt.fresh)
    with pytest.raises(WeightsError, match="does not hold this network"):
        load_segmenter(heir, path)


def test_wrong_channels_and_what_makes_no_detector_are_refused():
    with pytest.raises(GeometryError, match="have 2 channels and the detector takes 1"):
        make()(torch.zeros(1, 2, *SIZE))
    with pytest.raises(GeometryError, match="levels that shrink the grid more and more"):
        Detector(tiny_vit(1, (16, 16, 16)))
    with pytest.raises(GeometryError, match="the finest level is 3"):
        make(finest=3)
    with pytest.raises(GeometryError, match="a width of 12 make no detector"):
        make(width=12)
    for anchors in ([], [(4, 4)], [(6, 1, 6)]):
        with pytest.raises(GeometryError, match="give shapes of three edges that are no smaller"):
            make(anchors=anchors)


def test_torchvision_is_neither_asked_nor_imported(monkeypatch):
    for name in ("Matcher", "BalancedPositiveNegativeSampler"):
        # no class, as what MONAI puts there where torchvision does not load: to ask for it fails
        monkeypatch.setattr(retinanet_detector, name, "torchvision")
    monkeypatch.setitem(sys.modules, "torchvision", None)  # an import of it fails
    boxes = AnchoredBoxes(make())
    boxes.prepare_training()
    target = {"boxes": torch.tensor([[2.0, 2, 2, 7, 7, 7]]), "labels": torch.tensor([1])}
    output = boxes.network(torch.randn(1, 1, *SIZE))
    sum(boxes.losses(output, SIZE, [target]).values()).backward()
    assert all(p.grad is not None for p in boxes.network.parameters())
    assert len(boxes.select(output.detach(), SIZE, SIZE)) == 1
