"""The demo: what it trains on, what it tests on, and what it shows."""

import json
import re

import nibabel as nib
import numpy as np
import pytest
import torch

from volseg.errors import DataError, VolsegError
from volseg.workflows import demo as demo_module
from volseg.workflows.demo import demo
from volseg.workflows.demo_data import behind, first_in_front, write_data
from volseg.workflows.demo_report import dice_table, write_page
from volseg.workflows.demo_settings import DemoSettings
from volseg.workflows.page import Section, Table

TINY = DemoSettings(
    spacing=(6.0, 6.0, 6.0),
    patch_size=(16, 16, 16),
    block=4,
    pretraining_epochs=3,
    finetuning_epochs=2,
    epoch_length=3,
    device="cpu",
    progress=False,
)
AFFINE = np.diag([1.0, 2.0, 1.0, 1.0])
AFFINE[1, 3] = -10  # rows lie at -10, -8, -6, ... mm


def voxels(path):
    return np.asarray(nib.load(path).dataobj)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    pytest.importorskip("nilearn", reason="the template comes with nilearn")
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    pytest.importorskip("nilearn", reason="the template comes with nilearn")
    output = tmp_path_factory.mktemp("demo") / "output"
    return output, demo(output, TINY)


def test_a_plane_between_rows_parts_them_without_a_rest():
    marked = behind((2, 6, 2), AFFINE, -5.0)
    assert marked[:, :3].all()
    assert not marked[:, 3:].any()
    assert first_in_front((2, 6, 2), AFFINE, -5.0) == 3


def test_a_row_on_the_plane_is_in_front_of_it():
    assert not behind((1, 6, 1), AFFINE, -6.0)[0, 2, 0]
    assert first_in_front((1, 6, 1), AFFINE, -6.0) == 2


def test_the_template_is_symmetric_so_its_halves_are_no_train_and_test(data):
    image = voxels(data.image)
    assert np.array_equal(image, image[::-1])


def test_the_front_is_a_part_of_the_template_and_shows_nothing_of_the_test(data):
    front = nib.load(data.front_image)
    first = voxels(data.image).shape[1] - front.shape[1]
    assert np.array_equal(voxels(data.front_image), voxels(data.image)[:, first:])
    assert np.array_equal(voxels(data.front_label), voxels(data.label)[:, first:])
    assert not data.test_voxels()[:, first - 9 :].any()  # a gap of 1 cm
    place = front.affine @ [5, 7, 9, 1]
    assert np.allclose(place, nib.load(data.image).affine @ [5, 7 + first, 9, 1])


def test_the_classes_have_the_volumes_of_an_adult_brain(data):
    _, grey, white = np.bincount(voxels(data.label).ravel()) / 1e6  # litres, 1 mm voxels
    assert 0.8 < grey < 1.3
    assert 0.4 < white < 0.8


def test_a_table_shows_every_class_and_their_mean():
    table = dice_table({"a": {"x": 0.5, "y": 1.0}, "bcd": {"x": 0.25, "y": 0.75}})
    assert table.to_text().splitlines() == [
        "Dice on the back      x      y   mean",
        "a                 0.500  1.000  0.750",
        "bcd               0.250  0.750  0.500",
    ]


def test_what_a_page_shows_is_escaped(tmp_path):
    section = Section("a < b", text="1 & 2", table=Table(["<i>"], [["<b>"]]))
    write_page(tmp_path / "index.html", [section])
    page = (tmp_path / "index.html").read_text()
    assert "a &lt; b" in page
    assert "1 &amp; 2" in page
    assert "<td>&lt;b&gt;</td>" in page
    assert "<th>&lt;i&gt;</th>" in page


def test_the_axial_picture_has_the_front_above_and_the_left_on_the_left():
    from volseg.workflows.demo_pictures import _cut_open

    volume = np.zeros((3, 4, 2))
    volume[0, 3, 1] = 1  # first in X (left in RAS), last in Y (front)
    assert _cut_open(volume, 2, 1)[0, 0] == 1


def test_without_its_extras_the_demo_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(demo_module, "find_spec", lambda name: None)
    with pytest.raises(VolsegError, match=r"matplotlib and nilearn.*volseg\[demo\]"):
        demo(tmp_path)


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match=r"not empty.*--overwrite"):
        demo(tmp_path, TINY)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.slow
class TestFinishedDemo:
    def test_masks_lie_on_the_grid_of_the_template(self, finished, data):
        output, _ = finished
        template = nib.load(data.image)
        masks = list((output / "masks").rglob("*.nii.gz"))
        assert len(masks) == 2
        for path in masks:
            mask = nib.load(path)
            assert mask.shape == template.shape
            assert np.array_equal(mask.affine, template.affine)
            assert set(np.unique(voxels(path))) <= {0, 1, 2}

    def test_the_table_is_the_dice_of_the_masks_on_the_back(self, finished, data):
        output, result = finished
        back = data.test_voxels()
        reference = voxels(data.label)[back]
        for arm, folder in (("pretrained", "pretrained"), ("from scratch", "from_scratch")):
            (path,) = (output / "masks" / folder).glob("*.nii.gz")
            mask = voxels(path)[back]
            for value, name in ((1, "grey matter"), (2, "white matter")):
                overlap = 2 * ((mask == value) & (reference == value)).sum()
                expected = overlap / ((mask == value).sum() + (reference == value).sum())
                assert result.scores[arm][name] == pytest.approx(expected, abs=1e-6)

    def test_the_page_shows_files_that_are_there(self, finished):
        output, result = finished
        page = result.page.read_text()
        pictures = re.findall(r'<img src="([^"]+)"', page)
        assert sorted(pictures) == ["curves.png", "overlay.png", "reconstruction.png"]
        for name in pictures:
            assert (output / name).read_bytes().startswith(b"\x89PNG")
        for dice in result.scores.values():
            for value in dice.values():
                assert f"<td>{value:.3f}</td>" in page

    def test_the_record_says_what_the_result_says(self, finished):
        output, result = finished
        written = json.loads((output / "run.json").read_text())["results"]
        assert written["dice"] == result.scores
        assert written["pretraining_losses"] == result.pretraining_losses
        assert len(result.pretraining_losses) == TINY.pretraining_epochs

    def test_the_arms_differ_in_the_weights_that_were_pretrained_and_in_no_others(self, finished):
        from volseg.networks.residual import tiny
        from volseg.networks.segmenter import Segmenter
        from volseg.networks.weights import load_encoder
        from volseg.workflows.demo_training import seeded

        output, _ = finished
        with seeded(TINY.seed):
            network = Segmenter(tiny(), 3)
        before = {name: value.clone() for name, value in network.state_dict().items()}
        receipt = load_encoder(network, output / "pretraining" / "models" / "encoder.safetensors")
        changed = {
            name
            for name, value in network.state_dict().items()
            if not torch.equal(value, before[name])
        }
        assert receipt.fraction == 1
        assert changed
        assert {name.split(".")[0] for name in changed} == {"encoder", "decoder"}

    def test_the_cards_build_the_networks_that_were_trained(self, finished):
        from volseg.networks.segmenter import Segmenter
        from volseg.networks.weights import build_network, load_segmenter, read_card

        output, _ = finished
        path = output / "pretrained" / "models" / "model.safetensors"
        network = build_network(read_card(path))
        assert isinstance(network, Segmenter)
        assert not load_segmenter(network, path).left_over

    def test_an_earlier_demo_is_replaced_only_when_told_so(self, finished):
        output, _ = finished
        with pytest.raises(DataError, match="--overwrite"):
            demo(output, TINY)
