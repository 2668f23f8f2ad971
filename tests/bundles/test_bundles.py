"""Every bundle in ``bundles/``: its files, its facts, and what MONAI makes of it."""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import nibabel as nib
import numpy as np
import pytest
from monai.bundle import ConfigParser, ConfigWorkflow, run, verify_net_in_out
from monai.transforms import SaveImaged

from tests.bundles.synthetic import write_dataset, write_split
from volseg import __version__
from volseg.bundle import Bundle
from volseg.data.box_tables import read_boxes
from volseg.data.channels import scanned
from volseg.data.class_tables import chances_of_table
from volseg.engines.distributed import device
from volseg.errors import WeightsError, find_cause
from volseg.inference.predictor import Predictor
from volseg.networks.storage import read_state_dict
from volseg.overrides import flatten

BUNDLES = sorted(
    path.parents[1] for path in Path(__file__).parents[2].glob("bundles/*/configs/metadata.json")
)
SEGMENTATION = [path for path in BUNDLES if "segmentation" in path.name]

MONAI_TARGETS = {
    "monai.data.CacheDataset",
    "monai.data.Dataset",
    "monai.data.PersistentDataset",
    "monai.inferers.SimpleInferer",
    "monai.transforms.Compose",
    "monai.utils.set_determinism",
}
"""Configs state facts; of MONAI's own objects they may name these."""

PATCH = [16, 16, 32]
"""Five levels leave two voxels of it at the deepest."""

TINY = {
    "patch_size": PATCH,
    "train::trainer::max_epochs": 1,
    "loop::epoch_length": 2,
    "loop::progress": False,
    "loop::num_workers": 0,
    "train::dataset::progress": False,
}


FLIPS = {
    "brain_tumor_segmentation": [0],
    "ct_tumor_segmentation": [],
    "hippocampus_segmentation": [],
    "resection_cavity_segmentation": [0],
    "soft_tissue_sarcoma_segmentation": [0, 1, 2],
}
"""Axes along which each training flips its crops."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module", params=BUNDLES, ids=lambda path: path.name)
def trained(request, folder, tmp_path_factory) -> Bundle:
    """Train a copy of each bundle for one tiny epoch, from another working directory."""
    return train(request.param, data_of(request.param, folder), tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module", params=SEGMENTATION, ids=lambda path: path.name)
def segmenting(request, folder, tmp_path_factory) -> Bundle:
    return train(request.param, data_of(request.param, folder), tmp_path_factory.mktemp("run"))


@pytest.fixture
def data(request, folder) -> Path:
    """Give the data set of the bundle in hand."""
    own = {"trained", "segmenting"} & set(request.fixturenames)
    source = request.getfixturevalue(own.pop()).root if own else request.getfixturevalue("source")
    return data_of(source, folder)


def data_of(bundle: Path, folder: Path) -> Path:
    """Write cases with the bundle's classes; for one of several sequences, of the first."""
    config = json.loads(read(bundle, "train"))
    channels = scanned(config["channels"])
    sequence = channels[0] if len(channels) > 1 else ""
    num_classes = config.get("num_classes", 3)
    place = folder / f"{sequence or 'tiny'}_{num_classes}"
    if not place.exists():
        names = write_dataset(place, num_classes, sequence)
        rows = [f"{name},{index}" for index, name in enumerate(names)]
        (place / "labels.csv").write_text("\n".join(["case,label", *rows]))
    return place


def copy(source: Path, folder: Path) -> Bundle:
    root = folder / source.name
    shutil.copytree(source, root, ignore=shutil.ignore_patterns("models"))
    if (root / "configs" / "split.json").exists():
        write_split(root / "configs" / "split.json", [f"case_{i}" for i in range(3)])
    return Bundle(root)


def train(source: Path, data: Path, folder: Path) -> Bundle:
    bundle = copy(source, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_config(bundle, "train", data, **TINY)
    return bundle


def run_config(bundle: Bundle, kind: str, data: Path, **overrides) -> None:
    """Do what ``python -m monai.bundle run`` does, without starting Python anew."""
    run(
        config_file=str(bundle.root / "configs" / f"{kind}.json"),
        logging_file=False,
        bundle_root=str(bundle.root),
        dataset_dir=str(data),
        device="cpu",
        **overrides,
    )


def read(bundle: Path, kind: str) -> str:
    return (bundle / "configs" / f"{kind}.json").read_text()


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
class TestFiles:
    def test_nothing_is_missing_and_no_facts_contradict_each_other(self, bundle):
        assert Bundle(bundle).check() == []

    @pytest.mark.parametrize("kind", ["train", "inference"])
    def test_a_config_is_short_and_plain(self, bundle, kind):
        text = read(bundle, kind)
        assert len(text.splitlines()) <= 60
        assert "%" not in text
        assert "[:" not in text
        assert "import" not in text
        for key, value in flatten(json.loads(text)):
            if key.endswith("_target_"):
                is_ours = value.startswith(("volseg.", "torch.optim."))
                assert is_ours or value in MONAI_TARGETS, key

    @pytest.mark.parametrize("kind", ["train", "inference"])
    def test_a_reference_is_to_an_id_that_is_there(self, bundle, kind):
        config = dict(flatten(json.loads(read(bundle, kind))))
        references = [v[1:] for v in config.values() if isinstance(v, str) and v.startswith("@")]
        assert set(references) <= set(config)

    def test_what_is_said_about_the_data_and_the_licence_is_said(self, bundle):
        readme = (bundle / "docs" / "README.md").read_text()
        for heading in ("Data", "Performance", "Commands", "Limits", "Licence"):
            assert f"\n## {heading}\n" in readme
        assert "monai.bundle run" in readme
        assert "Apache License" in (bundle / "LICENSE").read_text()
        if (bundle / "models").is_dir():
            licence = (bundle / "docs" / "data_license.txt").read_text()
            assert "CC BY" in licence or "Apache License" in licence

    def test_the_metadata_are_valid_and_name_this_volseg(self, bundle, repository):
        metadata = json.loads(read(bundle, "metadata"))
        schema = repository / "tests" / "data" / "meta_schema_20240725.json"
        jsonschema.validate(metadata, json.loads(schema.read_text()))
        assert metadata["schema"].endswith(schema.name)
        assert metadata["version"] in metadata["changelog"]
        assert metadata["required_packages_version"]["volseg"] == __version__

    def test_the_network_takes_and_gives_what_the_metadata_say(self, bundle):
        verify_net_in_out(
            net_id="network_def",
            meta_file=str(bundle / "configs" / "metadata.json"),
            config_file=str(bundle / "configs" / "inference.json"),
            device="cpu",
        )

    def test_weights_are_small_enough_and_fit(self, bundle):
        files = list((bundle / "models").glob("*")) if (bundle / "models").is_dir() else []
        assert max((path.stat().st_size for path in files), default=0) <= 16 * 2**20
        assert {path.suffix for path in files} <= {".pt", ".safetensors"}
        if files:
            network = Bundle(bundle).config("inference").get_parsed_content("network_def")
            state = network.state_dict()
            stored = read_state_dict(bundle / "models" / "model.pt")
            assert {k: v.shape for k, v in stored.items()} == {k: v.shape for k, v in state.items()}


@pytest.mark.parametrize("kind", ["train", "inference"])
def test_monai_finds_every_property(trained, data, kind):
    flow = ConfigWorkflow(
        config_file=str(trained.root / "configs" / f"{kind}.json"),
        logging_file=False,
        workflow_type=kind,
        bundle_root=str(trained.root),
        dataset_dir=str(data),
        device="cpu",
        **({"patch_size": PATCH} if kind == "inference" else TINY),
    )
    flow.initialize()
    assert flow.check_properties() == []
    flow.finalize()


def test_one_epoch_through_monai_leaves_weights_and_a_log(trained):
    assert trained.weights().is_file()
    (line,) = (trained.root / "train" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["step"] == 2


def test_inference_without_weights_is_an_error(trained, data, tmp_path):
    nothing = str(tmp_path / "no.pt")
    with pytest.raises(RuntimeError) as raised:  # MONAI wraps what went wrong
        run_config(trained, "inference", data, output_dir=str(tmp_path), weights=nothing)
    said = find_cause(raised.value)
    assert isinstance(said, WeightsError)
    assert "is not there, and random weights are of no use" in str(said)
    assert not list(tmp_path.iterdir())


def test_inference_through_monai_gives_something_for_each_case(
    trained, data, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    run_config(trained, "inference", data, output_dir=str(tmp_path / "out"), patch_size=PATCH)
    images = sorted((data / "imagesTr").glob("*.nii.gz"))
    if "classification" in trained.name:
        classes, chances = chances_of_table(tmp_path / "out" / "classes.csv")
        assert classes == trained.raw_config("inference")["classes"]
        assert list(chances) == [path.name.removesuffix(".nii.gz") for path in images]
        assert all(sum(row) == pytest.approx(1, abs=1e-5) for row in chances.values())
        return
    if "detection" in trained.name:
        lines = (tmp_path / "out" / "boxes.jsonl").read_text().splitlines()
        scans = [json.loads(line) for line in lines]
        assert [scan["case"] for scan in scans] == [p.name[: -len(".nii.gz")] for p in images]
        assert [tuple(scan["shape"]) for scan in scans] == [nib.load(p).shape for p in images]
        assert set(read_boxes(tmp_path / "out" / "boxes.csv")) == {s["case"] for s in scans}
        return
    if "segmentation" not in trained.name:
        lines = (tmp_path / "out" / "embeddings.jsonl").read_text().splitlines()
        outputs = trained.metadata["network_data_format"]["outputs"]["pred"]
        assert [Path(json.loads(line)["image"]).name for line in lines] == [p.name for p in images]
        assert {len(json.loads(line)["embedding"]) for line in lines} == {outputs["num_channels"]}
        return
    masks = sorted((tmp_path / "out").rglob("*.nii.gz"))
    tree = [image.relative_to(data) for image in images]
    assert [mask.relative_to(tmp_path / "out") for mask in masks] == tree
    for mask, image in zip(map(nib.load, masks), map(nib.load, images), strict=True):
        assert mask.shape == image.shape
        np.testing.assert_allclose(mask.affine, image.affine, atol=1e-5)
        assert mask.get_data_dtype() == np.uint8
        assert set(np.unique(mask.dataobj)) <= set(trained.classes())


def test_saved_weights_are_validated_and_missing_ones_refused(segmenting, data, caplog):
    with caplog.at_level(logging.INFO, logger="volseg"):
        run_config(segmenting, "train", data, run_id="evaluate", **TINY)
    assert "val_mean_dice" in caplog.text
    with pytest.raises(RuntimeError) as raised:
        run_config(segmenting, "train", data, run_id="evaluate", weights="no.pt", **TINY)
    assert isinstance(find_cause(raised.value), WeightsError)


def test_one_file_is_segmented_into_the_output_folder_itself(segmenting, data, tmp_path):
    image = min((data / "imagesTr").iterdir())
    run_config(segmenting, "inference", image, output_dir=str(tmp_path / "out"), patch_size=PATCH)
    assert [path.name for path in tmp_path.rglob("*.nii.gz")] == [image.name]
    assert (tmp_path / "out" / image.name).is_file()


def test_monai_label_gets_what_volseg_segments(segmenting, data):
    """MONAI Label calls the transforms one by one, with items of its own, and saves by itself."""
    config = ConfigParser(json.loads(read(segmenting.root, "inference")))
    config.update({"bundle_root": str(segmenting.root), "device": "cpu", "patch_size": PATCH})
    parts = {
        i: config.get_parsed_content(i) for i in ("preprocessing", "inferer", "postprocessing")
    }
    predictor = Predictor.from_bundle(segmenting, device("cpu"), {"patch_size": PATCH})
    path = str(max((data / "imagesTr").iterdir()))
    case = {"image": path, "image_path": path, "device": "cpu", "model": segmenting.name}
    for transform in parts["preprocessing"].transforms:
        case = transform(case)
    case["pred"] = parts["inferer"](case["image"][None], predictor.network)[0]
    for transform in parts["postprocessing"].transforms:
        if not isinstance(transform, SaveImaged):
            case = transform(case)
    expected = predictor.predict(Path(path)).labels
    found = np.asarray(case["pred"])
    assert (found.shape, found.dtype) == ((1, *expected.shape), np.uint8)
    assert (found[0] == expected).mean() > 0.99  # interpolated twice in another order


@pytest.mark.slow
@pytest.mark.parametrize("source", BUNDLES, ids=lambda path: path.name)
def test_the_commands_of_the_readme_work_from_any_folder(source, data, tmp_path, repository):
    bundle = copy(source, tmp_path / "copies")
    (tmp_path / "elsewhere").mkdir()
    overrides = [word for key, value in TINY.items() for word in (f"--{key}", str(value))]
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    inference = ["--output_dir", "masks", "--patch_size", str(PATCH)]
    for kind, extra in (("train", overrides), ("inference", inference)):
        command = [
            *(sys.executable, "-m", "monai.bundle", "run"),
            *("--config_file", str(bundle.root / "configs" / f"{kind}.json")),
            *("--bundle_root", str(bundle.root), "--dataset_dir", str(data), *extra),
        ]
        done = subprocess.run(
            command,
            cwd=tmp_path / "elsewhere",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
    assert any(path.is_file() for path in (tmp_path / "elsewhere" / "masks").rglob("*"))


@pytest.mark.parametrize("root", SEGMENTATION, ids=lambda path: path.name)
def test_windows_may_be_flipped_as_the_crops_of_the_training_are(root):
    bundle = Bundle(root)
    axes = bundle.raw_config("inference").get("flip_axes", [])
    assert axes == FLIPS[root.name]
    train = json.dumps(bundle.raw_config("train"))
    stated = [json.loads(text) for text in re.findall(r'"flip_axes": (\[[^]]*\])', train)]
    if stated:
        assert stated == [axes]
