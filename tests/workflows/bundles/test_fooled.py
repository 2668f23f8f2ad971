"""What somebody might try to get past `volseg bundle check`."""

import json
import pickle

import pytest
import torch

from tests.workflows.bundles.conftest import edit, write_weights
from volseg.bundle import Bundle
from volseg.networks.storage import read_state_dict
from volseg.workflows.bundles.check import check_bundle

INFERENCE = "configs/inference.json"


def said(root) -> list[str]:
    return list(map(str, check_bundle(Bundle(root)).findings))


def test_code_in_a_configuration_that_volseg_does_not_use_is_shown(root):
    (root / "configs" / "evaluate.json").write_text('{"run": "$import os"}')
    (root / "configs" / "multi_gpu_train.yaml").write_text("device: $__import__('os').getcwd()")
    (root / "configs" / "list.yaml").write_text("- 1\n- 2\n")
    assert said(root) == [
        "warning: configs/evaluate.json: runs code when it is used: run is $import os",
        (
            "warning: configs/multi_gpu_train.yaml: runs code when it is used: device is"
            " $__import__('os').getcwd()"
        ),
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("args=(sys.stderr,)", "args=(__import__('os').system('true'),)"),
        ("args=(sys.stderr,)", "args=(open('x', 'w'),)"),
        ("class=StreamHandler", "class=scripts.handler.Mine"),
    ],
)
def test_logging_conf_runs_code_too(root, old, new):
    path = root / "configs" / "logging.conf"
    path.write_text(path.read_text().replace(old, new))
    (line,) = said(root)
    assert line.startswith("warning: configs/logging.conf: runs code when it is used: handler_")
    assert new.partition("=")[2] in line


def test_a_script_is_said_to_be_code(root):
    (root / "scripts").mkdir()
    (root / "scripts" / "net.py").write_text("import os\n")
    (line,) = said(root)
    assert line == "warning: scripts/net.py: is code; it runs if a configuration names it"


def test_a_reference_inside_an_expression_must_lead_somewhere(root):
    edit(root, "inference", output_dir="$@bundle_rot + '/eval'")
    (line,) = said(root)
    assert line == f"error: {INFERENCE}: output_dir refers to bundle_rot, which is not there"


def test_a_key_that_stands_twice_is_an_error(root):
    path = root / INFERENCE
    path.write_text(path.read_text().replace("{", '{"spacing": [1.0, 1.0, 1.0],', 1))
    assert f"error: {INFERENCE}: holds 'spacing' twice; only one of them counts" in said(root)


def test_numbers_of_channels_must_be_those_that_are_named(root):
    formats = json.loads((root / "configs" / "metadata.json").read_text())["network_data_format"]
    formats["outputs"]["pred"]["num_channels"] = 4
    edit(root, "metadata", network_data_format=formats)
    (line,) = said(root)
    assert line.endswith("pred has 4 channels, and channel_def names 3")


def test_what_only_the_inference_says_is_compared_with_the_metadata(root):
    edit(root, "inference", classes=["background", "head", "tail"])
    (line,) = said(root)
    assert line.startswith("error: configs: classes is ['background', 'head', 'tail'] in inference")
    assert line.endswith("and ['background', 'anterior', 'posterior'] in metadata.json")


@pytest.mark.parametrize("name", ["models/old/net.pth", "docs/a.npz", "configs/plain_name"])
def test_a_pickle_anywhere_is_found_by_name_or_by_content(root, name):
    path = root / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps({"a": 1}))
    (line,) = said(root)
    assert line.startswith(f"error: {name}: may hold a program")


def test_weights_that_are_not_finite_are_an_error(root):
    state = read_state_dict(root / "models" / "model.pt")
    state["heads.0.bias"][1] = torch.nan
    torch.save(state, root / "models" / "model.pt")
    (line,) = said(root)
    assert line == (
        "error: models/model.pt: heads.0.bias is not finite (of 1 tensors); train it anew"
    )


def test_a_path_on_the_card_of_the_weights_is_found(root):
    write_weights(root, data={"names": ["/home/ada/secret study"]})
    (line,) = said(root)
    assert line.startswith("error: models/model.safetensors volseg_card:1: /home/ada/secret")


def test_secrets_are_found_in_files_of_any_kind_even_in_those_that_stay(root):
    token = "hf_" + 24 * "x"
    (root / "docs" / "settings.toml").write_text(f"key = 1\nother = '{token}'\n")
    (root / "notes").mkdir()
    (root / "notes" / "mail").write_text(f"at /home/ada it is {token}\n")
    found = "looks like a token of Hugging Face; remove it, and make it void"
    assert said(root) == [
        f"error: docs/settings.toml:2: {found}",
        f"error: notes/mail:1: {found}",
        "warning: notes: is no part of a bundle; it is not packed",
    ]


def test_an_empty_licence_is_no_licence(root):
    (root / "LICENSE").write_text("\n")
    assert said(root) == ["error: LICENSE: is empty"]


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("large_files: [{path: models/model.pt, hash_val: abc}]", "sha256 is not abc"),
        ("large_files: [{path: ../x, hash_val: abc}]", "../x leads outside the bundle"),
        ("large_files: [{path: /etc/x, hash_val: abc}]", "/etc/x leads outside the bundle"),
        ("large_files: [{path: models/model.pt}]", "has no hash of a known kind"),
        ("large_files: 3", "holds no list of files"),
        ("[", "cannot be read as YAML"),
        ("!!python/object/apply:os.system [true]", "cannot be read as YAML"),
    ],
)
def test_large_files_must_be_those_that_are_there(root, text, finding):
    (root / "large_files.yml").write_text(text)
    (line,) = said(root)
    assert "large_files.yml: " in line
    assert finding in line


BROKEN = [None, [], {}, 7, "x", [None], {"image": 3}, [[1]]]


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        *(("metadata", key) for key in ("network_data_format", "changelog", "version")),
        *(("metadata", key) for key in ("required_packages_version", "supported_apps")),
        *(("train", key) for key in ("train", "network_def", "classes", "channels", "handlers")),
        *(("inference", key) for key in ("network_def", "channels", "evaluator", "num_classes")),
    ],
)
def test_nothing_that_stands_in_a_file_makes_it_stumble(root, kind, key):
    for path in (root / "models").iterdir():
        path.unlink()
    for value in BROKEN:
        edit(root, kind, **{key: value})
        assert check_bundle(root).findings


def test_a_file_of_a_thousand_brackets_is_an_error_and_no_crash(root):
    (root / INFERENCE).write_text(100_000 * "[")
    assert any(
        line.startswith(f"error: {INFERENCE}: cannot be read as JSON") for line in said(root)
    )
