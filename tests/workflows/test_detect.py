"""``volseg detect`` and ``volseg evaluate --lesions`` on tables of boxes."""

import json

import nibabel as nib
import numpy as np
import pytest

from tests.bundles.synthetic import oblique_affine, write_dataset
from tests.workflows.reading import read_page
from volseg.bundle import Bundle
from volseg.cli.main import main
from volseg.data.box_tables import read_boxes
from volseg.errors import BundleError, DataError
from volseg.workflows.box_evaluate import evaluate_boxes
from volseg.workflows.bundles.check import check_bundle
from volseg.workflows.detect import boxes_of_masks, detect
from volseg.workflows.finetune import finetune
from volseg.workflows.lesions import Criterion
from volseg.workflows.training import TrainingOptions

TINY = {
    "patch_size": [16, 16, 16],
    "train::trainer::max_epochs": 1,
    "loop::epoch_length": 1,
    "network_def": {
        "_target_": "volseg.networks.detector.Detector",
        "encoder": {
            "_target_": "volseg.networks.residual.ResidualEncoder",
            "in_channels": 1,
            "widths": [2, 4, 4],
        },
        "num_classes": 2,
        "anchors": [[6, 6, 6]],
        "width": 8,
    },
    "label_map": {"1": 1},
}
# Every box of a network that has learned nothing
EVERYTHING = {"inferer::least_score": 0.0, "inferer::most": 20}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "set"
    write_dataset(folder, 2)
    return folder


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    options = TrainingOptions(device="cpu", progress=False)
    found = finetune(data, folder, "lesion_detection", overrides=TINY, options=options)
    assert set(found.last["validation"]) == {"val_map", "val_sensitivity"}
    return folder


def test_a_run_is_a_sound_bundle_that_finds_boxes_in_every_scan(run, data, tmp_path):
    assert Bundle(run).check() == []
    assert check_bundle(run).is_sound, str(check_bundle(run))
    found = detect(data, run, tmp_path, device="cpu", overrides=EVERYTHING)
    assert found.is_complete
    said = read_boxes(tmp_path / "boxes.csv")
    assert {name: len(rows) for name, rows in said.items()} == dict(found.boxes)
    assert sum(found.boxes.values()) > 0
    figures = json.loads((tmp_path / "results.json").read_text())
    assert figures == json.loads(json.dumps(found.to_json()))
    assert sum(figures["histograms"]["score"]["counts"]) == sum(found.boxes.values())
    page = read_page(tmp_path / "report.html")
    assert page.headings[0] == "Most certain"
    assert page.pictures
    for name, rows in said.items():
        best = max((row.score for row in rows), default=None)
        assert page.row(name)[:2] == [str(len(rows)), "-" if best is None else f"{best:.3f}"]
    record = json.loads((tmp_path / "run.json").read_text())
    assert (record["verb"], record["status"]) == ("detect", "done")
    for line in (tmp_path / "boxes.jsonl").read_text().splitlines():
        scan = json.loads(line)
        image = nib.load(data / "imagesTr" / f"{scan['case']}.nii.gz")
        assert tuple(scan["shape"]) == image.shape
        np.testing.assert_allclose(scan["affine"], image.affine, atol=1e-6)
    with pytest.raises(DataError, match=r"boxes\.csv exists already; use another output"):
        detect(data, run, tmp_path, device="cpu")


def test_one_bad_scan_is_reported_and_the_rest_go_on(run, data, tmp_path):
    scans = tmp_path / "scans"
    scans.mkdir()
    good = next((data / "imagesTr").iterdir())
    (scans / good.name).write_bytes(good.read_bytes())
    (scans / "bad.nii.gz").write_bytes(b"nothing")
    found = detect(scans, run, tmp_path / "out", device="cpu")
    assert list(found.failed) == ["bad"]
    assert "failed: bad: " in str(found)
    assert not found.is_complete
    (scans / good.name).unlink()
    with pytest.raises(DataError, match="no case can be used, such as"):
        detect(scans, run, tmp_path / "none", device="cpu")


def test_what_does_not_detect_or_has_no_weights_is_refused(data, tmp_path):
    with pytest.raises(BundleError, match="makes a Segmenter; use a detector's"):
        detect(data, "hippocampus_segmentation", tmp_path, device="cpu")
    with pytest.raises(BundleError, match="has no weights"):
        detect(data, "lesion_detection", tmp_path, device="cpu")


def test_boxes_of_masks_find_the_masks_own_lesions(data, tmp_path, capsys):
    assert main(["detect", str(data), "--masks", "--output", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["boxes"] == {f"case_{i}": 1 for i in range(3)}
    table, masks = tmp_path / "boxes.csv", data / "labelsTr"
    command = ["evaluate", str(table), str(masks), "--lesions", "--json"]
    assert main([*command, "--output", str(tmp_path / "report")]) == 0
    said = json.loads(capsys.readouterr().out)
    kept = json.loads((tmp_path / "report" / "results.json").read_text())
    assert kept.pop("run")["settings"]["iou"] == 0.3
    assert kept == said
    page = (tmp_path / "report" / "report.html").read_text()
    assert "<svg" in page
    assert "<td>average precision, map</td><td>1.000</td>" in page
    assert "<td>case_2</td><td>1</td><td>1</td><td>0</td>" in page
    assert said["sensitivity"]["mean"] == said["froc"]["mean"] == 1
    assert said["false_positives_per_case"]["mean"] == 0
    assert said["average_precision"]["map"] == pytest.approx(1)
    # the box of the label that is drawn there, in voxels: 4:12, 4:8, 4:12
    assert read_boxes(table)["case_2"][0].voxels == (4, 4, 4, 12, 8, 12)
    found = evaluate_boxes(table, masks)
    assert "average precision: map 1.000" in found.table()


def test_the_page_shows_the_largest_boxes_of_masks_on_their_images(data, tmp_path):
    found = boxes_of_masks(data, tmp_path)
    figures = json.loads((tmp_path / "results.json").read_text())
    assert figures == json.loads(json.dumps(found.to_json()))
    assert list(figures["histograms"]) == ["longest_edge_mm"]  # masks give no scores
    page = read_page(tmp_path / "report.html")
    assert page.headings == ["Largest", "How many and how large", "Cases"]
    assert len(page.pictures) == 3 * 3 * 2
    assert "no image" not in page.text
    image = nib.load(data / "imagesTr" / "case_2.nii.gz")
    ml = 8 * 4 * 8 * abs(np.linalg.det(image.affine[:3, :3])) / 1000  # 4:12, 4:8, 4:12
    assert figures["cases"]["case_2"]["largest_ml"] == pytest.approx(ml)
    assert page.row("case_2") == ["1", f"{ml:.3f}", ""]
    with pytest.raises(DataError, match="exists already"):
        boxes_of_masks(data, tmp_path)
    boxes_of_masks(data, tmp_path, overwrite=True)


def write_mask(path, affine, *, is_empty=False):
    values = np.zeros((12, 12, 12), np.uint8)
    if not is_empty:
        values[2:6, 2:6, 2:6] = 1
    nib.save(nib.Nifti1Image(values, affine), path)


def test_boxes_of_another_grid_and_scans_that_nobody_searched_count_as_missed(tmp_path):
    masks, others = tmp_path / "masks", tmp_path / "others"
    for folder, affine in ((masks, np.eye(4)), (others, oblique_affine())):
        folder.mkdir()
        write_mask(folder / "a.nii.gz", affine)
    boxes_of_masks(masks, tmp_path / "boxes")
    write_mask(others / "b.nii.gz", np.eye(4))
    found = evaluate_boxes(tmp_path / "boxes" / "boxes.csv", others)
    assert not found.is_complete
    assert "mm from where the grid of" in found.lesions.missed["a"]
    assert "no line in boxes.jsonl" in found.lesions.missed["b"]
    assert found.lesions.detection.sensitivity.mean == 0


def test_where_no_reference_has_a_lesion_nothing_can_be_found(tmp_path):
    masks = tmp_path / "masks"
    masks.mkdir()
    write_mask(masks / "a.nii.gz", np.eye(4), is_empty=True)
    result = boxes_of_masks(masks, tmp_path / "boxes")
    assert dict(result.boxes) == {"a": 0}
    assert "No box was found in any case." in read_page(tmp_path / "boxes" / "report.html").text
    table = tmp_path / "boxes" / "boxes.csv"
    with pytest.raises(DataError, match="no reference holds a lesion"):
        evaluate_boxes(table, masks)
    with pytest.raises(DataError, match="overlap is 2; use a share"):
        evaluate_boxes(table, masks, least_overlap=2)


def test_only_boxes_of_the_values_that_are_asked_for_count(tmp_path):
    masks = tmp_path / "masks"
    masks.mkdir()
    values = np.zeros((12, 12, 12), np.uint8)
    values[1:4, 1:4, 1:4], values[6:10, 6:10, 6:10] = 1, 2
    nib.save(nib.Nifti1Image(values, np.eye(4)), masks / "a.nii.gz")
    boxes_of_masks(masks, tmp_path, least_ml=0.03)  # 27 mm3 are too small, 64 are not
    found = evaluate_boxes(tmp_path / "boxes.csv", masks, Criterion((2,)))
    assert found.lesions.detection.sensitivity.mean == 1
    found = evaluate_boxes(tmp_path / "boxes.csv", masks, Criterion((1,)))
    assert found.lesions.detection.sensitivity.mean == 0
    assert found.lesions.detection.false_positives.mean == 0


def test_a_data_set_without_any_lesion_is_refused_before_the_first_step(data, tmp_path):
    overrides = {**TINY, "label_map": {"1": 0}}
    options = TrainingOptions(device="cpu", progress=False)
    with pytest.raises(DataError, match="cases that train holds a lesion"):
        finetune(data, tmp_path / "run", "lesion_detection", overrides=overrides, options=options)


def test_images_of_other_channels_are_refused_in_one_line(run, tmp_path, capsys):
    path = tmp_path / "two.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((12, 12, 12, 2), np.float32), np.eye(4)), path)
    status = main(["detect", str(path), "--bundle", str(run), "--output", str(tmp_path / "out")])
    assert status == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("volseg: ")
    assert "two.nii.gz" in said
