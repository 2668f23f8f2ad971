"""What the guard of a cavity measures, removes and says."""

import json

import numpy as np
import pytest
import torch
from scipy import ndimage

from tests.inference.heads import brain, centred, places
from volseg.data.geometry import Grid
from volseg.errors import BundleError
from volseg.inference.cavity_parts import Part
from volseg.inference.plausibility import STAGES, CavityGuard, Evidence

BIG, SMALL = ((-40, 5, 10), 14.0, 0.95), ((30, 5, -10), 8.0, 0.6)
"""Place, radius and probability: 11.5 mL of which the network is sure, 2 mL of which it is not."""

VOXEL_ML = 4.0**3 / 1000


def evidence(*balls, image=None):
    """Make what a network says of a brain with such balls in it."""
    shape, affine = centred()
    chance = np.full(shape, 0.02, np.float32)
    for centre, radius, probability in balls:
        chance[np.linalg.norm(places(shape, affine) - centre, axis=-1) < radius] = probability
    values = brain(shape, affine) if image is None else image(shape)
    values[chance > 0.5] = 0
    return Evidence(
        (chance > 0.5).astype(np.uint8),
        Grid(shape, affine),
        torch.from_numpy(np.stack([1 - chance, chance])),
        torch.from_numpy(values).float()[None],
        affine,
    )


def balls_of(given):
    """Count the voxels of each ball."""
    numbers, count = ndimage.label(given.labels)
    return sorted(np.bincount(numbers.ravel())[1 : count + 1], reverse=True)


@pytest.fixture(scope="module")
def both():
    return evidence(BIG, SMALL)


def test_parts_are_measured_in_ml_with_confidence_and_side(both):
    findings = CavityGuard(stage="postop").judge(both).findings
    first, second = findings["parts"]
    voxels = balls_of(both)
    assert first["ml"] == pytest.approx(voxels[0] * VOXEL_ML)
    assert second["ml"] == pytest.approx(voxels[1] * VOXEL_ML)
    assert (first["confidence"], second["confidence"]) == (0.95, 0.6)
    assert second["evidence_ml"] == pytest.approx(second["ml"] * 0.2, abs=1e-3)
    assert (first["side"], second["side"]) == ("left", "right")
    assert first["centre_mm"] == pytest.approx(BIG[0], abs=1)
    assert findings["cavity_ml"] == pytest.approx(first["ml"] + second["ml"])
    json.dumps(findings)


def test_evidence_is_volume_times_how_far_the_confidence_exceeds_one_half():
    assert Part(10, 1.0, None).evidence_ml == 10
    assert Part(10, 0.75, None).evidence_ml == 5
    assert Part(10, 0.5, None).evidence_ml == 0
    assert Part(10, 0.4, None).evidence_ml == 0


def test_auto_removes_what_has_little_evidence_and_names_it(both):
    verdict = CavityGuard(least_ml=1.0, convincing_ml=1.0).judge(both)
    voxels = balls_of(both)
    assert verdict.labels.sum() == voxels[0]
    gone = voxels[1] * VOXEL_ML
    assert verdict.findings["removed_ml"] == pytest.approx(gone)
    assert verdict.findings["cavity_ml"] == pytest.approx(voxels[0] * VOXEL_ML)
    assert [part["kept"] for part in verdict.findings["parts"]] == [True, False]
    (warning,) = verdict.warnings
    assert warning == (
        f"removed {gone:.2f} mL of cavity (parts of {gone:.2f} mL): their evidence is below 1 mL"
        " each"
    )
    assert verdict.findings["summary"].startswith(f"cavity {voxels[0] * VOXEL_ML:.2f} mL, left, ")


def test_auto_keeps_what_reaches_the_limit(both):
    assert balls_of(both)[1] * VOXEL_ML * 0.2 == pytest.approx(0.358, abs=1e-3)
    verdict = CavityGuard(least_ml=0.35, convincing_ml=1.0).judge(both)
    assert np.array_equal(verdict.labels, both.labels)
    assert verdict.warnings == []
    assert verdict.findings["summary"].startswith("2 parts of a cavity: ")


def test_before_surgery_every_cavity_is_removed_with_a_warning(both):
    verdict = CavityGuard(stage="preop").judge(both)
    assert not verdict.labels.any()
    total = sum(balls_of(both)) * VOXEL_ML
    (warning,) = verdict.warnings
    assert warning.startswith(f"removed {total:.2f} mL of cavity (parts of ")
    assert warning.endswith("implausible before surgery; the mask is empty")
    assert verdict.findings["summary"] == "no cavity"


def test_after_surgery_nothing_is_removed_and_an_empty_mask_is_a_warning():
    doubtful = evidence(SMALL)
    kept = CavityGuard(stage="postop").judge(doubtful)
    assert np.array_equal(kept.labels, doubtful.labels)
    empty = CavityGuard(stage="postop").judge(evidence())
    assert empty.warnings == ["no cavity was found, though the scan is said to be postoperative"]


def test_what_was_given_is_never_changed(both):
    before = both.labels.copy()
    for stage in STAGES:
        CavityGuard(stage=stage, least_ml=1.0, convincing_ml=1.0).judge(both)
    assert np.array_equal(both.labels, before)


@pytest.mark.parametrize(
    ("balls", "looks_preoperative"), [((BIG,), False), ((SMALL,), True), ((), True)]
)
def test_a_scan_without_a_convincing_part_looks_preoperative(balls, looks_preoperative):
    verdict = CavityGuard().judge(evidence(*balls))
    assert verdict.findings["looks_preoperative"] is looks_preoperative
    said = any("looks like a preoperative scan" in each for each in verdict.warnings)
    assert said is looks_preoperative


def test_before_surgery_a_scan_that_looks_so_is_nothing_to_warn_of():
    assert CavityGuard(stage="preop").judge(evidence()).warnings == []


@pytest.mark.parametrize(
    ("usual", "is_usual"), [((1, 20), True), ((20, 80), False), ((1, 5), False)]
)
def test_an_unusual_volume_is_named(usual, is_usual):
    verdict = CavityGuard(usual_ml=usual).judge(evidence(BIG))
    assert verdict.findings["is_usual_volume"] is is_usual
    low, high = usual
    said = [each for each in verdict.warnings if "outside the usual range" in each]
    assert bool(said) is not is_usual
    assert all(each.endswith(f"of {low} to {high} mL") for each in said)


def test_a_cavity_on_both_sides_is_odd():
    verdict = CavityGuard().judge(evidence(((0, 20, 20), 14.0, 0.95)))
    assert any("crosses the midline" in warning for warning in verdict.warnings)


def test_parts_that_touch_at_a_corner_are_one():
    given = evidence()
    labels = given.labels
    labels[10, 10, 10] = labels[11, 11, 11] = 1
    assert len(CavityGuard(stage="postop").judge(given).findings["parts"]) == 1
    labels[20, 20, 20] = 1
    assert len(CavityGuard(stage="postop").judge(given).findings["parts"]) == 2


def test_a_guard_of_another_class_leaves_the_rest_alone(both):
    labels = both.labels.copy()
    labels[:4] = 2
    given = Evidence(labels, both.grid, both.probabilities, both.image, both.affine)
    verdict = CavityGuard(stage="preop").judge(given)
    assert set(np.unique(verdict.labels)) == {0, 2}


def test_an_image_without_a_head_has_no_site_but_is_judged():
    verdict = CavityGuard().judge(evidence(BIG, image=np.zeros))
    (part,) = verdict.findings["parts"]
    assert "side" not in part
    assert part["kept"]


def test_on_a_finer_grid_the_same_is_found_in_ml(both):
    """The image's own voxels need not be those of the network, nor run as they do."""
    size, affine = centred(np.diag([-1.0, 1, -1]), spacing=2.0, size=96)
    fine = np.repeat(np.repeat(np.repeat(both.labels, 2, 0), 2, 1), 2, 2)[::-1, :, ::-1]
    given = Evidence(fine, Grid(size, affine), both.probabilities, both.image, both.affine)
    ours, theirs = (CavityGuard(stage="postop").judge(each).findings for each in (given, both))
    assert ours["cavity_ml"] == pytest.approx(theirs["cavity_ml"])
    for one, other in zip(ours["parts"], theirs["parts"], strict=True):
        assert one["centre_mm"] == pytest.approx(other["centre_mm"], abs=0.11)
        assert one["side"] == other["side"]
        # at the border the probability falls to that outside, between the network's voxels
        assert other["confidence"] - 0.2 < one["confidence"] <= other["confidence"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"stage": "later"}, "stage is 'later'; use one of preop, postop, auto"),
        ({"least_ml": 2.0}, "limits are least 2.0, convincing 0.6"),
        ({"usual_ml": (5, 5)}, "each must be at least 0"),
    ],
)
def test_limits_that_mean_nothing_are_refused(given, message):
    with pytest.raises(BundleError, match=message):
        CavityGuard(**given)


TWINS = (((-40, 5, 10), 12.0, 0.95), ((40, 5, 10), 12.0, 0.95))


def test_what_lies_on_both_sides_alike_is_removed_and_named():
    given = evidence(*TWINS, ((-20, -50, 10), 9.0, 0.95))
    verdict = CavityGuard().judge(given)
    voxels = balls_of(given)
    assert verdict.labels.sum() == voxels[2]
    twins = [part for part in verdict.findings["parts"] if part["has_twin"]]
    assert [part["kept"] for part in twins] == [False, False]
    gone = sum(voxels[:2]) * VOXEL_ML
    assert verdict.findings["removed_ml"] == pytest.approx(gone)
    assert verdict.warnings[0].startswith(f"removed {gone:.2f} mL of cavity (parts of ")
    assert verdict.warnings[0].endswith("as wide fluid does; --stage postop keeps them")


def test_twins_are_no_evidence_of_surgery():
    verdict = CavityGuard().judge(evidence(*TWINS))
    assert verdict.findings["looks_preoperative"] is True
    assert not verdict.labels.any()


def test_after_surgery_twins_stay_and_are_odd():
    given = evidence(*TWINS)
    verdict = CavityGuard(stage="postop").judge(given)
    assert np.array_equal(verdict.labels, given.labels)
    odd = [warning for warning in verdict.warnings if "lies on both sides alike" in warning]
    assert len(odd) == 2


def test_a_cavity_that_joins_fluid_is_cut_from_it():
    cavity = ((-52, 5, 10), 12.0, 0.95)
    given, fluid = evidence(*TWINS, cavity), evidence(*TWINS)
    assert ndimage.label(given.labels)[1] == 2  # they touch
    verdict = CavityGuard().judge(given)
    kept = verdict.labels.astype(bool)
    assert kept.any()
    assert not (kept & fluid.labels.astype(bool)).any()


def test_a_limit_above_one_takes_nothing_for_fluid():
    given = evidence(*TWINS)
    assert np.array_equal(CavityGuard(alike=1.1).judge(given).labels, given.labels)
    with pytest.raises(BundleError, match="alike is 0; use a share above 0"):
        CavityGuard(alike=0)
