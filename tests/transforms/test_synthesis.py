"""Synthetic heads: brightness, partial volume, symmetry, and what the scan does not show."""

import json
import pickle

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from volseg.errors import DataError
from volseg.transforms.label_kinds import Kind
from volseg.transforms.synthesis import (
    RandSynthesized,
    Synthesis,
    sample_synthesis,
    synthesize,
)

MM = (1.0, 1.0, 1.0)
LABELS = [0, 2, 3, 4, 24, 41, 42, 43, 507, 511, 515]


def plain(means, kinds=None, **changes):
    """A synthesis without any texture."""
    zeros = dict.fromkeys(means, 0.0)
    kinds = kinds or dict.fromkeys(means, "other")
    values = {
        "contrast": "unknown",
        "kinds": kinds,
        "means": means,
        "deviations": zeros,
        "drifts": zeros,
        "streaks": {},
        "blur": 0.0,
        "noise": 0.0,
        "lesions": (),
        "view": "head",
        "margins": (-1.0,) * 6,
        "seed": 0,
    }
    return Synthesis(**{**values, **changes})


def head(size=(30, 36, 32)):
    """Nested boxes: air, skin, bone, fluid, grey, white, ventricle; the sides differ in number."""
    labels = torch.zeros(size, dtype=torch.int16)
    for inset, left, right in ((2, 511, 511), (3, 507, 507), (5, 515, 515), (6, 24, 24)):
        fill(labels, inset, left, right)
    for inset, left, right in ((7, 3, 42), (9, 2, 41), (12, 4, 43)):
        fill(labels, inset, left, right)
    return labels


def fill(labels, inset, left, right):
    middle = labels.shape[0] // 2
    box = tuple(slice(inset, n - inset) for n in labels.shape)
    values = torch.where(torch.arange(labels.shape[0]) < middle, left, right).to(labels.dtype)
    labels[box] = values[box[0]].view(-1, 1, 1)


def test_a_label_has_its_own_brightness():
    labels = torch.zeros(20, 10, 10, dtype=torch.int32)
    labels[10:] = 600
    image = synthesize(labels, plain({0: 0.25, 600: 1.0}), MM)
    assert image.shape == (1, 20, 10, 10)
    assert image.dtype == torch.float32
    torch.testing.assert_close(image[0, :8], torch.full((8, 10, 10), 0.25))
    torch.testing.assert_close(image[0, 12:], torch.full((8, 10, 10), 1.0))


def test_partial_volume_mixes_neighbours_by_the_weights_of_a_gaussian():
    labels = torch.zeros(20, 4, 4, dtype=torch.int32)
    labels[10:] = 1
    image = synthesize(labels, plain({0: 0.0, 1: 1.0}), MM)[0, :, 0, 0]
    # The least blur is 0.4 voxels: weights 1 and exp(-0.5 / 0.16) on each side.
    weight = np.exp(-0.5 / 0.4**2)
    assert float(image[9]) == pytest.approx(weight / (1 + 2 * weight), abs=1e-6)
    assert float(image[10]) == pytest.approx(1 - weight / (1 + 2 * weight), abs=1e-6)


def test_the_blur_is_in_mm():
    labels = torch.zeros(40, 4, 4, dtype=torch.int32)
    labels[20:] = 1
    fine = synthesize(labels, plain({0: 0.0, 1: 1.0}, blur=2.0), MM)[0, :, 0, 0]
    coarse = synthesize(labels, plain({0: 0.0, 1: 1.0}, blur=4.0), (2.0, 1.0, 1.0))[0, :, 0, 0]
    torch.testing.assert_close(fine, coarse)


def test_the_grain_is_as_strong_as_the_point_spread_leaves_it():
    labels = torch.ones(48, 48, 48, dtype=torch.int32)
    synthesis = plain({1: 10.0}, deviations={1: 1.0})
    weight = np.exp(-0.5 / 0.4**2)
    total = 1 + 2 * weight
    expected = ((1 + 2 * weight**2) / total**2) ** 1.5
    assert float(synthesize(labels, synthesis, MM).std()) == pytest.approx(expected, rel=0.02)


def test_numbers_above_255_do_not_wrap():
    labels = torch.tensor([2, 258, 514, 14175], dtype=torch.int32).view(4, 1, 1)
    labels = labels.repeat_interleave(8, 0).expand(32, 8, 8)
    image = synthesize(labels, plain({2: 0.1, 258: 0.4, 514: 0.7, 14175: 1.0}), MM)[0]
    for place, mean in ((3, 0.1), (11, 0.4), (20, 0.7), (28, 1.0)):
        assert float(image[place, 4, 4]) == pytest.approx(mean, abs=1e-5)


def test_float_labels_are_read_as_whole_numbers():
    labels = head()
    synthesis = sample_synthesis(LABELS, np.random.RandomState(0))
    expected = synthesize(labels, synthesis, MM)
    assert torch.equal(synthesize(labels.float() + 1e-4, synthesis, MM), expected)
    assert torch.equal(synthesize(labels.long(), synthesis, MM), expected)


def test_half_labels_are_refused():
    with pytest.raises(DataError, match="not whole numbers"):
        synthesize(torch.full((2, 2, 2), 0.5), plain({0: 1.0}), MM)


def test_negative_labels_are_refused():
    with pytest.raises(DataError, match="smallest label is -1"):
        synthesize(torch.full((2, 2, 2), -1), plain({0: 1.0}), MM)


def test_mirrored_labels_give_the_mirrored_image():
    labels = head()
    synthesis = plain({n: float(i) for i, n in enumerate(LABELS)}, blur=1.2)
    image = synthesize(labels, synthesis, MM)
    for axis in range(3):
        mirrored = synthesize(labels.flip(axis), synthesis, MM)
        torch.testing.assert_close(mirrored, image.flip(axis + 1))


@pytest.mark.parametrize("seed", range(6))
def test_a_draw_survives_json(seed):
    synthesis = sample_synthesis(LABELS, np.random.RandomState(seed), lesion_share=1.0)
    read = Synthesis.from_dict(json.loads(json.dumps(synthesis.as_dict())))
    assert read == synthesis
    assert torch.equal(synthesize(head(), read, MM), synthesize(head(), synthesis, MM))


def test_the_same_seed_gives_the_same_head_and_another_seed_another():
    first, second, third = (
        synthesize(head(), sample_synthesis(LABELS, np.random.RandomState(seed)), MM)
        for seed in (4, 4, 5)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_left_and_right_look_alike_in_nineteen_of_twenty_heads():
    random = np.random.RandomState(0)
    draws = [sample_synthesis(LABELS, random) for _ in range(600)]
    for left, right in ((2, 41), (3, 42), (4, 43)):
        alike = sum(each.means[left] == each.means[right] for each in draws)
        # Binomial with n = 600 and p = 0.95: 570 with a deviation of 5.3.
        assert 550 <= alike <= 590
        assert all(abs(each.means[left] / each.means[right] - 1) < 0.3 for each in draws)


def test_a_contrast_is_drawn_as_often_as_asked():
    random = np.random.RandomState(0)
    shares = {"T1": 3, "T2": 1}
    names = [sample_synthesis(LABELS, random, shares).contrast for _ in range(400)]
    assert set(names) == {"T1", "T2"}
    assert 300 - 4 * 8.7 < names.count("T1") < 300 + 4 * 8.7


@pytest.mark.parametrize("shares", [{"CT": 1.0}, {"T1": 1.0, "t1": 0.0}])
def test_a_contrast_that_is_not_known_is_refused_whether_drawn_or_not(shares):
    known = "use T1, T1c, T2, FLAIR, PD, unknown"
    with pytest.raises(DataError, match=f"contrast '{list(shares)[-1]}' is not known; {known}"):
        sample_synthesis(LABELS, np.random.RandomState(0), shares)


def kinds_of_head():
    return sample_synthesis(LABELS, np.random.RandomState(0)).kinds


def test_a_stripped_head_shows_the_brain_and_the_fluid_in_its_furrows():
    labels = head((44, 44, 44))
    labels[20:23, 7:16, 9:35] = 24
    labels[24, 20, 20] = 515
    means = dict.fromkeys(LABELS, 1.0)
    image = synthesize(labels, plain(means, kinds_of_head(), view="brain"), MM)[0]
    is_solid = (labels > 1) & (labels < 44) & (labels != 24)
    assert bool((image[is_solid] > 0).all())
    assert bool((image[20:23, 9:16, 12:32] > 0).all())
    assert not bool(image[labels >= 500].any())
    assert not bool(image[labels == 0].any())


def test_bare_tissue_is_shown_without_outer_fluid():
    labels = head()
    means = dict.fromkeys(LABELS, 1.0)
    image = synthesize(labels, plain(means, kinds_of_head(), view="tissue"), MM)[0]
    is_shown = (labels > 0) & (labels < 44) & (labels != 24)
    assert torch.equal(image > 0, is_shown)


def test_a_cut_leaves_its_margin_around_the_brain():
    labels = head()
    means = dict.fromkeys(LABELS, 1.0)
    synthesis = plain(means, kinds_of_head(), margins=(4.0, -1.0, -1.0, 2.0, -1.0, -1.0))
    shown = synthesize(labels, synthesis, (2.0, 1.0, 1.0))[0] > 0
    # The brain's box is 7 to 22 and 7 to 28: 4 mm are 2 voxels before it along the first axis.
    rows = shown.any(dim=2).any(dim=1).nonzero().flatten()
    columns = shown.any(dim=2).any(dim=0).nonzero().flatten()
    assert (int(rows[0]), int(rows[-1])) == (5, 29)
    assert (int(columns[0]), int(columns[-1])) == (0, 30)


def test_no_drawn_cut_touches_the_brain():
    labels = head()
    is_solid = (labels > 1) & (labels < 44) & (labels != 24)
    cuts = 0
    for seed in range(20):
        drawn = sample_synthesis(LABELS, np.random.RandomState(seed), stripped_share=0.0)
        synthesis = plain(dict.fromkeys(LABELS, 1.0), kinds_of_head(), margins=drawn.margins)
        image = synthesize(labels, synthesis, (5.0, 5.0, 5.0))[0]
        cuts += bool((image == 0).any())
        assert bool((image[is_solid] > 0).all())
    assert cuts > 5


def test_fat_lies_under_the_skin():
    labels = torch.full((60, 60, 60), 507, dtype=torch.int16)
    labels[:5] = 0
    synthesis = plain({0: 0.0, 507: 0.0}, {0: "air", 507: "soft"}, streaks={507: (1.0, 0.3)})
    image = synthesize(labels, synthesis, MM)[0]
    assert float(image[6:8].mean()) > 0.8
    assert float(image[30:].mean()) < 0.3


def test_a_lesion_changes_its_surroundings_only():
    labels = head((48, 48, 48))
    random = np.random.RandomState(0)
    synthesis = sample_synthesis(LABELS, random, {"FLAIR": 1.0}, lesion_share=0, stripped_share=0)
    ill = sample_synthesis(
        LABELS, np.random.RandomState(0), {"FLAIR": 1.0}, lesion_share=1, stripped_share=0
    )
    healthy = synthesize(labels, synthesis, MM)[0]
    both = {**synthesis.as_dict(), "lesions": ill.as_dict()["lesions"]}
    changed = synthesize(labels, Synthesis.from_dict(both), MM)[0] != healthy
    assert bool(changed.any())
    assert not bool(changed[:4].any())
    assert not bool(changed[labels == 507].any())


class TestTransform:
    def test_it_does_what_its_functions_do(self):
        transform = RandSynthesized(spacing=(1.5, 1.5, 1.5)).set_random_state(3)
        done = transform({"labels": head()[None]})
        random = np.random.RandomState(3)
        expected = sample_synthesis(LABELS, random)
        assert done["contrast"] == expected.contrast
        assert torch.equal(done["image"], synthesize(head(), expected, (1.5, 1.5, 1.5)))

    def test_spacing_comes_from_the_affine_of_a_left_handed_map(self):
        affine = np.array([[-1.5, 0, 0, 90], [0, 0, 2.0, -9], [0, -1.0, 0, 4], [0, 0, 0, 1]])
        labels = MetaTensor(head()[None], affine=torch.from_numpy(affine))
        transform = RandSynthesized().set_random_state(3)
        image = transform({"labels": labels})["image"]
        assert isinstance(image, MetaTensor)
        assert torch.equal(image.affine, labels.affine)
        synthesis = sample_synthesis(LABELS, np.random.RandomState(3))
        expected = synthesize(head(), synthesis, (1.5, 1.0, 2.0))
        assert torch.equal(image.as_tensor(), expected)

    def test_a_case_without_labels_is_left_alone(self):
        case = {"image": torch.ones(1, 2, 2, 2)}
        assert RandSynthesized()(case) == case

    def test_it_pickles_with_its_state(self):
        transform = RandSynthesized(shares={"T1": 1.0}).set_random_state(7)
        copy = pickle.loads(pickle.dumps(transform))
        case = {"labels": head()[None]}
        assert torch.equal(copy(case)["image"], transform(case)["image"])

    def test_the_input_is_not_changed(self):
        labels = head()[None]
        before = labels.clone()
        RandSynthesized().set_random_state(0)({"labels": labels})
        assert torch.equal(labels, before)


@pytest.fixture(scope="session")
def real_labels(shared_data):
    volumes = {}
    for name in ("training_seg_01", "training_seg_02"):
        scan = nib.load(shared_data / "brain_labelmaps" / f"{name}.nii.gz")
        volumes[name] = torch.from_numpy(np.asarray(scan.dataobj)[::3, ::3, ::3].copy())
    return volumes


@pytest.mark.real
@pytest.mark.parametrize("name", ["training_seg_01", "training_seg_02"])
def test_real_label_maps_get_the_order_of_tissues_that_was_drawn(real_labels, name):
    labels = real_labels[name]
    values = torch.unique(labels.int()).tolist()
    for contrast, bright, dark in (("T1", 2, 4), ("T2", 4, 2), ("FLAIR", 3, 4)):
        synthesis = sample_synthesis(
            values, np.random.RandomState(1), {contrast: 1.0}, lesion_share=0, stripped_share=0
        )
        assert Kind.OTHER.value not in synthesis.kinds.values()
        image = synthesize(labels, synthesis, (3.0, 3.0, 3.0))[0]
        assert float(image[labels == bright].median()) > 1.1 * float(image[labels == dark].median())
        assert bool(torch.isfinite(image).all())
        assert float(image.min()) >= 0
