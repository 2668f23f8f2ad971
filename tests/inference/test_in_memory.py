"""Images in memory: a label map of the same kind comes back, on the same grid."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name that its own documentation uses
import torch
from monai.data import MetaTensor

from tests.inference.test_predictor import AFFINES
from tests.inference.threshold import (
    CLASSES,
    Threshold,
    expected_labels,
    preprocessing,
    threshold_predictor,
)
from volseg.errors import DataError
from volseg.inference.in_memory import is_in_memory, segment_images
from volseg.inference.predictor import Predictor
from volseg.inference.sliding_window import SlidingWindow

SHAPE = (9, 10, 11)


def noise(seed=0):
    return np.random.default_rng(seed).choice([0, 150, 250], size=SHAPE).astype(np.int16)


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
def test_a_pair_gives_an_array_or_a_tensor(affine):
    labels = threshold_predictor().predict_image((noise(), affine))
    assert isinstance(labels, np.ndarray)
    assert np.array_equal(labels, expected_labels(noise()))
    pair = torch.from_numpy(noise()), torch.from_numpy(affine)
    tensor = threshold_predictor().predict_image(pair)
    assert type(tensor) is torch.Tensor
    assert np.array_equal(tensor.numpy(), expected_labels(noise()))


def test_half_precision_and_a_channel_axis_are_taken():
    values = torch.from_numpy(noise().astype(np.float32))
    for tensor in (values.half(), values.bfloat16(), values[None]):
        labels = threshold_predictor().predict_image((tensor, np.eye(4)))
        assert np.array_equal(labels.numpy(), expected_labels(noise()))


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
def test_an_image_of_nibabel_keeps_its_affine_and_codes(affine):
    image = nib.Nifti1Image(noise()[..., None], affine)
    image.set_sform(affine, code=4)
    image.set_qform(affine, code=2)
    mask = threshold_predictor().predict_image(image)
    assert type(mask) is nib.Nifti1Image
    assert np.array_equal(np.asanyarray(mask.dataobj), expected_labels(noise()))
    assert np.array_equal(mask.affine, image.affine)
    assert (mask.header["sform_code"], mask.header["qform_code"]) == (4, 2)
    assert mask.get_data_dtype() == np.uint8


def test_another_format_of_nibabel_gives_nifti():
    image = nib.freesurfer.MGHImage(noise().astype(np.float32), AFFINES["LPS"])
    mask = threshold_predictor().predict_image(image)
    assert type(mask) is nib.Nifti1Image
    assert np.allclose(mask.affine, image.affine)


def itk_image(values):
    image = sitk.GetImageFromArray(values.T)
    image.SetSpacing((0.7, 1.3, 2.9))
    image.SetOrigin((-5, 6, 7))
    image.SetDirection((0, -1, 0, 1, 0, 0, 0, 0, 1))
    return image


def test_an_image_of_simpleitk_keeps_spacing_origin_and_direction():
    image = itk_image(noise())
    mask = threshold_predictor().predict_image(image)
    assert np.array_equal(sitk.GetArrayFromImage(mask).T, expected_labels(noise()))
    assert mask.GetSpacing() == image.GetSpacing()
    assert mask.GetOrigin() == image.GetOrigin()
    assert mask.GetDirection() == image.GetDirection()


def test_the_same_image_in_any_library_gives_the_same_labels():
    """The network sees one grid: left and right are where they are, whatever the library's axes."""

    class Place(torch.nn.Module):
        def forward(self, x):
            along = torch.arange(x.shape[2], device=x.device).view(1, 1, -1, 1, 1).expand_as(x)
            return torch.cat([along * 0.0, along - 4.5, along * 0.0 - 1], dim=1)

    inferer = SlidingWindow((16, 16, 16))
    predictor = Predictor(Place(), preprocessing(), inferer, CLASSES)
    image = itk_image(noise())
    turned = np.array([[0, -1.0, 0], [1, 0, 0], [0, 0, 1]]) * [0.7, 1.3, 2.9]
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turned, (-5, 6, 7)
    ras = np.diag([-1.0, -1, 1, 1]) @ affine
    expected = predictor.predict_image((noise(), ras))
    assert expected.min() < expected.max()
    found = sitk.GetArrayFromImage(predictor.predict_image(image)).T
    assert np.array_equal(found, expected)
    lps = MetaTensor(torch.from_numpy(noise()), affine=affine, meta={"space": "LPS"})
    assert np.array_equal(predictor.predict_image(lps).numpy(), expected)


def test_a_metatensor_keeps_affine_and_channel_axis():
    image = MetaTensor(torch.from_numpy(noise())[None], affine=AFFINES["oblique"])
    labels = threshold_predictor().predict_image(image)
    assert isinstance(labels, MetaTensor)
    assert labels.shape == (1, *SHAPE)
    assert np.array_equal(labels[0].numpy(), expected_labels(noise()))
    assert np.array_equal(labels.affine.numpy(), AFFINES["oblique"])


class Difference(Threshold):
    """Takes two channels, of which the order matters."""

    def forward(self, x):
        return super().forward(x[:, :1] - x[:, 1:])


def test_channels_by_name_come_in_the_networks_order():
    predictor = Predictor(Difference(), preprocessing(), SlidingWindow((8, 8, 8)), CLASSES)
    more, less = (noise() + 100, np.eye(4)), (np.full(SHAPE, 100, np.int16), np.eye(4))
    labels = segment_images({"FLAIR": less, "T1Gd": more}, predictor, ["t1c", "flair"])
    assert np.array_equal(labels, expected_labels(noise()))
    with pytest.raises(DataError, match="channels are t1c, t2; give t1c, flair"):
        segment_images({"t1c": more, "t2": less}, predictor, ["t1c", "flair"])


def test_a_list_gives_a_list():
    images = [(noise(seed), np.eye(4)) for seed in range(3)]
    labels = segment_images(images, threshold_predictor(), ["MRI"])
    for seed, found in enumerate(labels):
        assert np.array_equal(found, expected_labels(noise(seed)))


def test_images_are_told_from_paths(tmp_path):
    assert not any(map(is_in_memory, ["a", tmp_path, [tmp_path, "a"], ("a", "b"), []]))
    pair = noise(), np.eye(4)
    image = nib.Nifti1Image(*pair)
    assert all(map(is_in_memory, [pair, [pair], image, [image, image], {"t1": image}]))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (noise(), "ndarray is no image; give a pair of voxels and affine"),
        (sitk.Image([4, 4, 4], sitk.sitkVectorFloat32, 2), "holds colours or vectors"),
        (sitk.Image([4, 4], sitk.sitkFloat32), r"shape \(4, 4\) and type float32 is no volume"),
        (nib.Nifti1Image(np.zeros((4, 4, 4, 2), np.int16), np.eye(4)), "a 4th axis, which is time"),
    ],
)
def test_what_is_no_image_is_refused(image, message):
    with pytest.raises(DataError, match=message):
        threshold_predictor().predict_image(image)
    with pytest.raises(DataError, match="no image; give a pair"):
        threshold_predictor().predict_image()


def test_what_is_unusual_is_logged(caplog):
    threshold_predictor().predict_image((np.full(SHAPE, 7.0), np.eye(4)))
    assert "image in memory: is constant: every voxel is 7" in caplog.text
