"""A real MONAI Label serves every segmentation bundle, and answers as ``volseg segment`` does.

``pytest tests/clients -m monailabel`` runs this; the first time it makes an environment.
"""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.clients.server import ROOT, Server, serving
from tests.clients.studies import Volume, example, in_guises, mark_classes
from volseg.bundle import Bundle
from volseg.data.channels import scanned
from volseg.networks.storage import read_state_dict, read_tensors

pytestmark = [pytest.mark.monailabel, pytest.mark.slow, pytest.mark.real]

BUNDLES = [
    path.parents[1]
    for path in sorted(ROOT.glob("bundles/*/configs/metadata.json"))
    if "monai-label" in json.loads(path.read_text()).get("supported_apps", {})
]

GUISES = ["plain", "with a space", "float64", "skewed"]

UNLABELLED = "with a space"
"""The case that nobody has labelled yet, so that the server has one to propose."""

APPS = ["monaibundle", "radiology"]

ALIKE = 0.999
"""Least Dice with what ``volseg segment`` gives: the same steps, by another version of numpy."""


@dataclass
class Session:
    """A server and what it and ``volseg segment`` made of the study.

    Args:
        server: The server.
        source: The bundle of which it serves a copy.
        study: Folder of the images.
        folder: Where the masks are.
        info: What it says of itself.
        proposed: The case that it would have labelled next.
    """

    server: Server
    source: Bundle
    study: Path
    folder: Path
    info: dict = field(default_factory=dict)
    proposed: dict = field(default_factory=dict)

    @property
    def has_weights(self) -> bool:
        return (self.source.root / "models" / "model.pt").is_file()

    def images(self) -> list[Path]:
        return [self.study / f"{name_of(guise, self.source)}.nii.gz" for guise in GUISES]


@pytest.fixture(scope="module", params=APPS)
def app(request):
    return request.param


@pytest.fixture(scope="module", params=BUNDLES, ids=lambda path: path.name)
def session(request, app, shared_data, tmp_path_factory):
    """Serve a bundle, and ask for all masks before anybody trains."""
    bundle, folder = Bundle(request.param), tmp_path_factory.mktemp("session")
    study = write_study(bundle, example(bundle, shared_data, folder), folder / "study")
    (folder / "server").mkdir()
    with serving(bundle.root, study, app, folder / "server") as server:
        now = Session(server, bundle, study, folder, server.get("/info/"))
        now.proposed = server.post("/activelearning/first")
        if now.has_weights:
            segment(now.images(), bundle.root, folder / "volseg")
            for name in (path.name.removesuffix(".nii.gz") for path in now.images()):
                server.infer(name, folder / "server_masks" / f"{name}.nii.gz")
        yield now


@pytest.fixture(scope="module")
def retrained(session):
    """Train two epochs of two steps on small patches, with all options that 3D Slicer sends."""
    config = session.server.bundle / "configs" / "train.json"
    values = json.loads(config.read_text())
    values["loop"].update({"epoch_length": 2, "num_workers": 0})
    values["patch_size"] = [min(size, 32) for size in values["patch_size"]]
    config.write_text(json.dumps(values))
    task = session.server.train(max_epochs=2)
    assert task["status"] == "DONE", "\n".join(task["details"])[-4000:]
    return session


@pytest.fixture
def trained(session):
    if not session.has_weights:
        pytest.skip(f"{session.source.name} comes without weights")
    return session


def write_study(bundle: Bundle, image: Volume, study: Path) -> Path:
    """Write the image in all guises, and labels for all but one."""
    labels = in_guises(mark_classes(image, len(bundle.classes())))
    for guise, volume in in_guises(image).items():
        file = f"{name_of(guise, bundle)}.nii.gz"
        volume.save(study / file)
        if guise != UNLABELLED:
            labels[guise].save(study / "labels" / "final" / file)
    return study


def name_of(guise: str, bundle: Bundle) -> str:
    """Name a case; where the network takes several sequences, after the one that it shows."""
    channels = scanned(bundle.raw_config("inference")["channels"])
    return guise if len(channels) == 1 else f"{guise}_{channels[0]}"


def segment(images: list[Path], bundle: Path, output: Path) -> None:
    command = [sys.executable, "-m", "volseg.cli.main", "segment", *images]
    done = subprocess.run(
        [*command, "--bundle", bundle, "--output", output],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def require_alike(ours: Path, theirs: Path, classes: list[int]) -> None:
    """Compare two masks: the grid exactly, the header to its rounding, each class by Dice."""
    first, second = nib.load(ours), nib.load(theirs)
    assert second.shape == first.shape
    # ITK writes the quaternion, of 32-bit numbers; 1e-3 mm is far below a voxel
    np.testing.assert_allclose(second.affine, first.affine, atol=1e-3)
    a, b = np.asarray(first.dataobj), np.asarray(second.dataobj)
    assert set(np.unique(b)) <= {0, *classes}
    for value in classes:
        total = np.count_nonzero(a == value) + np.count_nonzero(b == value)
        both = np.count_nonzero((a == value) & (b == value))
        assert 2 * both >= ALIKE * total, f"class {value}: {both} of {total / 2} voxels"


def values(bundle: Bundle) -> list[int]:
    return [value for value in bundle.classes() if value > 0]


def test_the_server_lists_the_bundle_for_training_and_its_classes_in_lower_case(session):
    name = session.source.name
    assert session.info["trainers"][name]["version"] == session.source.metadata["version"]
    if session.has_weights:
        model = session.info["models"][name]
        assert (model["type"], model["dimension"]) == ("segmentation", 3)
        named = {n.lower(): v for v, n in session.source.classes().items() if v > 0}
        assert model["labels"] == named


def test_the_next_sample_is_the_case_without_a_label(session):
    assert session.proposed["id"] == name_of(UNLABELLED, session.source)


@pytest.mark.parametrize("guise", GUISES)
def test_a_mask_of_the_server_is_that_of_volseg(trained, guise):
    ours = trained.folder / "volseg" / f"{guise}.nii.gz"  # a case is named without its sequence
    theirs = trained.folder / "server_masks" / f"{name_of(guise, trained.source)}.nii.gz"
    require_alike(ours, theirs, values(trained.source))
    found = np.unique(np.asarray(nib.load(ours).dataobj))
    assert set(found) == {0, *values(trained.source)}, "nothing to compare"


def test_training_writes_the_same_new_weights_in_both_formats(retrained):
    models = retrained.server.bundle / "models"
    state, tensors = (
        read_state_dict(models / "model.pt"),
        read_tensors(models / "model.safetensors"),
    )
    assert state.keys() == tensors.keys()
    assert all(state[name].equal(tensors[name]) for name in state)
    if retrained.has_weights:
        old = read_state_dict(retrained.source.root / "models" / "model.pt")
        assert not all(state[name].equal(old[name]) for name in state)


def test_after_training_server_and_volseg_both_use_the_new_weights(retrained, tmp_path):
    if not retrained.has_weights:
        pytest.skip("a server looks for weights when it starts")
    segment(retrained.images()[:1], retrained.server.bundle, tmp_path)
    file = f"{name_of('plain', retrained.source)}.nii.gz"
    mask = retrained.server.infer(file.removesuffix(".nii.gz"), tmp_path / "server" / file)
    require_alike(tmp_path / "plain.nii.gz", mask, values(retrained.source))
    before = retrained.folder / "server_masks" / file
    assert not np.array_equal(nib.load(mask).dataobj, nib.load(before).dataobj)


def test_a_bundle_without_weights_can_be_segmented_with_once_it_was_trained(retrained, tmp_path):
    if retrained.has_weights:
        pytest.skip("this one has weights")
    segment(retrained.images()[:1], retrained.server.bundle, tmp_path)
    (mask,) = tmp_path.glob("*.nii.gz")
    mask = np.asarray(nib.load(mask).dataobj)
    assert set(np.unique(mask)) <= {0, *values(retrained.source)}


def test_nothing_was_written_into_the_bundle_that_was_served(retrained):
    copy = retrained.server.bundle / "configs" / "inference.json"
    assert hash_of(copy) == hash_of(retrained.source.root / "configs" / "inference.json")
    assert not (retrained.source.root / "train").exists()


def hash_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
