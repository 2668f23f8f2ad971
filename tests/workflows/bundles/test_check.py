"""What `volseg bundle check` finds: one spoiled thing, one finding."""

import json
import pickle

import pytest
import torch

from tests.workflows.bundles.conftest import edit, write, write_weights
from volseg.bundle import Bundle
from volseg.cli.main import main
from volseg.workflows.bundles.check import check_bundle

TRAIN = "configs/train.json"


def said(root, **options) -> list[str]:
    return list(map(str, check_bundle(Bundle(root, **options)).findings))


def value_of(root, kind, key):
    return json.loads((root / "configs" / f"{kind}.json").read_text())[key]


def test_a_sound_bundle_gives_no_finding_and_status_0(root, capsys):
    assert main(["bundle", "check", str(root)]) == 0
    assert capsys.readouterr().out == "hippocampus_segmentation: 0 errors, 0 warnings\n"


def test_all_findings_are_said_and_the_status_is_1(root, capsys):
    (root / "LICENSE").unlink()
    edit(root, "metadata", version="9")
    edit(root, "inference", spacing=[2, 2, 2])
    assert main(["bundle", "--json", "check", str(root)]) == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["sound"]
    assert [one["message"] for one in found["findings"]] == [
        "is missing",
        "changelog says nothing of version '9'",
        "spacing is [1.0, 1.0, 1.0] in train.json and [2, 2, 2] in inference.json",
        "spacing is [1.0, 1.0, 1.0] on the card and [2, 2, 2] in inference.json",
    ]


def test_what_monais_schema_demands_is_an_error(root):
    metadata = json.loads((root / "configs" / "metadata.json").read_text())
    del metadata["required_packages_version"]
    metadata["authors"] = ["one", "two"]
    write(root / "configs" / "metadata.json", metadata)
    assert said(root) == [
        (
            "error: configs/metadata.json: 'required_packages_version' is a required property"
            " (MONAI's schema)"
        ),
        (
            "error: configs/metadata.json: authors: ['one', 'two'] is not of type 'string'"
            " (MONAI's schema)"
        ),
    ]


def test_an_id_that_monai_needs_is_missed(root):
    config = json.loads((root / TRAIN).read_text())
    del config["train"]["inferer"]
    write(root / TRAIN, config)
    (line,) = said(root)
    assert line.startswith(f"error: {TRAIN}: has no train::inferer, which MONAI needs")


def test_handlers_must_be_referred_to_by_the_name_that_monai_looks_for(root):
    evaluator = {**value_of(root, "inference", "evaluator"), "val_handlers": []}
    edit(root, "inference", evaluator=evaluator)
    (line,) = said(root)
    assert "evaluator::val_handlers is a list; MONAI's check of bundles wants '@handlers'" in line


def test_a_reference_that_leads_nowhere_is_an_error(root):
    edit(root, "inference", output_dir="@nowhere")
    expected = "output_dir refers to nowhere, which is not there"
    assert said(root) == [f"error: configs/inference.json: {expected}"]


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ("key = AKIAIOSFODNN7EXAMPLE", "looks like an access key of AWS"),
        ("-----BEGIN RSA PRIVATE KEY-----", "looks like a private key"),
        ("password: 'hunter2hunter2'", "looks like a password"),
        ("hf_" + 24 * "x", "looks like a token of Hugging Face"),
        ("https://me:pass@example.org/x", "looks like a password in an address"),
        ("data in /home/ada/scans", "/home/ada/scans is somebody's own path"),
        (r"data in C:\Users\ada\scans", "is somebody's own path"),
    ],
)
def test_a_secret_or_a_path_of_ones_own_is_an_error_with_its_line(root, line, finding):
    readme = root / "docs" / "README.md"
    readme.write_text(f"{readme.read_text()}{line}\n")
    number = len(readme.read_text().splitlines())
    (found,) = said(root)
    assert found.startswith(f"error: docs/README.md:{number}: ")
    assert finding in found
    assert "hunter2" not in found


def test_an_absolute_path_in_a_config_is_a_warning(root):
    edit(root, "inference", dataset_dir="/workspace/data")
    (line,) = said(root)
    assert line.startswith("warning: configs/inference.json:")
    assert "/workspace/data is an absolute path" in line


def test_code_is_shown_and_not_run(root, tmp_path):
    ran = tmp_path / "ran"
    edit(root, "inference", handlers=f"$__import__('os').mkdir('{ran}')")
    lines = said(root)
    assert "warning: configs/inference.json: runs code when it is used: handlers is $__imp" in str(
        lines
    )
    assert "was not compared with the network, since that would run code" in str(lines)
    assert not ran.exists()


@pytest.mark.parametrize("word", ["detection", "deepedit"])
def test_a_name_that_monai_label_misreads_is_an_error(root, word):
    renamed = root.rename(root.with_name(f"lesion_{word}_segmentation"))
    (line,) = said(renamed)
    assert f"holds '{word}', so MONAI Label takes it for that" in line


def test_label_values_with_a_gap_are_an_error(root):
    metadata = value_of(root, "metadata", "network_data_format")
    metadata["outputs"]["pred"]["channel_def"] = {"0": "background", "1": "a", "4": "b"}
    edit(root, "metadata", network_data_format=metadata)
    assert "label values are 0, 1, 4; use 0 to 2 in order" in str(said(root))


def test_a_config_of_many_lines_is_a_warning(root):
    text = (root / TRAIN).read_text()
    (root / TRAIN).write_text(json.dumps(json.loads(text), indent=0) + 200 * "\n")
    assert [line for line in said(root) if "over 60 it spells out a pipeline" in line]


def test_a_pickle_is_an_error_and_is_not_unpickled(root, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    (root / "models" / "model.pt").write_bytes(pickle.dumps(Bomb()))
    (line,) = said(root)
    assert line.startswith("error: models/model.pt: is not a plain state dict")
    assert not (tmp_path / "ran").exists()


def test_a_state_that_is_no_state_dict_is_an_error(root):
    torch.save({"epoch": 3}, root / "models" / "resume.pt")
    assert any("state of a training" in line for line in said(root))
    torch.save({"epoch": 3}, root / "models" / "other.pt")
    assert any("other.pt: is not a plain state dict: 'epoch' is a int" in li for li in said(root))


def test_weights_of_another_network_are_an_error(root):
    (root / "models" / "model.safetensors").unlink()
    state = torch.load(root / "models" / "model.pt", weights_only=True)
    state["heads.0.weight"] = state["heads.0.weight"][:2]
    torch.save(state, root / "models" / "model.pt")
    (line,) = said(root)
    assert line.startswith("error: models/model.pt: ")
    assert "heads.0.weight" in line


def test_a_card_that_says_something_else_is_an_error(root):
    write_weights(root, channels=("CT",), spacing=(2.0, 2.0, 2.0))
    assert said(root) == [
        (
            "error: models/model.safetensors: channels is ['CT'] on the card and ['MRI'] in"
            " inference.json"
        ),
        (
            "error: models/model.safetensors: spacing is [2.0, 2.0, 2.0] on the card and"
            " [1.0, 1.0, 1.0] in inference.json"
        ),
    ]


def test_two_files_of_different_weights_are_an_error(root):
    state = torch.load(root / "models" / "model.pt", weights_only=True)
    state["heads.0.bias"] += 1
    torch.save(state, root / "models" / "model.pt")
    assert said(root) == ["error: models: model.safetensors and model.pt hold different weights"]


def test_a_link_and_a_large_file_are_found(root, tmp_path):
    (root / "docs" / "link.md").symlink_to(tmp_path)
    with (root / "docs" / "atlas.bin").open("wb") as file:
        file.truncate(26 * 2**20)
    lines = str(said(root))
    assert "error: docs/link.md: is a link to" in lines
    assert "error: docs/atlas.bin: has 26 MiB, over the model zoo's 25; remove it" in lines


def test_a_folder_that_is_no_bundle_is_told_what_it_lacks(tmp_path, capsys):
    assert main(["bundle", "check", str(tmp_path)]) == 1
    assert "error: configs/metadata.json: is missing" in capsys.readouterr().out


def test_every_bundle_of_volseg_is_sound(repository):
    shelf = repository / "bundles"
    for path in sorted(shelf.glob("*/configs/metadata.json")):
        report = check_bundle(path.parents[1])
        assert report.errors == []
        assert not [one for one in report.findings if "no weights" not in one.message]
