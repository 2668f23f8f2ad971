"""What `volseg bundle pack` gives away, and what it keeps back."""

import json
import os
import shutil
from dataclasses import replace
from zipfile import ZipFile

import pytest
import torch
import yaml
from monai.apps.utils import HashCheckError
from monai.bundle.scripts import download_large_files

from tests.workflows.bundles.conftest import NAME, edit
from volseg.bundle import Bundle
from volseg.cli.main import main
from volseg.errors import BundleError, DataError
from volseg.networks.opening import read_card
from volseg.networks.weights import (
    build_network,
    load_segmenter,
    save_weights,
    segmenter_parts,
)
from volseg.workflows.bundles.check import check_bundle
from volseg.workflows.bundles.large_files import hash_of
from volseg.workflows.bundles.pack import pack_bundle

WEIGHTS = ["models/model.pt", "models/model.safetensors"]


def front_matter(text):
    _, head, body = text.split("---\n", 2)
    return yaml.safe_load(head), body


def test_folder_and_zip_hold_the_bundle_the_card_and_the_hashes(root, tmp_path, capsys):
    words = ["--output", str(tmp_path / "out"), "--repository", "ada/hippo", "--json"]
    assert main(["bundle", "pack", str(root), *words]) == 0
    said = json.loads(capsys.readouterr().out)
    folder, archive = tmp_path / "out" / NAME, tmp_path / "out" / f"{NAME}_v0.1.0.zip"
    assert (said["folder"], said["archive"]) == (str(folder), str(archive))
    assert said["sha256"] == hash_of(archive)
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    assert names == said["files"]
    assert {"README.md", "large_files.yml", ".gitattributes", "LICENSE", *WEIGHTS} < set(names)
    with ZipFile(archive) as packed:
        assert packed.namelist() == [f"{NAME}/{name}" for name in names]
        assert packed.testzip() is None
    head, body = front_matter((folder / "README.md").read_text())
    assert (head["library_name"], head["license"]) == ("monai", "apache-2.0")
    assert head["pipeline_tag"] == "image-segmentation"
    assert body.startswith("\n# Hippocampus segmentation\n")
    assert "`docs/data_license.txt`" in body
    listed = yaml.safe_load((folder / "large_files.yml").read_text())["large_files"]
    assert [entry["path"] for entry in listed] == WEIGHTS
    for entry in listed:
        assert entry["hash_val"] == hash_of(root / entry["path"])
        assert entry["url"] == f"https://huggingface.co/ada/hippo/resolve/main/{entry['path']}"


def test_the_licence_is_that_of_the_weights_where_their_card_names_one(root, tmp_path):
    weights = root / "models" / "model.safetensors"
    card = read_card(weights)
    network = build_network(card)
    load_segmenter(network, weights)
    card = replace(card, data={**card.data, "licence": "CC BY-NC-SA 3.0 CH"})
    save_weights(weights, segmenter_parts(network), card)
    packed = pack_bundle(root, tmp_path / "out")
    head, _ = front_matter((packed.folder / "README.md").read_text())
    assert head["license"] == "other"
    assert head["license_name"] == "cc-by-nc-sa-3.0-ch"
    assert (packed.folder / head["license_link"]).is_file()


def test_the_same_bundle_gives_the_same_bytes_wherever_and_whenever(root, tmp_path):
    first = pack_bundle(root, tmp_path / "first")
    other = tmp_path / "elsewhere" / NAME
    shutil.copytree(root, other)
    for path in other.rglob("*"):
        os.utime(path, (10**9, 10**9))
        path.chmod(0o700)
    assert pack_bundle(other, tmp_path / "second").sha256 == first.sha256
    assert pack_bundle(first.folder, tmp_path / "third").sha256 == first.sha256
    (other / "docs" / "README.md").write_text("# Other\n")
    assert pack_bundle(other, tmp_path / "fourth").sha256 != first.sha256


def test_the_zip_file_is_a_sound_bundle_with_the_same_weights(root, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = Bundle.find(pack_bundle(root, tmp_path / "out").archive)
    assert found.name == NAME
    assert check_bundle(found).findings == ()
    for name in WEIGHTS:
        assert hash_of(found.root / name) == hash_of(root / name)


def test_monai_takes_the_hashes_and_refuses_other_weights(root, tmp_path):
    folder = pack_bundle(root, tmp_path / "out").folder
    download_large_files(str(folder))  # nothing is downloaded: the files are the right ones
    state = torch.load(folder / "models" / "model.pt", weights_only=True)
    state["heads.0.bias"] += 1
    torch.save(state, folder / "models" / "model.pt")
    with pytest.raises(HashCheckError):
        download_large_files(str(folder))
    assert "models/model.pt is another file: its sha256 is not" in str(check_bundle(folder))


def test_what_does_not_belong_to_a_bundle_stays_behind(root, tmp_path):
    (root / "train").mkdir()
    (root / "train" / "resume.pt").write_bytes(b"state")
    (root / "run.json").write_text('{"data": "/home/ada/scans"}')
    (root / "docs" / "__pycache__").mkdir()
    (root / "docs" / "__pycache__" / "x.pyc").write_bytes(b"x")
    (root / "configs" / ".DS_Store").write_bytes(b"x")
    packed = pack_bundle(root, tmp_path / "out")
    assert not [name for name in packed.files if "DS_Store" in name or "pyc" in name]
    assert not {"run.json", "train/resume.pt"} & set(packed.files)
    assert "run.json: is no part of a bundle; it is not packed" in str(packed)
    assert "/home/ada" not in (packed.folder / "README.md").read_text()


def test_a_bundle_with_an_error_is_not_packed(root, tmp_path):
    edit(root, "metadata", version="9")
    with pytest.raises(BundleError, match=r"is not packed: configs/metadata\.json changelog says"):
        pack_bundle(root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten_unasked_and_nothing_is_written_into_the_bundle(root, tmp_path):
    pack_bundle(root, tmp_path / "out")
    with pytest.raises(DataError, match="is there already; add --overwrite"):
        pack_bundle(root, tmp_path / "out")
    pack_bundle(root, tmp_path / "out", overwrite=True)
    with pytest.raises(DataError, match="lies in the bundle itself"):
        pack_bundle(root, root / "docs")
    with pytest.raises(DataError, match="lies in the bundle itself"):
        pack_bundle(root, root.parent, overwrite=True)
    with pytest.raises(BundleError, match="give owner/name"):
        pack_bundle(root, tmp_path / "new", "../../x")
