"""A network that runs out of memory is given less at once, and what was given up is said."""

from collections import Counter

import numpy as np
import pytest
import torch

from tests.inference.threshold import (
    CLASSES,
    Threshold,
    expected_labels,
    preprocessing,
    save_image,
)
from volseg.data.geometry import Grid
from volseg.errors import BundleError, DataError
from volseg.inference.computation import Computation, find_flip_axes
from volseg.inference.memory import Ceiling
from volseg.inference.plausibility import Verdict
from volseg.inference.predictor import Predictor
from volseg.inference.preparation import Prepared
from volseg.inference.retreat import Effort, is_short_of_memory
from volseg.inference.sliding_window import SlidingWindow

CPU = torch.device("cpu")

TURNED = np.array([[0.8, -0.6, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])


class Narrow(Threshold):
    """Has memory for so many windows at once."""

    def __init__(self, most, error=None):
        super().__init__()
        self.most = most
        self.error = error or torch.OutOfMemoryError("CUDA out of memory. Tried 2 GiB\nand so on")
        self.seen = []

    def forward(self, x):
        self.seen.append(len(x))
        if len(x) > self.most:
            raise self.error
        return super().forward(x)


def predictor_of(network, batch_size, **options):
    inferer = SlidingWindow((4, 4, 4), 0.25, batch_size)
    return Predictor(network, preprocessing(), inferer, CLASSES, **options)


def test_windows_at_once_are_halved_until_they_fit_and_stay_so(tmp_path):
    values = save_image(tmp_path / "a.nii.gz")
    network = Narrow(most=3)
    predictor = predictor_of(network, batch_size=8)
    prediction = predictor.predict(tmp_path / "a.nii.gz")
    assert np.array_equal(prediction.labels, expected_labels(values))
    assert prediction.warnings == ("memory of cpu was too short for 8 windows at once: 2",)
    assert network.seen[:3] == [8, 4, 2]
    again = predictor.predict(tmp_path / "a.nii.gz")
    assert again.warnings == ()
    assert Counter(network.seen)[8] == 1


def test_a_volume_that_does_not_fit_at_once_is_swept_in_bands(tmp_path):
    values = save_image(tmp_path / "a.nii.gz")

    class Full(Threshold):
        """Memory is full of logits until the third attempt."""

        failures = 0

        def forward(self, x):
            if self.failures < 2:
                self.failures += 1
                raise RuntimeError("MPS backend out of memory")
            return super().forward(x)

    prediction = predictor_of(Full(), batch_size=1).predict(tmp_path / "a.nii.gz")
    assert np.array_equal(prediction.labels, expected_labels(values))
    assert prediction.warnings == (
        "memory of cpu was too short for the volume at once: swept in 4 bands",
    )


def test_with_a_guard_memory_is_saved_too(tmp_path):
    values = save_image(tmp_path / "a.nii.gz", affine=TURNED)

    class Nod:
        def judge(self, evidence):
            assert len(evidence.probabilities) == len(CLASSES)
            return Verdict(evidence.labels, {}, ["nodded"])

    predictor = predictor_of(Narrow(most=1), batch_size=4, guard=Nod())
    prediction = predictor.predict(tmp_path / "a.nii.gz")
    assert np.array_equal(prediction.labels, expected_labels(values))
    assert prediction.warnings == (
        "nodded",
        "memory of cpu was too short for 4 windows at once: 1",
    )


def test_a_volume_that_never_fits_fails_in_one_line(tmp_path):
    save_image(tmp_path / "a.nii.gz")
    network = Narrow(most=0, error=MemoryError())
    with pytest.raises(DataError, match=r"^no memory left; allow more memory$"):
        predictor_of(network, batch_size=2).predict(tmp_path / "a.nii.gz")
    # two windows, then one in 1, 2, 4, 8 and 10 bands of the 10 rows
    assert network.seen == [2, 1, 1, 1, 1, 1]


def test_efforts_shrink_from_windows_to_bands_to_the_cpu():
    gpu = torch.device("cuda", 1)
    effort, seen = Effort(gpu, 4), []
    while effort is not None:
        seen.append((str(effort.device), effort.batch_size, effort.num_bands))
        effort = effort.less(most_bands=3)
    on_gpu = [(4, 1), (2, 1), (1, 1), (1, 2), (1, 3)]
    assert seen == [
        *(("cuda:1", *pair) for pair in on_gpu),
        *(("cpu", 1, bands) for bands in (1, 2, 3)),
    ]
    first = Effort(gpu, 4)
    assert Effort(CPU, 1).describe(first) == ["memory of cuda:1 was too short: computed on the CPU"]
    assert Effort(gpu, 1, 3).describe(first) == [
        "memory of cuda:1 was too short for 4 windows at once: 1",
        "memory of cuda:1 was too short for the volume at once: swept in 3 bands",
    ]
    assert first.describe(first) == []


@pytest.mark.parametrize(
    ("error", "is_short"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_a_lack_of_memory_is_told_from_other_errors(error, is_short):
    assert is_short_of_memory(error) == is_short


def test_other_errors_are_not_tried_again(tmp_path):
    save_image(tmp_path / "a.nii.gz")
    network = Narrow(most=0, error=RuntimeError("illegal access"))
    with pytest.raises(RuntimeError, match="illegal access"):
        predictor_of(network, batch_size=2).predict(tmp_path / "a.nii.gz")
    assert network.seen == [2]


def test_a_ceiling_that_cannot_be_kept_is_said():
    engine = predictor_of(Threshold(), 1).engine
    grid, turned = Grid((4, 5, 6), np.eye(4)), Grid((4, 5, 6), TURNED)
    image, ample = torch.zeros(1, 4, 5, 6), Ceiling(host=1 << 40)

    def notes(native, ceiling, **options):
        return engine.run(Prepared(image, grid, native), ceiling, None, **options).notes

    assert notes(grid, ample) == ()
    assert notes(turned, Ceiling()) == ()
    said = "all probabilities were in memory at once, whatever the ceiling, since"
    assert notes(turned, ample) == (f"{said} the image is oblique to its axes",)
    assert notes(grid, ample, needs_all=True) == (f"{said} a guard looks at them",)


class Precision(Threshold):
    """Tells in which precision it multiplies."""

    def forward(self, x):
        self.dtype = (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
        return super().forward(x)


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("auto", torch.float32), ("float32", torch.float32), ("bfloat16", torch.bfloat16)],
)
def test_the_precision_is_that_of_the_products(precision, dtype):
    network = Precision()
    predictor = predictor_of(network, 1, computation=Computation(precision=precision))
    predictor.predict_image((np.zeros((4, 5, 6)), np.eye(4)))
    assert network.dtype == dtype


def test_what_means_nothing_is_refused():
    with pytest.raises(DataError, match="precision is 'half'; use one of auto, float32"):
        Computation(precision="half")
    with pytest.raises(DataError, match="'spread' is no map; use any of probabilities, entropy"):
        Computation(maps=("entropy", "spread"))
    with pytest.raises(DataError, match="the variance is that of flipped views; allow flips"):
        Computation(maps=("variance",))
    with pytest.raises(DataError, match="test-time augmentation is 'turns'; use one of none"):
        find_flip_axes({}, "turns")
    with pytest.raises(BundleError, match="declares no axis along which its labels may be flipped"):
        find_flip_axes({"flip_axes": []}, "flips")
    with pytest.raises(BundleError, match=r"flip_axes of the bundle are \[3\]; use 0, 1 and 2"):
        find_flip_axes({"flip_axes": [3]}, "flips")
    assert find_flip_axes({"flip_axes": [2, 0]}, "flips") == (0, 2)
    assert find_flip_axes({"flip_axes": [2, 0]}, "none") == ()
