"""Confidence and maps, slab by slab and at once, against what NumPy and SciPy make of the whole."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from scipy.special import xlogy

from tests.inference.test_streaming import ORIENTATIONS, SHAPE, native_grid, network
from volseg.data.geometry import Grid, to_native_grid
from volseg.inference.scratch import Scratch
from volseg.inference.sliding_window import SlidingWindow
from volseg.inference.streaming import share_rows, stream_labels
from volseg.inference.survey import Survey
from volseg.inference.views import FlippedViews

NAMES = {0: "background", 1: "one", 2: "two", 3: "three"}

KINDS = ("probabilities", "entropy")

TURNED = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])


def volume():
    return torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(1))


def inferer(batch_size=1):
    return SlidingWindow((5, 4, 6), 0.5, batch_size)


@torch.no_grad()
def streamed(native, num_bands=1, folder=None, maps=KINDS):
    survey = Survey(4, maps, folder)
    args = (volume(), Grid(SHAPE, np.eye(4)), native, network(), inferer())
    labels = stream_labels(*args, num_bands, survey)
    return labels, survey


@torch.no_grad()
def whole():
    return inferer()(volume()[None], network())[0].softmax(0)


def at_once(native, maps=KINDS):
    survey, values = Survey(4, maps), whole()
    survey.count(values)
    survey.chart_all(values, np.eye(4), native)
    return survey


def interpolated(native):
    """Interpolate with SciPy; one voxel around the volume has its border's values."""
    places = np.indices(native.shape).reshape(3, -1)
    affine = native.affine
    points = affine[:3, :3] @ places + affine[:3, 3:]
    read = np.stack([map_coordinates(each, points, order=1, mode="nearest") for each in whole()])
    outside = ((points < -1) | (points > np.array(SHAPE)[:, None])).any(0)
    read[:, outside] = np.eye(4)[0][:, None]
    return read.reshape(-1, *native.shape)


def test_the_confidence_is_that_of_the_chosen_classes_where_something_was_found():
    values = whole().numpy()
    chosen = values.argmax(0)
    expected = values.max(0)[chosen > 0].mean(dtype=np.float64)
    survey = at_once(Grid(SHAPE, np.eye(4)), maps=())
    assert survey.confidence == pytest.approx(expected, rel=1e-9)
    nothing = Survey()
    nothing.count(torch.tensor([0.9, 0.1]).view(2, 1, 1, 1))
    assert nothing.confidence is None


@pytest.mark.parametrize("num_bands", [1, 2, 7])
@pytest.mark.parametrize(
    "native",
    [
        native_grid(ORIENTATIONS[0], (13, 9, 11), (1, 1, 1)),
        native_grid(ORIENTATIONS[29], (12, 15, 10), (0.9, 0.7, 1.3)),
        native_grid(ORIENTATIONS[7], (40, 30, 35), (0.3, 0.4, 0.3)),
        # coarser: rows that no voxel of the image reads count as well
        native_grid(ORIENTATIONS[0], (7, 7, 7), (2, 4, 2)),
    ],
)
def test_slab_by_slab_and_in_bands_the_confidence_is_the_same(native, num_bands):
    _, survey = streamed(native, num_bands, maps=())
    # a softmax rounds by where in a chunk a voxel lies; a row too many or too few is 1e-3
    assert survey.confidence == pytest.approx(at_once(native, ()).confidence, rel=1e-8)


def test_rows_are_shared_out_once_whatever_bands_read():
    spans = [slice(6, 9), slice(2, 4), slice(2, 5), slice(0, 1)]
    rows = [row for own in share_rows(spans, 10) for row in range(own.start, own.stop)]
    assert sorted(rows) == list(range(10))


@pytest.mark.parametrize("axes", ORIENTATIONS[::5])
@pytest.mark.parametrize("num_bands", [1, 3])
def test_maps_are_interpolated_probabilities_and_their_entropy(axes, num_bands, tmp_path):
    native = native_grid(axes, (12, 15, 10), (0.9, 0.7, 1.3))
    labels, survey = streamed(native, num_bands, tmp_path)
    maps, expected = survey.finish(NAMES), interpolated(native)
    half_a_step = 0.5 / 65535 + 1e-6
    assert maps["probabilities"].names == tuple(NAMES.values())
    assert np.abs(maps["probabilities"].values - expected).max() <= half_a_step
    entropy = -xlogy(expected, expected).sum(0)
    assert np.abs(maps["entropy"].values - entropy).max() <= 2 * half_a_step
    clear = np.sort(expected, axis=0)
    clear = clear[-1] - clear[-2] > 1e-4
    assert np.array_equal(maps["probabilities"].values.argmax(0)[clear], labels[clear])
    assert list(tmp_path.iterdir()) == []  # the files have no names


@pytest.mark.parametrize(
    "native",
    [
        native_grid(TURNED, (12, 15, 10), (0.9, 0.7, 1.3)),
        native_grid(np.eye(3), (20, 15, 10), (1, 1, 1)),  # beyond the volume all is background
    ],
)
def test_at_once_maps_are_the_same(native, monkeypatch):
    monkeypatch.setattr("volseg.inference.survey.PIECE_BYTES", 16 * 4 * 23)  # 23 voxels at a time
    maps, expected = at_once(native).finish(NAMES), interpolated(native)
    near = np.abs(maps["probabilities"].values - expected).max(0)
    assert np.quantile(near, 0.9) <= 0.5 / 65535 + 1e-6
    assert near.max() <= 1e-4  # a place is rounded to 32 bits on its way through grid_sample
    labels = to_native_grid(whole(), np.eye(4), native)
    found = maps["probabilities"].values.argmax(0)
    assert (found == labels).mean() > 0.999


def test_labels_do_not_depend_on_what_else_is_kept(tmp_path):
    native = native_grid(np.eye(3), (12, 15, 10), (0.9, 0.7, 1.3))
    plain = stream_labels(volume(), Grid(SHAPE, np.eye(4)), native, network(), inferer())
    assert np.array_equal(streamed(native, folder=tmp_path)[0], plain)


class Lopsided:
    """Logits of two classes that depend on which end of the first axis comes first."""

    def __call__(self, windows):
        along = torch.arange(windows.shape[2]).view(1, 1, -1, 1, 1).expand_as(windows)
        return torch.cat([torch.zeros_like(windows), 2.0 * along - 3], dim=1)


def test_flipped_views_are_averaged_and_their_variance_is_that_of_the_probabilities():
    windows = torch.zeros(2, 1, 4, 3, 3)
    views = FlippedViews(Lopsided(), (0,), with_variance=True)(windows)
    assert views.shape == (2, 3, 4, 3, 3)
    # logits -3, -1, 1, 3 one way and 3, 1, -1, -3 the other
    assert views[:, :2].abs().max() == 0
    chance = 1 / (1 + np.exp([3.0, 1, -1, -3]))
    spread = ((chance - chance[::-1]) / 2) ** 2
    assert np.allclose(views[0, 2, :, 0, 0].numpy(), spread, atol=1e-6)
    assert torch.equal(FlippedViews(Lopsided(), (0,))(windows), views[:, :2])


def test_all_combinations_of_the_axes_are_seen():
    seen = []

    def network(windows):
        seen.append(windows)
        return windows

    windows = torch.randn(1, 1, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(FlippedViews(network, (0, 2))(windows), windows)
    expected = [windows, windows.flip(2), windows.flip(4), windows.flip(2, 4)]
    assert len(seen) == 4
    assert all(any(torch.equal(view, each) for each in seen) for view in expected)


def test_the_variance_is_blended_like_logits_and_leaves_the_labels_alone(tmp_path):
    grid = Grid(SHAPE, np.eye(4))
    seen = FlippedViews(network(), (0, 1), with_variance=True)
    survey = Survey(4, ("variance",), tmp_path)
    with torch.no_grad():
        labels = stream_labels(volume(), grid, grid, seen, inferer(), 2, survey)
        plain = stream_labels(volume(), grid, grid, FlippedViews(network(), (0, 1)), inferer())
        blended = inferer()(volume()[None], seen)[0, 4]
    assert np.array_equal(labels, plain)
    found = survey.finish(NAMES)["variance"]
    assert found.names == ("variance",)
    assert blended.max() > 1e-3
    assert np.abs(found.values - blended.numpy()).max() <= 0.25 / 65535


@pytest.mark.parametrize("along", [0, 1, 2])
def test_a_scratch_keeps_what_was_let_go(along, tmp_path):
    scratch = Scratch((2, 5, 6, 7), along, tmp_path)
    expected = np.random.default_rng(0).integers(0, 65536, (2, 5, 6, 7)).astype(np.uint16)
    for start in range(5 + along):
        part = [slice(None)] * 4
        part[along + 1] = slice(start, start + 1)
        scratch.values[tuple(part)] = expected[tuple(part)]
        scratch.let_go()
    assert np.array_equal(scratch.values, expected)


def test_a_full_disk_is_an_error_and_not_the_end_of_the_process(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("volseg.inference.scratch.os.posix_fallocate", refuse)
    with pytest.raises(OSError, match=f"No space left on device: '{tmp_path}'"):
        Scratch((2, 5, 6, 7), 0, tmp_path)
