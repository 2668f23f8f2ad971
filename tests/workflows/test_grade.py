"""Grading masks, and judging predicted grades, from the command line."""

import csv
import hashlib
import json

import nibabel as nib
import numpy as np
import pytest

from tests.bundles.synthetic import write_dataset
from tests.workflows.reading import read_page
from volseg import __version__
from volseg.cli.main import main
from volseg.errors import DataError
from volseg.workflows.finetune import label_table
from volseg.workflows.grade import Scale, grade


@pytest.fixture
def masks(tmp_path):
    """Six masks of 1 to 6 mL of lesion (2) in 10 mL of organ; voxels of 1 mL."""
    folder = tmp_path / "masks"
    folder.mkdir()
    for index in range(6):
        mask = np.zeros((4, 4, 2), np.uint8)
        mask.flat[:10] = 1
        mask.flat[: index + 1] = 2
        affine = np.diag([10.0, 10, 10, 1])
        nib.save(nib.Nifti1Image(mask, affine), folder / f"m{index}.nii.gz")
    return folder


def rows_of(table):
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def test_volumes_or_shares_are_graded_by_thresholds_or_quantiles(masks, tmp_path, capsys):
    command = ["grade", str(masks), "--lesion", "2", "--output", str(tmp_path / "a.csv")]
    assert main([*command, "--thresholds", "2", "5"]) == 0
    assert "1 of grade 0, 3 of grade 1, 2 of grade 2" in capsys.readouterr().out
    rows = rows_of(tmp_path / "a.csv")
    assert [(row["case"], row["label"], float(row["ml"])) for row in rows[:2]] == [
        ("m0", "0", pytest.approx(1)),
        ("m1", "1", pytest.approx(2)),
    ]
    found = grade(masks, tmp_path / "b.csv", Scale([2], [1], grades=3))
    assert list(found.grades.values()) == [0, 0, 1, 1, 2, 2]
    assert found.loads["m4"].share == pytest.approx(0.5)


def test_the_page_shows_the_cases_on_the_edge_and_the_figures_of_the_json(masks, tmp_path):
    found = grade(masks, tmp_path / "a.csv", Scale([2], thresholds=[2.4, 5.2]))
    said = json.loads((tmp_path / "a.json").read_text())
    run = said.pop("run")
    assert run["settings"]["thresholds"] == [2.4, 5.2]
    digests = [hashlib.sha256((masks / f"m{n}.nii.gz").read_bytes()).hexdigest() for n in range(6)]
    assert [each["sha256"] for each in run["inputs"]] == digests
    assert run["versions"]["volseg"] == __version__
    assert said == json.loads(json.dumps(found.to_json()))
    assert sum(said["histogram"]["counts"]) == 6
    page = read_page(tmp_path / "a.html")
    assert page.headings == ["Cases of each grade", "On the edge", "Cases"]
    assert len(page.pictures) == 4 * 3 * 2  # four cases, three slices, each with its mask
    assert page.text.count("no image is known") == 4
    # 5 mL is the nearest to a threshold, then 2 mL
    assert page.text.index("m4: grade 1, 5 mL") < page.text.index("m1: grade 0, 2 mL")
    for name, case in said["cases"].items():
        assert page.row(name) == [
            str(case["grade"]), f"{case['ml']:.4f}", "-", f"{case['gap']:.4f}", "",
        ]  # fmt: skip
    assert said["cases"]["m4"]["gap"] == pytest.approx(0.2)
    grades = [case["grade"] for case in said["cases"].values()]
    assert [row[3] for row in page.rows[1:4]] == [str(grades.count(grade)) for grade in range(3)]
    assert page.rows[1:4] == [
        ["0", "-", "2.4", "2"],
        ["1", "2.4", "5.2", "3"],
        ["2", "5.2", "-", "1"],
    ]


def test_nothing_beside_the_table_is_replaced_and_the_table_is_no_page(masks, tmp_path):
    (tmp_path / "a.json").write_text("mine")
    with pytest.raises(DataError, match=r"a\.json exists already; use another output"):
        grade(masks, tmp_path / "a.csv", Scale(thresholds=[1]))
    with pytest.raises(DataError, match=r"is to be a table; give a name that ends in \.csv"):
        grade(masks, tmp_path / "a.json", Scale(thresholds=[1]), overwrite=True)
    assert (tmp_path / "a.json").read_text() == "mine"


def test_a_data_set_keeps_its_groups_and_a_broken_mask_is_reported(tmp_path, capsys):
    write_dataset(tmp_path / "data")
    rows = ["case,group", "case_0,p", "case_1,p", "case_2,q"]
    (tmp_path / "data" / "cases.csv").write_text("\n".join(rows))
    (tmp_path / "data" / "labelsTr" / "case_1.nii.gz").write_bytes(b"broken")
    table = tmp_path / "out.csv"
    command = ["grade", str(tmp_path / "data"), "--thresholds", "100", "--output", str(table)]
    assert main([*command, "--json"]) == 1
    assert list(json.loads(capsys.readouterr().out)["failures"]) == ["case_1"]
    assert [(row["case"], row["group"]) for row in rows_of(table)] == [
        ("case_0", "p"),
        ("case_2", "q"),
    ]
    page = read_page(tmp_path / "out.html")
    assert len(page.pictures) == 2 * 3 * 2  # on their images
    assert "no image" not in page.text
    assert page.row("case_1")[:4] == ["-"] * 4
    with pytest.raises(DataError, match="exists already"):
        grade(tmp_path / "data", table, Scale(thresholds=[1]))
    with pytest.raises(DataError, match="give one"):
        grade(tmp_path / "data", table, Scale(thresholds=[1], grades=2))


def test_predicted_grades_are_judged_by_evaluate(tmp_path, capsys):
    said = ["case,label,p 0,p 1", "a,0,0.9,0.1", "b,0,0.6,0.4", "c,1,0.2,0.8", "d,0,0.7,0.3"]
    (tmp_path / "classes.csv").write_text("\n".join(said))
    true = ["case,label,group", "a,0,1", "b,0,1", "c,1,2", "d,1,3"]
    (tmp_path / "labels.csv").write_text("\n".join(true))
    command = ["evaluate", str(tmp_path / "classes.csv"), str(tmp_path / "labels.csv")]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["scores"]["balanced accuracy"]["mean"] == 0.75
    assert found["scores"]["AUC"]["mean"] == 0.75
    assert found["scores"]["quadratic kappa"]["mean"] == pytest.approx(0.5)
    assert found["confusion"] == [[2, 0], [1, 1]]
    # by falling p 1: c is right, b a false alarm, d right, a a false alarm; alike by p 0
    half = [0.5] * 5 + [1.0] * 6
    assert found["roc"]["sensitivity"] == {"0": half, "1": half}
    assert found["roc"]["false_positive_rate"][5] == 0.5
    report = ["--output", str(tmp_path / "report")]
    assert main([*command, *report, "--json"]) == 0
    kept = json.loads((tmp_path / "report" / "results.json").read_text())
    assert kept.pop("run")["settings"]["references"] == str(tmp_path / "labels.csv")
    assert kept == found
    assert read_page(tmp_path / "report" / "report.html").charts == 2
    page = (tmp_path / "report" / "report.html").read_text()
    assert page.index("<svg") < page.index("<table")  # pictures first
    assert "<td>1</td><td>1</td>" in page  # the confusion's second row
    assert main([*command, *report]) == 1
    assert "exists already; use another output or --overwrite" in capsys.readouterr().err
    (tmp_path / "classes.csv").write_text("\n".join(said[:-1]))
    assert main(command) == 1
    assert "missed: d: no prediction" in capsys.readouterr().out


def test_a_bundle_that_classifies_wants_its_table(tmp_path):
    (tmp_path / "labels.csv").touch()
    assert label_table({"label_table": "$@dataset_dir + '/labels.csv'"}, tmp_path) is not None
    assert label_table({}, tmp_path) is None
    with pytest.raises(DataError, match="name it with --set label_table=FILE"):
        label_table({"label_table": str(tmp_path / "no.csv")}, tmp_path)
