"""Boxes on the scan's own grid and in the world, and their files."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch

from tests.bundles.synthetic import oblique_affine
from volseg.data.box_pipelines import box_augmentation, box_preprocessing
from volseg.data.box_tables import HEADS, LINES, TABLE, SaveBoxesd, native_boxes, read_boxes
from volseg.data.geometry import Grid
from volseg.data.pipelines import preprocessing
from volseg.errors import DataError
from volseg.transforms.boxes import find_boxes

AFFINES = {
    "straight": np.diag([1.0, 1, 1, 1]),
    "left-handed": np.diag([-1.0, 1, 1, 1]),
    "oblique and anisotropic": oblique_affine(),
    "thick": np.array([[-0.8, 0, 0, 9], [0, 0, 2.4, -4], [0, 0.8, 0, 1], [0, 0, 0, 1.0]]),
}
NAMES = ["background", "lesion"]


def write_case(folder, affine):
    """Write a scan with a bright lesion, and its label."""
    label = np.zeros((20, 18, 16), np.uint8)
    label[4:10, 6:14, 2:8] = 1
    paths = {}
    for key, values in (("image", 100.0 * label + 50), ("label", label)):
        path = folder / f"{key}.nii.gz"
        nib.save(nib.Nifti1Image(values.astype(np.float32), affine), path)
        paths[key] = str(path)
    return paths, label


@pytest.mark.parametrize("kind", AFFINES)
def test_a_box_comes_back_to_the_voxels_it_was_drawn_around(kind, tmp_path):
    """Read, reorient and resample; find the box there; bring it back to the scan's own grid."""
    paths, label = write_case(tmp_path, AFFINES[kind])
    spacing = (0.8, 0.8, 1.2)
    found = box_preprocessing(spacing)(paths)
    assert "label" not in found
    pred = torch.cat([found["boxes"], torch.tensor([[0.75, 0]])], dim=1)
    image = preprocessing(("image",), spacing)({"image": paths["image"]})["image"]
    SaveBoxesd("pred", tmp_path / "out", NAMES)({"image": image, "pred": pred})
    (row,) = read_boxes(tmp_path / "out" / TABLE)["image"]
    (own,) = find_boxes(label, 2)[0]
    affine = AFFINES[kind]
    # nearest neighbours move a face by at most half a voxel of the network's grid
    reach = 0.5 * max(spacing) / np.linalg.norm(affine[:3, :3], axis=0).min() + 1e-3
    assert np.abs(np.array(row.voxels) - own).max() <= reach
    assert (row.label, row.score) == (1, 0.75)
    corners = np.array(np.meshgrid(*[[row.voxels[a], row.voxels[a + 3]] for a in range(3)]))
    points = (corners.reshape(3, -1).T - 0.5) @ affine[:3, :3].T + affine[:3, 3]
    assert row.world == pytest.approx([*points.min(0), *points.max(0)], abs=2e-3)


def test_boxes_of_the_same_grid_stay_as_they_are_and_are_cut_at_its_faces():
    grid = Grid((10, 10, 10), oblique_affine())
    pred = [[1, 2, 3, 4, 5, 6, 0.9, 0], [-3, 0, 0, 2, 4, 99, 0.5, 1], [11, 0, 0, 12, 4, 4, 0.4, 0]]
    found = native_boxes(np.array(pred), grid.affine, "a", grid)
    assert found.boxes == pytest.approx(np.array([[1, 2, 3, 4, 5, 6], [0, 0, 0, 2, 4, 10]]))
    assert found.classes.tolist() == [1, 2]


def test_the_lines_hold_size_and_centre_of_each_box_and_scans_without_one(tmp_path):
    paths, _ = write_case(tmp_path, oblique_affine())
    image = preprocessing(("image",))({"image": paths["image"]})["image"]
    save = SaveBoxesd("pred", tmp_path / "out", NAMES)
    save({"image": image, "pred": torch.zeros(0, 8)})
    assert read_boxes(tmp_path / "out" / TABLE) == {"image": []}
    save({"image": image, "pred": torch.tensor([[0.0, 0, 0, 4, 2, 6, 0.5, 0]])})
    lines = (tmp_path / "out" / LINES).read_text().splitlines()
    first, second = map(json.loads, lines)
    assert first["boxes"] == []
    (box,) = second["boxes"]
    edges = np.array(box["stop"]) - box["start"]
    # the scan's axes are 1, 1.5 and 1 mm apart
    assert box["size_mm"] == pytest.approx((edges * [1, 1.5, 1]).tolist(), abs=1e-3)
    middle = (np.array(box["stop"]) + box["start"]) / 2 - 0.5
    affine = np.array(second["affine"])
    assert box["centre_mm"] == pytest.approx(affine[:3, :3] @ middle + affine[:3, 3], abs=1e-3)
    assert box["class"] == "lesion"


def test_two_runs_are_not_mixed(tmp_path):
    paths, _ = write_case(tmp_path, np.eye(4))
    image = preprocessing(("image",))({"image": paths["image"]})["image"]
    case = {"image": image, "pred": torch.tensor([[0.0, 0, 0, 4, 2, 6, 0.5, 0]])}
    save = SaveBoxesd("pred", tmp_path / "out", NAMES)
    save(case)
    with pytest.raises(DataError, match=r"boxes\.csv exists already; use another output_dir"):
        SaveBoxesd("pred", tmp_path / "out", NAMES)(case)
    save(case)  # as if two scans of one folder had one name
    with pytest.raises(DataError, match="names 'image' 2 times"):
        read_boxes(tmp_path / "out" / TABLE)


def test_what_is_no_table_of_boxes_is_refused(tmp_path):
    table = tmp_path / TABLE
    table.write_text("case,label\na,1\n")
    with pytest.raises(DataError, match="is no table of boxes; it has no column 'class'"):
        read_boxes(table)
    table.write_text(f"{','.join(HEADS)}\na,lesion,one,{','.join(['1'] * 13)}\n")
    with pytest.raises(DataError, match="holds a value that is no number"):
        read_boxes(table)
    with pytest.raises(DataError, match="cannot be read as CSV"):
        read_boxes(tmp_path / "no.csv")


def test_a_training_crop_has_the_boxes_of_its_lesions(tmp_path):
    paths, _ = write_case(tmp_path, oblique_affine())
    case = box_preprocessing((1, 1, 1))(paths)
    augment = box_augmentation((24, 16, 16), (0, 1, 2), intensity=0.0, most_boxes=4, least_share=0)
    for seed in range(5):
        augment.set_random_state(seed)
        crop = augment(case)
        assert crop["image"].shape == (1, 24, 16, 16)
        assert crop["boxes"].shape == (4, 6)
        assert crop["classes"].tolist()[1:] == [-1, -1, -1]
        if crop["classes"][0] == 0:
            x0, y0, z0, x1, y1, z1 = crop["boxes"][0].int().tolist()
            inside = crop["image"][0, x0:x1, y0:y1, z0:z1]
            assert inside.mean() > crop["image"].mean() + 0.5
