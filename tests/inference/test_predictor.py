"""A file in, a label map on its own grid out."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.inferers import SimpleInferer
from monai.transforms import Compose

from tests.inference.threshold import (
    CLASSES,
    Threshold,
    expected_labels,
    preprocessing,
    save_image,
    threshold_predictor,
)
from volseg.bundle import Bundle
from volseg.data import geometry
from volseg.data.pipelines import postprocessing
from volseg.data.reading import source_of
from volseg.errors import BundleError, DataError, GeometryError, WeightsError
from volseg.inference import predictor as predictor_module
from volseg.inference.predictor import Predictor
from volseg.inference.sliding_window import SlidingWindow
from volseg.networks.config import build


def oblique(degrees, spacing=(0.9, 1.1, 2.5)):
    """Give an affine that is turned about z and lies somewhere."""
    turn = np.deg2rad(degrees)
    rotation = np.array(
        [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
    )
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag(spacing)
    affine[:3, 3] = [-31.5, 12, 7]
    return affine


AFFINES = {
    "RAS": np.diag([1.0, 1, 2, 1]),
    "LPS": np.diag([-1.0, -1, 2, 1]),
    "IAL": np.array([[0, 0, -1.0, 3], [0, 2, 0, 4], [-3, 0, 0, 5], [0, 0, 0, 1]]),
    "oblique": oblique(20),
    "thick": np.diag([0.86, 0.86, 28.8, 1]),
}


@pytest.mark.parametrize("name", AFFINES)
def test_the_mask_lies_on_the_images_own_grid(tmp_path, name):
    path = tmp_path / "a.nii.gz"
    values = save_image(path, affine=AFFINES[name])
    prediction = threshold_predictor().predict(path)
    assert np.array_equal(prediction.labels, expected_labels(values))
    threshold_predictor().save(prediction, tmp_path / "out.nii.gz")
    image, mask = nib.load(path), nib.load(tmp_path / "out.nii.gz")
    assert np.allclose(mask.affine, image.affine)
    assert mask.header["sform_code"] == image.header["sform_code"]
    assert mask.header["qform_code"] == image.header["qform_code"]
    assert mask.get_data_dtype() == np.uint8
    assert np.array_equal(np.asanyarray(mask.dataobj), expected_labels(values))


def test_a_volume_smaller_than_the_window_is_segmented(tmp_path):
    values = save_image(tmp_path / "a.nii.gz", shape=(3, 9, 2))
    prediction = threshold_predictor().predict(tmp_path / "a.nii.gz")
    assert np.array_equal(prediction.labels, expected_labels(values))


def test_volumes_come_from_the_determinant_of_the_affine(tmp_path):
    # a sheared grid: the edges have lengths 1, sqrt(5) and 3 mm, the voxel holds 1 * 2 * 3 mm3
    affine = np.array([[1.0, 1, 0, 0], [0, 2, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1]])
    values = save_image(tmp_path / "a.nii.gz")
    prediction = threshold_predictor().predict(tmp_path / "a.nii.gz")
    sheared = predictor_module.Prediction(
        prediction.labels, geometry.Grid(values.shape, affine), tmp_path
    )
    voxels = np.bincount(expected_labels(values).ravel())
    volumes = sheared.volumes(CLASSES)
    assert list(volumes) == ["grey", "white"]
    assert volumes["grey"] == pytest.approx(voxels[1] * 6 / 1000)
    assert volumes["white"] == pytest.approx(voxels[2] * 6 / 1000)


def test_a_fourth_axis_of_one_is_no_axis(tmp_path):
    values = save_image(tmp_path / "a.nii.gz", shape=(9, 10, 11, 1))
    predictor = threshold_predictor()
    prediction = predictor.predict(tmp_path / "a.nii.gz")
    predictor.save(prediction, tmp_path / "mask.nii.gz")
    mask = nib.load(tmp_path / "mask.nii.gz")
    assert np.array_equal(np.asanyarray(mask.dataobj), expected_labels(values[..., 0]))


def test_a_class_that_nothing_shows_has_no_volume(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)), tmp_path / "a.nii.gz")
    prediction = threshold_predictor().predict(tmp_path / "a.nii.gz")
    assert prediction.volumes(CLASSES) == {"grey": 0, "white": 0}


def test_the_network_runs_in_evaluation_without_gradients(tmp_path):
    class Probe(Threshold):
        def forward(self, x):
            assert not self.training
            assert not torch.is_grad_enabled()
            return super().forward(x)

    save_image(tmp_path / "a.nii.gz")
    predictor = Predictor(Probe().train(), preprocessing(), SimpleInferer(), CLASSES)
    predictor.predict(tmp_path / "a.nii.gz")


def test_classes_must_be_those_of_the_network(tmp_path):
    save_image(tmp_path / "a.nii.gz")
    names = {0: "background", 1: "grey"}
    predictor = Predictor(Threshold(), preprocessing(), SlidingWindow((8, 8, 8)), names)
    with pytest.raises(WeightsError, match="gives 3 classes and 2 are named: background, grey"):
        predictor.predict(tmp_path / "a.nii.gz")


def test_label_values_must_be_consecutive():
    with pytest.raises(BundleError, match=r"label values are \[0, 1, 4\]; use 0 to 2"):
        Predictor(Threshold(), preprocessing(), SlidingWindow((8, 8, 8)), {0: "a", 1: "b", 4: "c"})


@pytest.fixture
def bundle(tmp_path):
    """Give a bundle of a tiny network, with random but fixed weights."""
    root = tmp_path / "tiny_segmentation"
    network = {
        "_target_": "volseg.networks.segmenter.Segmenter",
        "encoder": {"_target_": "volseg.networks.residual.tiny", "in_channels": 1},
        "num_classes": 3,
    }
    inference = {
        "bundle_root": ".",
        "network_def": network,
        "overlap": 0.5,
        "preprocessing": {"_target_": "volseg.data.pipelines.preprocessing", "spacing": [2, 2, 2]},
        "inferer": {
            "_target_": "volseg.inference.sliding_window.SlidingWindow",
            "roi_size": [16, 16, 16],
            "overlap": "@overlap",
        },
    }
    names = {str(value): name for value, name in CLASSES.items()}
    metadata = {"network_data_format": {"outputs": {"pred": {"channel_def": names}}}}
    for name, content in (("inference", inference), ("metadata", metadata)):
        (root / "configs").mkdir(parents=True, exist_ok=True)
        (root / "configs" / f"{name}.json").write_text(json.dumps(content))
    torch.manual_seed(0)
    (root / "models").mkdir()
    torch.save(build(network).state_dict(), root / "models" / "model.pt")
    return Bundle.find(root)


def test_a_bundle_gives_its_network_with_its_weights(bundle, tmp_path):
    predictor = Predictor.from_bundle(bundle)
    saved = torch.load(bundle.weights(), weights_only=True)
    assert all(
        torch.equal(saved[name], value) for name, value in predictor.network.state_dict().items()
    )
    assert predictor.classes == CLASSES
    assert predictor.inferer.roi_size == (16, 16, 16)
    values = save_image(tmp_path / "a.nii.gz", shape=(20, 30, 25), affine=AFFINES["oblique"])
    labels = predictor.predict(tmp_path / "a.nii.gz").labels
    assert labels.shape == values.shape
    assert len(np.unique(labels)) > 1
    assert np.array_equal(
        Predictor.from_bundle(bundle.root).predict(tmp_path / "a.nii.gz").labels, labels
    )


def test_the_predictor_agrees_with_the_bundles_own_postprocessing(bundle, tmp_path):
    """MONAI's inversion of the same transforms, which `monai.bundle run` and MONAI Label use."""
    save_image(tmp_path / "a.nii.gz", shape=(20, 30, 25), affine=AFFINES["oblique"])
    predictor = Predictor.from_bundle(bundle)
    data = predictor.preprocessing({"image": str(tmp_path / "a.nii.gz")})
    data["pred"] = predictor.inferer(data["image"][None], predictor.network)[0]
    inverted = postprocessing(predictor.preprocessing)(data)["pred"][0]
    labels = predictor.predict(tmp_path / "a.nii.gz").labels
    # the two treat the half voxel at the border differently
    inner = (slice(3, -3),) * 3
    assert (np.asarray(inverted)[inner] == labels[inner]).mean() > 0.999


def test_values_of_a_bundle_can_be_replaced(bundle):
    assert Predictor.from_bundle(bundle, overrides={"overlap": 0.25}).inferer.overlap == 0.25


def test_other_weights_than_those_of_the_bundle_are_refused(bundle):
    with pytest.raises(BundleError, match=r"weights cannot be set: they are .*model"):
        Predictor.from_bundle(bundle, overrides={"weights": "other.safetensors"})


def test_a_bundle_without_weights_is_refused(bundle):
    bundle.weights().unlink()
    with pytest.raises(BundleError, match="has no weights"):
        Predictor.from_bundle(bundle)


def test_weights_of_another_network_are_refused(bundle):
    torch.save(torch.nn.Linear(2, 2).state_dict(), bundle.weights())
    with pytest.raises(WeightsError):
        Predictor.from_bundle(bundle)


HOSTILE = {
    "01_truncated_gzip.nii.gz": False,
    "02_zero_byte.nii.gz": False,
    "03_text_renamed.nii.gz": False,
    "05_4d_time_series.nii.gz": False,
    "07_singular_affine.nii.gz": False,
    "08_zero_spacing.nii.gz": False,
    "11_rgb24.nii.gz": False,
    "12_huge_dims_little_data.nii.gz": False,
    "09_extreme_anisotropy.nii.gz": True,
    "10_uint16_scl_slope.nii.gz": True,
    "16_no_affine_codes.nii.gz": True,
    "17_constant_zero.nii.gz": True,
    "18_int64_image.nii.gz": True,
}


@pytest.mark.real
@pytest.mark.parametrize(("name", "is_usable"), HOSTILE.items())
def test_real_oddities_are_segmented_on_their_grid_or_refused(
    shared_data, tmp_path, name, is_usable
):
    path: Path = shared_data / "hostile" / name
    predictor = threshold_predictor(window=64)
    if not is_usable:
        with pytest.raises(DataError) as error:
            predictor.predict(path)
        assert name in str(error.value)
        assert "\n" not in str(error.value)
        return
    prediction = predictor.predict(path)
    predictor.save(prediction, tmp_path / name)
    image, mask = nib.load(path), nib.load(tmp_path / name)
    assert np.array_equal(prediction.labels, expected_labels(image.get_fdata()))
    assert mask.shape == image.shape
    assert np.array_equal(mask.affine, image.affine)


def test_an_array_gives_an_array_and_no_file_is_touched():
    values = np.random.default_rng(0).choice([0, 150, 250], size=(9, 10, 11)).astype(np.int16)
    for affine in AFFINES.values():
        labels = threshold_predictor().predict_array(values, affine)
        assert np.array_equal(labels, expected_labels(values))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((4, 5)), r"shape \(4, 5\) and type float64 is no volume"),
        (np.zeros((4, 5, 6), np.complex64), "type complex64 is no volume"),
        (np.zeros((0, 5, 6)), r"shape \(0, 5, 6\)"),
    ],
)
def test_an_array_that_is_no_volume_is_refused(values, message):
    with pytest.raises(DataError, match=message):
        threshold_predictor().predict_array(values, np.eye(4))


def test_an_array_without_a_place_is_refused():
    with pytest.raises(GeometryError, match="cannot be inverted"):
        threshold_predictor().predict_array(np.zeros((4, 5, 6)), np.zeros((4, 4)))


def test_a_network_of_several_channels_takes_one_source_each(tmp_path):
    class Sum(Threshold):
        def forward(self, x):
            return super().forward(x.sum(1, keepdim=True))

    predictor = Predictor(Sum(), preprocessing(), SlidingWindow((8, 8, 8)), CLASSES)
    first = save_image(tmp_path / "a.nii.gz", seed=1)
    second = save_image(tmp_path / "b.nii.gz", seed=2)
    sources = [source_of(tmp_path / name) for name in ("a.nii.gz", "b.nii.gz")]
    assert np.array_equal(predictor.predict(sources).labels, expected_labels(first + second))
    paths = [str(tmp_path / name) for name in ("a.nii.gz", "b.nii.gz")]
    assert np.array_equal(predictor.predict(paths).labels, expected_labels(first + second))
    save_image(tmp_path / "c.nii.gz", affine=np.diag([1, 1, 3, 1]))
    with pytest.raises(GeometryError, match="they must share a grid"):
        predictor.predict([sources[0], source_of(tmp_path / "c.nii.gz")])


def test_a_preprocessing_that_reads_elsewhere_is_refused():
    with pytest.raises(BundleError, match="does not begin with LoadImaged"):
        Predictor(Threshold(), Compose([]), SlidingWindow((8, 8, 8)), CLASSES)


def test_labels_can_be_had_on_another_grid_and_lie_where_they_did():
    affine = np.diag([1.0, 1, 2, 1])
    values = np.zeros((8, 8, 8), np.float32)
    values[2:6, 2:6, 2:6] = 150
    fine = geometry.Grid(
        (16, 16, 16),
        np.array([[0.5, 0, 0, -0.25], [0, 0.5, 0, -0.25], [0, 0, 1, -0.5], [0, 0, 0, 1]]),
    )
    found = threshold_predictor().predict_on(fine, (values, affine)).labels
    inner = np.zeros((16, 16, 16), bool)
    inner[5:11, 5:11, 5:11] = True
    outer = np.zeros((16, 16, 16), bool)
    outer[3:13, 3:13, 3:13] = True
    assert (found[inner] == 1).all()
    assert not found[~outer].any()
