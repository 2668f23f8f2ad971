"""Volumes are voxels times the determinant of the affine, one row a case."""

import csv
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.test_geometry import ORIENTATIONS, turn
from tests.inference.outputs.readings import files_in
from volseg.errors import DataError
from volseg.inference.outputs.volumes import count_voxels, measure_volumes, write_volumes

CLASSES = {0: "background", 2: "liver", 1: "tumour"}


def cube():
    labels = np.zeros((6, 7, 8), np.uint8)
    labels[:2, :3, :4] = 2  # 24 voxels
    labels[5, 6, 7] = 1
    return labels


@pytest.mark.parametrize("axes", ORIENTATIONS[::5])
def test_turning_and_mirroring_change_no_volume_and_shear_neither(axes):
    affine = np.eye(4)
    shear = np.array([[1, 0.5, 0.2], [0, 1, 0.7], [0, 0, 1]])
    affine[:3, :3] = turn(33) @ turn(12, 0) @ axes @ np.diag([2.0, 3.0, 5.0]) @ shear
    affine[:3, 3] = (100, 200, -300)
    volumes = measure_volumes(cube(), affine, CLASSES)
    assert list(volumes) == ["tumour", "liver"]  # in the order of the values
    assert volumes == pytest.approx({"tumour": 0.03, "liver": 0.72}, rel=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(3)), st.booleans(), st.sampled_from([np.uint8, np.uint16, np.int64]))
def test_counts_are_those_of_a_plain_loop_in_any_memory_order(order, backwards, dtype):
    labels = np.random.default_rng(0).integers(0, 5, (3, 4, 5)).astype(dtype).transpose(order)
    labels = labels[::-1] if backwards else labels
    expected = [sum(int(value) == label for value in labels.flat) for label in range(6)]
    assert count_voxels(labels, 5).tolist() == expected


def test_a_batch_is_one_table_and_one_document(tmp_path):
    cases = {
        "b/second": {"liver": 1 / 3, "tumour": 0.0},
        "a, first": {"tumour": 1234.5678901},
        "failed": {},
    }
    write_volumes(cases, CLASSES, tmp_path)
    with (tmp_path / "volumes.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["case", "tumour", "liver"],
        ["b/second", "0.0", "0.333333"],
        ["a, first", "1234.56789", ""],
        ["failed", "", ""],
    ]
    document = json.loads((tmp_path / "volumes.json").read_text())
    assert document == {
        "unit": "mL",
        "labels": ["tumour", "liver"],
        "cases": {
            "b/second": {"tumour": 0.0, "liver": 0.333333},
            "a, first": {"tumour": 1234.56789},
            "failed": {},
        },
    }
    write_volumes({"only": {"liver": 2.0}}, CLASSES, tmp_path)
    assert (tmp_path / "volumes.csv").read_text() == "case,tumour,liver\nonly,,2.0\n"
    assert files_in(tmp_path) == ["volumes.csv", "volumes.json"]


def test_a_batch_without_cases_has_its_header(tmp_path):
    write_volumes({}, CLASSES, tmp_path)
    assert (tmp_path / "volumes.csv").read_text() == "case,tumour,liver\n"


def test_names_that_no_column_can_hold_are_refused(tmp_path):
    with pytest.raises(DataError, match="labels 1 and 2 are both called 'liver'; rename"):
        measure_volumes(cube(), np.eye(4), {0: "background", 1: "liver", 2: "liver"})
    with pytest.raises(DataError, match="one: has a volume of 'spleen'; the classes are"):
        write_volumes({"one": {"spleen": 1.0}}, CLASSES, tmp_path)
    assert files_in(tmp_path) == []
