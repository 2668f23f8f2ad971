"""A resection runs where its image is, one head or a batch of them."""

from dataclasses import replace

import pytest
import torch

from tests.transforms.resection.elsewhere import DEVICE, Elsewhere, send
from tests.transforms.resection.test_resect import FLAP, FULL, HEAD, IMAGE, cavity_of
from volseg.errors import DataError
from volseg.transforms.resection.batch import resect_batch
from volseg.transforms.resection.cavity import RESECTOR, Cavity, CompatContent, Shift
from volseg.transforms.resection.resect import resect
from volseg.transforms.resection.statistics import measure_statistics

RICH = cavity_of(FULL, shift=Shift(collapse=2.0, sag=3.0), flap=FLAP)
CUT = replace(RICH, solids=(replace(RICH.solids[0], lobe=1, corridor=3.0, tissue=6),))
COMPAT = replace(
    cavity_of(FULL),
    side=1,
    solids=(replace(RICH.solids[0], roughness=1.0, law=RESECTOR),),
    compat=CompatContent((0.7, 0.6, 0.9), has_lesion=True, smoothing=0.5),
)
COMPAT = replace(COMPAT, compat=replace(COMPAT.compat, clot=COMPAT.solids[0]))
CAVITIES = (RICH, cavity_of(volume=6.0), Cavity())
IMAGES = torch.stack([torch.cat([IMAGE, 200 - IMAGE]), torch.cat([0.5 * IMAGE, 90 + IMAGE])])
CONTRASTS = (("T1", "T2"), ("T1", "unknown"))


def test_the_other_device_meets_no_tensor_of_the_cpu():
    with Elsewhere():
        there = torch.ones(3, device=DEVICE)
        assert (there + send(torch.ones(3))).cpu().tolist() == [2, 2, 2]
        with pytest.raises(RuntimeError, match="tensors of two devices"):
            there + torch.ones(3)


@pytest.mark.parametrize("cavity", [RICH, CUT, COMPAT], ids=["free", "in a lobe", "compat"])
def test_a_resection_runs_on_the_device_of_its_image(cavity):
    here = resect(IMAGE, HEAD, cavity, ["T1"])
    with Elsewhere():
        there = resect(send(IMAGE), HEAD, cavity, ["T1"])
        devices = {each.device for each in (there.image, there.mask, *there.layers.values())}
        image, mask = there.image.cpu(), there.mask.cpu()
        layers = {name: layer.cpu() for name, layer in there.layers.items()}
    assert devices == {DEVICE}
    assert torch.equal(image, here.image)
    assert torch.equal(mask, here.mask)
    assert layers.keys() == here.layers.keys()
    assert all(torch.equal(layers[name], here.layers[name]) for name in layers)
    assert int(mask.sum()) > 100


def test_a_batch_has_the_device_of_its_images():
    with Elsewhere():
        images, masks = resect_batch(
            send(IMAGES), (HEAD, HEAD), CAVITIES[:2], CONTRASTS, in_place=False
        )
        assert {images.device, masks.device} == {DEVICE}
        images, masks = images.cpu(), masks.cpu()
    again = resect_batch(IMAGES, (HEAD, HEAD), CAVITIES[:2], CONTRASTS)
    assert torch.equal(images, again[0])
    assert torch.equal(masks, again[1])


@pytest.mark.parametrize("is_measured", [True, False])
def test_a_batch_is_each_of_its_heads_alone(is_measured):
    heads, cavities = [HEAD] * 3, CAVITIES
    images = torch.cat([IMAGES, IMAGES[:1]])
    contrasts = (*CONTRASTS, CONTRASTS[0])
    scales = [[measure_statistics(each, HEAD) for each in image] for image in images]
    given = scales if is_measured else None
    before = images.clone()
    results, masks = resect_batch(images, heads, cavities, contrasts, given)
    assert torch.equal(images, before)
    for index, image in enumerate(images):
        alone = resect(image, HEAD, cavities[index], contrasts[index], scales[index])
        assert torch.equal(results[index], alone.image)
        assert torch.equal(masks[index], alone.mask)
    assert int(masks[1].sum()) == 6000
    assert int(masks[2].sum()) == 0


def test_a_batch_is_painted_in_place_if_told_so():
    images = IMAGES.clone()
    results, _ = resect_batch(images, [HEAD] * 2, CAVITIES[:2], CONTRASTS, in_place=True)
    assert results.data_ptr() == images.data_ptr()
    assert not torch.equal(images, IMAGES)


def test_a_batch_of_unequal_parts_is_refused():
    with pytest.raises(DataError, match=r"there are \[2, 1, 2\] maps, cavities, contrasts"):
        resect_batch(IMAGES, [HEAD] * 2, CAVITIES[:1], CONTRASTS)
    with pytest.raises(DataError, match=r"use \(B, C, D, H, W\)"):
        resect_batch(IMAGES[0], [HEAD] * 2, CAVITIES[:2], CONTRASTS)
