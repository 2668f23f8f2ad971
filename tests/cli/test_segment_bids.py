"""``volseg segment --bids``: a data set in, derivatives out, by the schema of the standard."""

import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from bidsschematools.rules import regexify_filename_rules
from bidsschematools.schema import load_schema

from tests.inference.test_guarded import INFERENCE, NETWORK, write_bundle
from tests.inference.threshold import save_image
from volseg.cli.main import main
from volseg.networks.config import build

IMAGES = (
    "sub-01/anat/sub-01_T1w",
    "sub-02/ses-pre/anat/sub-02_ses-pre_acq-mprage_ce-gd_run-1_T1w",
    "sub-02/ses-post/ct/sub-02_ses-post_ct",
)

EXPECTED = (
    "sub-01/anat/sub-01_space-orig_desc-T1w",
    "sub-02/ses-pre/anat/sub-02_ses-pre_acq-mprage_ce-gd_run-1_space-orig_desc-T1w",
    "sub-02/ses-post/anat/sub-02_ses-post_space-orig_desc-ct",
)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Write a data set of two subjects."""
    root = tmp_path_factory.mktemp("bids") / "raw"
    for seed, name in enumerate(IMAGES):
        save_image(root / f"{name}.nii.gz", shape=(20, 18, 9), seed=seed)
    description = {"Name": "test", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (root / "dataset_description.json").write_text(json.dumps(description))
    return root


@pytest.fixture(scope="module")
def derived(raw, tmp_path_factory):
    """Segment it into its own derivatives."""
    torch.manual_seed(0)
    config = {**INFERENCE, "flip_axes": [0]}
    folder = tmp_path_factory.mktemp("bundle") / "random_segmentation"
    bundle = write_bundle(folder, config, build(NETWORK).state_dict())
    output = raw / "derivatives" / "volseg"
    command = ["segment", raw, "--bids", "--bundle", bundle, "--output", output, "--device", "cpu"]
    command += ["--maps", "probabilities,entropy,variance", "--tta", "flips", "--quiet"]
    assert main([str(part) for part in command]) == 0
    return output


def files_of(root):
    """List visible files, as a validator does: without those of ``.bidsignore``."""
    patterns = (root / ".bidsignore").read_text().splitlines()
    files = [path.relative_to(root) for path in root.rglob("*") if path.is_file()]
    files = [path for path in files if not any(part.startswith(".") for part in path.parts)]
    return [
        path.as_posix()
        for path in files
        if not any(path.match(pattern.removeprefix("**/")) for pattern in patterns)
    ]


def test_each_image_has_mask_table_sidecar_and_probabilities(derived):
    ends = ("_dseg.nii.gz", "_dseg.json", "_dseg.tsv", "_probseg.nii.gz", "_probseg.json")
    names = {f"{name}{end}" for name in EXPECTED for end in ends}
    assert set(files_of(derived)) == {*names, "dataset_description.json", "README"}


def test_every_name_is_one_of_the_standard(derived):
    schema = load_schema()
    rules = regexify_filename_rules(schema.rules.files.deriv, schema, level=2)
    images = [name for name in files_of(derived) if name.startswith("sub-")]
    assert len(images) == 15
    assert [n for n in images if not any(re.fullmatch(r["regex"], n) for r in rules)] == []
    # the rules are strict enough to refuse the suffixes that the standard lacks
    assert not any(re.fullmatch(rule["regex"], f"{EXPECTED[0]}_entropy.nii.gz") for rule in rules)


def test_the_description_says_what_made_it_and_links_to_the_raw_data(raw, derived):
    content = json.loads((derived / "dataset_description.json").read_text())
    assert content["DatasetType"] == "derivative"
    assert content["GeneratedBy"][0]["Name"] == "volseg"
    assert (derived / content["DatasetLinks"]["raw"]).resolve() == raw.resolve()


@pytest.mark.parametrize(("image", "name"), list(zip(IMAGES, EXPECTED, strict=True)))
def test_sidecars_refer_to_the_image_and_to_its_space(raw, derived, image, name):
    for end in ("_dseg.json", "_probseg.json"):
        content = json.loads((derived / f"{name}{end}").read_text())
        assert content["Sources"] == [f"bids:raw:{image}.nii.gz"]
        assert content["SpatialReference"] == content["Sources"][0]
        assert (raw / content["Sources"][0].removeprefix("bids:raw:")).is_file()
    table = (derived / f"{name}_dseg.tsv").read_text().splitlines()
    assert table[0].split("\t") == ["index", "name", "color"]
    assert table[1].split("\t")[:2] == ["1", "cavity"]
    mask = nib.load(derived / f"{name}_dseg.nii.gz")
    assert np.array_equal(mask.affine, nib.load(raw / f"{image}.nii.gz").affine)
    names = json.loads((derived / f"{name}_probseg.json").read_text())["LabelMap"]
    assert names == ["background", "cavity"]


def test_a_subject_alone_refers_to_the_whole_data_set(raw, derived, tmp_path):
    bundle = json.loads((derived / "run.json").read_text())["settings"]["bundle"]
    command = ["segment", raw / "sub-01", "--bids", "--bundle", bundle, "--output", tmp_path]
    assert main([str(part) for part in [*command, "--device", "cpu", "--quiet"]]) == 0
    content = json.loads((tmp_path / f"{EXPECTED[0]}_dseg.json").read_text())
    assert content["Sources"] == [f"bids:raw:{IMAGES[0]}.nii.gz"]
    links = json.loads((tmp_path / "dataset_description.json").read_text())["DatasetLinks"]
    assert (tmp_path / links["raw"]).resolve() == raw.resolve()
    assert not Path(tmp_path / "sub-02").exists()


def test_derivatives_are_no_images_of_the_next_run(raw, derived, tmp_path):
    bundle = json.loads((derived / "run.json").read_text())["settings"]["bundle"]
    command = ["segment", raw, "--bids", "--bundle", bundle, "--output", derived, "--resume"]
    command += ["--maps", "probabilities,entropy,variance", "--tta", "flips", "--device", "cpu"]
    before = len((derived / "manifest.jsonl").read_text().splitlines())
    assert main([str(part) for part in [*command, "--quiet"]]) == 0
    lines = (derived / "manifest.jsonl").read_text().splitlines()[before:]
    assert [json.loads(line)["status"] for line in lines] == ["skipped"] * 3
