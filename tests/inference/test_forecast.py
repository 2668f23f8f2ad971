"""What a batch would take is said without reading or writing anything."""

import nibabel as nib
import numpy as np
import pytest

from tests.inference.threshold import save_image, threshold_predictor
from volseg.cli.main import main
from volseg.inference.forecast import forecast
from volseg.inference.work_list import list_jobs


@pytest.fixture
def inputs(tmp_path):
    """Give a folder of an image and a broken one."""
    save_image(tmp_path / "in" / "a.nii.gz", shape=(20, 10, 12))
    (tmp_path / "in" / "b.nii.gz").write_bytes(b"")
    return tmp_path / "in"


def forecasts(inputs, spacing=None):
    jobs = list_jobs([inputs], inputs.parent / "out")
    return forecast(jobs, threshold_predictor(window=8), spacing)


def test_the_windows_are_those_of_the_run(inputs):
    good, bad = forecasts(inputs).cases
    # steps of 6: 3 windows along 20, 2 along 10, 2 along 12
    assert (good.shape, good.windows, good.reason) == ((20, 10, 12), 12, None)
    assert (bad.windows, bad.reason) == (0, "is empty")
    predictor, calls = threshold_predictor(window=8), []
    predictor.on_window = lambda: calls.append(1)
    predictor.predict(inputs / "a.nii.gz")
    assert len(calls) == good.windows


def test_the_networks_grid_counts_and_not_the_images(tmp_path):
    # axes S, R, A of 3, 1 and 2 mm; 1.5 mm along R, A and S makes 7 x 16 x 23 voxels of them
    affine = np.array([[0, 1.0, 0, 0], [0, 0, 2, 0], [3, 0, 0, 0], [0, 0, 0, 1]])
    image = nib.Nifti1Image(np.zeros((12, 10, 12), np.uint8), affine)
    (tmp_path / "in").mkdir()
    nib.save(image, tmp_path / "in" / "a.nii.gz")
    (case,) = forecasts(tmp_path / "in", (1.5, 1.5, 1.5)).cases
    assert case.windows == 1 * 3 * 4


def test_nothing_is_written_and_the_sum_is_said(inputs):
    text = str(forecasts(inputs))
    assert not (inputs.parent / "out").exists()
    assert "b.nii.gz: cannot be segmented: is empty" in text
    assert text.splitlines()[-1].startswith("1 of 2 cases, about ")


def test_a_network_may_take_more_channels_than_there_are_files(tmp_path, capsys):
    save_image(tmp_path / "t1.nii.gz", shape=(20, 24, 22))
    bundle = ["--bundle", "resection_cavity_segmentation"]  # its second channel is a mirror image
    output = ["--output", str(tmp_path / "out"), "--dry-run"]
    assert main(["segment", str(tmp_path / "t1.nii.gz"), *bundle, *output]) == 0
    assert "1 of 1 cases" in capsys.readouterr().out
