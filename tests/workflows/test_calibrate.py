"""Calibration and the review list, from maps on the disk."""

import csv
import json

import nibabel as nib
import numpy as np
import pytest

from tests.workflows.reading import read_page
from volseg.cli.main import main
from volseg.data.cases import find_cases
from volseg.errors import DataError
from volseg.workflows.calibrate import calibrate, read_groups
from volseg.workflows.evaluate_report import lesion_sections
from volseg.workflows.lesions import Criterion, evaluate_lesions
from volseg.workflows.review import review


def write_case(folder, name, chance, *, shift=0):
    """Write an image, a true box, and a mask with probabilities; the mask may lie elsewhere."""
    truth, mask = np.zeros((12, 12, 12), np.uint8), np.zeros((12, 12, 12), np.uint8)
    truth[3:8, 3:8, 3:8] = 1
    mask[3 + shift : 8 + shift, 3:8, 3:8] = 1
    chances = np.zeros((*mask.shape, 2), np.float32)
    chances[..., 1] = np.where(mask, chance, 0.0)
    chances[..., 0] = 1 - chances[..., 1]
    entropy = np.where(mask, 1 - chance, 0).astype(np.float32)
    places = {"images": mask.astype(np.float32), "truth": truth, "masks": mask}
    for part, values in places.items():
        (folder / part).mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(values, np.eye(4)), folder / part / f"{name}.nii.gz")
    for kind, values in (("probabilities", chances), ("entropy", entropy)):
        path = folder / "masks" / f"{name}_{kind}.nii.gz"
        nib.save(nib.Nifti1Image(values, np.eye(4)), path)
        sources = json.dumps({"Sources": [f"../images/{name}.nii.gz"]})
        path.with_name(f"{name}_{kind}.json").write_text(sources)


@pytest.fixture
def folder(tmp_path):
    """Four cases: the surer, the better."""
    for index, (chance, shift) in enumerate(((0.99, 0), (0.9, 1), (0.8, 2), (0.6, 3))):
        write_case(tmp_path, f"case_{index}", chance, shift=shift)
    return tmp_path


def test_figures_are_those_made_by_hand(folder):
    found = calibrate(folder / "masks", folder / "truth", folder / "out")
    dice = [1 - shift / 5 for shift in range(4)]
    assert [case.dice for case in found.cases] == pytest.approx(dice)
    expected = [2 * chance / (chance + 1) for chance in (0.99, 0.9, 0.8, 0.6)]
    assert [case.certainty["expected_dice"] for case in found.cases] == pytest.approx(expected)
    assert found.risk.correlation.mean == pytest.approx(1)
    assert found.risk.area == pytest.approx(found.risk.best)
    assert found.error > 0
    content = json.loads((folder / "out" / "calibration.json").read_text())
    assert content["temperature"] == found.temperature
    page = read_page(folder / "out" / "report.html")
    assert len(page.pictures) == 2
    assert page.row("expected calibration error") == [f"{content['ece']:.4f}"]
    for case in content["cases"]:
        figures = [f"{case['uncertainty']:.3f}", f"{1 - case['dice']:.3f}"]
        assert page.row(case["name"]) == figures


@pytest.mark.parametrize("column", ["case", "name"])
def test_groups_come_from_a_table_of_cases_too(tmp_path, column):
    rows = [f"{column},image,group", "a,x,p", "b,y,p", ",z,q"]
    (tmp_path / "cases.csv").write_text("\n".join(rows))
    assert read_groups(tmp_path / "cases.csv") == {"a": "p", "b": "p"}


def test_a_case_without_probabilities_is_reported(folder, capsys):
    (folder / "masks" / "case_1_probabilities.nii.gz").unlink()
    write_case(folder, "case_4", 0.7)
    command = ["calibrate", str(folder / "masks"), str(folder / "truth"), "--json", "--output"]
    assert main([*command, str(folder / "out"), "--quiet"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert "segment with --maps probabilities" in found["failures"]["case_1"]
    assert len(found["cases"]) == 4
    (folder / "masks" / "case_2_probabilities.nii.gz").unlink()
    with pytest.raises(DataError, match=r"3 cases of 3 group.* a calibration needs 4 of 2"):
        calibrate(folder / "masks", folder / "truth", folder / "other")


def test_the_least_sure_case_comes_first_and_the_table_is_a_source_of_cases(folder, capsys):
    table = folder / "queue" / "review.csv"
    assert main(["review", str(folder / "masks"), "--output", str(table), "--top", "3"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "0.250  case_3"
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["case_3", "case_2", "case_1"]
    assert float(rows[0]["expected_dice"]) == pytest.approx(0.75)
    cases = find_cases(table)
    assert [case.images[0].resolve() for case in cases] == [
        folder / "images" / f"case_{index}.nii.gz" for index in (1, 2, 3)
    ]
    assert all(case.label is None for case in cases)  # a mask of the network is no label
    with pytest.raises(DataError, match="exists already"):
        review(folder / "masks", table)


def test_the_page_shows_the_least_sure_and_the_figures_of_the_json(folder):
    found = review(folder / "masks", folder / "r.csv")
    said = json.loads((folder / "r.json").read_text())
    run = said.pop("run")
    assert run["settings"] == {"masks": str(folder / "masks"), "top": None}
    assert len({each["sha256"] for each in run["inputs"]}) == 4
    assert said == json.loads(json.dumps(found.to_json()))
    assert sum(said["histogram"]["counts"]) == 4
    page = read_page(folder / "r.html")
    assert page.headings == ["Least sure", "How sure all are", "The queue"]
    assert len(page.pictures) == 4 * 3 * 2
    assert page.text.index("case_3: uncertainty 0.250") < page.text.index("case_2: uncertainty")
    for rank, case in enumerate(said["cases"], start=1):
        keys = ("uncertainty", "expected_dice", "confidence", "entropy")
        assert page.row(case["name"]) == [str(rank), *(f"{case[key]:.4f}" for key in keys), ""]


def test_entropy_alone_serves_too(folder):
    for path in (folder / "masks").glob("*_probabilities.*"):
        path.unlink()
    found = review(folder / "masks", folder / "r.csv")
    assert [case.name for case in found.cases] == [f"case_{index}" for index in (3, 2, 1, 0)]
    assert set(found.cases[0].certainty) == {"entropy"}
    (folder / "masks" / "case_1_entropy.nii.gz").write_bytes(b"broken")
    again = review(folder / "masks", folder / "r.csv", overwrite=True)
    assert list(again.failures) == ["case_1"]
    assert read_page(folder / "r.html").row("case_1")[:2] == ["-", "-"]


def test_masks_without_maps_and_with_different_ones_are_refused(folder):
    with pytest.raises(DataError, match="holds no mask with maps; segment with --maps"):
        review(folder / "images", folder / "r.csv")
    (folder / "masks" / "case_0_entropy.nii.gz").unlink()
    (folder / "masks" / "case_1_probabilities.nii.gz").unlink()
    with pytest.raises(DataError, match="maps of different kinds"):
        review(folder / "masks", folder / "r.csv")


def test_lesions_are_counted_and_scored_by_their_probabilities(folder, capsys):
    write_case(folder, "case_4", 0.95, shift=4)  # a fifth is covered
    command = ["evaluate", str(folder / "masks"), str(folder / "truth"), "--lesions"]
    assert main([*command, "--overlap", "0.5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [case["lesions"][0]["found"] for case in found["cases"]] == [True] * 3 + [False] * 2
    assert found["sensitivity"]["mean"] == pytest.approx(0.6)
    assert found["false_positives_per_case"]["mean"] == 0
    assert found["froc"]["mean"] == pytest.approx(0.6)
    (folder / "masks" / "case_0_probabilities.nii.gz").unlink()
    plain = evaluate_lesions(folder / "masks", folder / "truth")
    assert plain.detection.sensitivity.mean == 1
    assert "no FROC: it takes maps" in plain.table()
    curve, cases = lesion_sections(plain)
    assert "<svg" not in curve
    assert "<td>case_4</td><td>1</td><td>1</td><td>0</td>" in cases
    (folder / "masks" / "case_0.nii.gz").unlink()
    again = evaluate_lesions(folder / "masks", folder / "truth")
    assert again.missed == {"case_0": "no prediction"}
    assert again.detection.sensitivity.mean == pytest.approx(0.8)
    with pytest.raises(DataError, match="use a share from 0 to 1"):
        Criterion(overlap=2)
