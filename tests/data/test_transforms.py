"""Files of rigid transforms, in ITK's axes there and in RAS here."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name that its own documentation uses

from tests.data.heads import rigid
from volseg.data.transforms import read_transform, write_transform
from volseg.errors import DataError

MOVE = rigid((7, -5, 10), (9, -6, 5))


def test_what_is_written_reads_back(tmp_path):
    write_transform(tmp_path / "a.tfm", MOVE)
    assert np.allclose(read_transform(tmp_path / "a.tfm"), MOVE, atol=1e-6)


def test_itks_first_two_axes_point_the_other_way(tmp_path):
    transform = sitk.Euler3DTransform()
    transform.SetTranslation((1.0, 2.0, 3.0))
    transform.SetRotation(0, 0, np.deg2rad(90))  # about z: from x to y, and so in RAS too
    transform.SetCenter((10.0, 0.0, 0.0))
    sitk.WriteTransform(transform, str(tmp_path / "a.tfm"))
    found = read_transform(tmp_path / "a.tfm")
    # RAS (-10, 0, 0) is LPS (10, 0, 0), the centre, which only moves by LPS (1, 2, 3)
    assert np.allclose(found @ (-10, 0, 0, 1), (-11, -2, 3, 1))
    assert np.allclose(found[:3, :3], [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-9)


def test_itk_maps_points_as_the_matrix_does(tmp_path):
    write_transform(tmp_path / "a.tfm", MOVE)
    point = np.array([12.0, -7, 30, 1])
    x, y, z = sitk.ReadTransform(str(tmp_path / "a.tfm")).TransformPoint((-12.0, 7.0, 30.0))
    assert np.allclose((-x, -y, z), (MOVE @ point)[:3], atol=1e-5)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.diag([1.1, 1, 1]), "scales or shears"),
        (np.diag([-1.0, 1, 1]), "mirrors"),
        (np.array([[1.0, 0.3, 0], [0, 1, 0], [0, 0, 1]]), "scales or shears"),
    ],
)
def test_what_is_not_rigid_is_refused(tmp_path, matrix, message):
    affine = sitk.AffineTransform(matrix.ravel().tolist(), [0.0, 0.0, 0.0])
    sitk.WriteTransform(affine, str(tmp_path / "a.tfm"))
    with pytest.raises(DataError, match=message):
        read_transform(tmp_path / "a.tfm")


def test_a_bent_transform_and_a_file_of_something_else_are_refused(tmp_path):
    bent = sitk.BSplineTransform(3, 2)
    sitk.WriteTransform(bent, str(tmp_path / "b.tfm"))
    with pytest.raises(DataError, match="not linear"):
        read_transform(tmp_path / "b.tfm")
    (tmp_path / "c.tfm").write_text("nothing")
    with pytest.raises(DataError, match="is no transform that ITK can read"):
        read_transform(tmp_path / "c.tfm")


def test_a_folder_that_is_not_there_cannot_be_written_to(tmp_path):
    with pytest.raises(DataError, match="cannot write"):
        write_transform(tmp_path / "no" / "a.tfm", np.eye(4))
