"""Extent of resection from files to files."""

import json

import nibabel as nib
import numpy as np
import pytest

from tests.data.heads import CENTRE, grid, head, rigid
from tests.workflows.reading import read_page
from volseg.cli.main import main
from volseg.data.transforms import read_transform
from volseg.errors import DataError, GeometryError
from volseg.evaluation.extent import Doubt
from volseg.workflows.extent import Pair, extent

MOVE = rigid((7, -5, 10), (9, -6, 5))
"""From the postoperative scan to the preoperative one."""

QUICK = Doubt(draws=20)


def save(path, values, affine, dtype):
    nib.save(nib.Nifti1Image(values.astype(dtype), affine), path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Write a head with a tumour of 20 mm, and the same head with its left half resected."""
    folder = tmp_path_factory.mktemp("extent")
    pre, post = head(), head(matrix=MOVE)
    tumour = np.linalg.norm(grid(pre.values.shape, pre.affine) - CENTRE, axis=-1) < 10
    places = grid(post.values.shape, post.affine) @ MOVE[:3, :3].T + MOVE[:3, 3] - CENTRE
    cavity = (np.linalg.norm(places, axis=-1) < 13) & (places[..., 0] < 0)
    post.values[cavity] = 10
    save(folder / "pre.nii.gz", pre.values, pre.affine, np.float32)
    save(folder / "post.nii.gz", post.values, post.affine, np.float32)
    save(folder / "tumour.nii.gz", 2 * tumour, pre.affine, np.uint8)
    save(folder / "cavity.nii.gz", cavity, post.affine, np.uint8)
    return folder


def pair(folder, **given):
    files = {key: folder / f"{key}.nii.gz" for key in ("cavity", "tumour", "post", "pre")}
    return Pair(**{**files, **given})


@pytest.fixture(scope="module")
def registered(folder):
    return extent(pair(folder), folder / "registered", QUICK)


def test_half_of_the_tumour_is_found_to_be_gone_and_the_move_is_found(registered):
    low, high = registered.extent.percent_interval
    assert low < 50 < high
    # Half a millimetre of the cut, which is where a registration may err, of a ball of 20 mm
    assert registered.extent.percent == pytest.approx(50, abs=4)
    matrix = read_transform(registered.output / "post_to_pre.tfm")
    assert np.allclose(matrix @ (*CENTRE, 1), MOVE @ (*CENTRE, 1), atol=0.5)


def test_the_result_stands_in_files_beside_what_was_run(registered, folder):
    said = json.loads((registered.output / "extent.json").read_text())
    assert said == json.loads(json.dumps(registered.to_json()))
    assert said["resected_ml"] + said["residual_ml"] == pytest.approx(said["tumour_ml"], abs=1e-3)
    record = json.loads((registered.output / "run.json").read_text())
    assert (record["verb"], record["status"]) == ("extent", "done")
    assert len(record["inputs"]) == 4


def test_the_page_shows_cavity_and_tumour_and_the_figures_of_the_json(registered):
    said = json.loads((registered.output / "extent.json").read_text())
    page = read_page(registered.output / "report.html")
    assert len(page.pictures) == 3 * 2
    assert "no image" not in page.text
    for name in ("tumour", "cavity", "resected", "residual"):
        assert page.row(name)[0] == f"{said[f'{name}_ml']:.4f}"
    least, most = said["residual_interval_ml"]
    assert page.row("residual")[1] == f"{least:.4f} to {most:.4f}"
    assert f"{said['extent_percent']:.2f} %" in page.text


def test_the_tumour_is_written_on_the_grid_of_the_cavity_as_fractions(registered, folder):
    brought = nib.load(registered.output / "tumour_on_post.nii.gz")
    cavity = nib.load(folder / "cavity.nii.gz")
    assert np.array_equal(brought.affine, cavity.affine)
    values = brought.get_fdata()
    assert 0 <= values.min() < values.max() <= 1
    voxel = 2.5**3 / 1000
    assert values.sum() * voxel == pytest.approx(registered.extent.tumour_ml, rel=0.02)
    common = (values * cavity.get_fdata()).sum() * voxel
    assert common == pytest.approx(registered.extent.resected_ml, rel=0.05)


def test_the_line_says_extent_residual_and_how_the_scans_agree(registered):
    line = str(registered).splitlines()[0]
    assert line.startswith(f"resected {registered.extent.resected_ml:.2f} of ")
    assert "the two directions of the registration agree within 0." in line


def test_a_given_transform_gives_the_same_without_the_scans(registered, folder):
    given = pair(folder, post=None, pre=None, transform=registered.output / "post_to_pre.tfm")
    found = extent(given, folder / "given", QUICK)
    assert found.extent.resected_ml == pytest.approx(registered.extent.resected_ml, rel=1e-3)
    assert found.registration is None
    assert "the transform was given" in str(found)


def test_scans_that_lie_on_each_other_need_no_registration(folder):
    same = pair(folder, cavity=folder / "tumour.nii.gz", post=None, pre=None, transform="identity")
    assert extent(same, folder / "identity", QUICK).extent.percent == pytest.approx(100)


def test_nothing_is_overwritten_unless_asked_for(registered, folder):
    same = pair(folder, transform="identity")
    with pytest.raises(DataError, match="exists already"):
        extent(same, registered.output, QUICK)
    extent(same, folder / "identity", QUICK, overwrite=True)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"post": None}, DataError, "without a transform both scans are needed"),
        ({"labels": [1, 4]}, DataError, r"values \[0, 2\] and none of \[1, 4\] tumour"),
        ({"labels": [0]}, DataError, "0 is what is no tumour; name the labels that are"),
        ({"transform": "no.tfm"}, DataError, "no.tfm: does not exist"),
    ],
)
def test_what_cannot_be_measured_is_refused(folder, tmp_path, given, error, message):
    with pytest.raises(error, match=message):
        extent(pair(folder, **given), tmp_path / "out", QUICK)
    assert not (tmp_path / "out" / "extent.json").exists()


def test_a_mask_must_lie_on_the_grid_of_its_scan(folder, tmp_path):
    shifted = nib.load(folder / "cavity.nii.gz")
    affine = shifted.affine.copy()
    affine[0, 3] += 1
    save(tmp_path / "cavity.nii.gz", np.asarray(shifted.dataobj), affine, np.uint8)
    with pytest.raises(GeometryError, match="they must share a grid"):
        extent(pair(folder, cavity=tmp_path / "cavity.nii.gz"), tmp_path / "out", QUICK)


def test_the_command_line_prints_one_line_or_one_document(folder, tmp_path, capsys):
    files = [folder / "cavity.nii.gz", "--tumour", folder / "tumour.nii.gz"]
    command = ["extent", *files, "--transform", "identity", "--tumour-labels", 2, "--output"]
    assert main([str(part) for part in [*command, tmp_path / "a"]]) == 0
    assert capsys.readouterr().out.startswith("resected ")
    assert main([str(part) for part in [*command, tmp_path / "b", "--json"]]) == 0
    assert json.loads(capsys.readouterr().out)["registration"] is None
    assert main([str(part) for part in [*command, tmp_path / "b"]]) == 1
    assert "exists already" in capsys.readouterr().err
