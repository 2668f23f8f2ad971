"""What a configuration may do without being trusted."""

import json

import pytest

from volseg.bundle import Bundle, bundle_names
from volseg.errors import BundleError
from volseg.trust import foreign_code


@pytest.mark.parametrize(
    "expression",
    [
        "$import os",
        "$from os import system",
        "$__import__('os').system('true')",
        "$os.system('true')",
        "$torch.load('weights.pt', weights_only=False)",
        "$@network_def.__class__",
        "$@evaluator.run.__globals__",
        "$(1).__class__.__bases__",
        "$(lambda: 1)()",
        "$[x for x in (1, 2)]",
        "$f'{@device}'",
        "$getattr(@device, 'type')",
        "$__local_refs.clear()",
        "$9**9**9",
        "$exec('x')",
        "$open('x')",
        "$'{0.__class__}'.format(1)",
        "$not python at all",
    ],
)
def test_an_expression_that_could_run_anything_is_found(expression):
    assert foreign_code({"key": expression}) == [f"key is {expression}"]


@pytest.mark.parametrize(
    "expression",
    [
        "$@bundle_root + '/models/model.pt'",
        "$@train::trainer.run()",
        "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "$@network_def.to(@device)",
        "$[@num_classes - 1] * len(@spacing)",
        "$@spacing[0] > 1 and not @is_small",
    ],
)
def test_an_expression_that_only_computes_is_none(expression):
    assert foreign_code({"key": expression}) == []


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "subprocess.Popen",
        "scripts.network.Net",
        "builtins.eval",
        "monai.bundle.run",
        "monai.apps.download_url",
        "monai.data.utils.pickle.Unpickler",
        "monai.transforms.Lambdad",
        "Lambdad",
        "monai.data.LMDBDataset",
        "torch.nn.modules.module.torch.load",
        "torch.load",
        "volseg.cli.main.main",
        "volseg.workflows.segment.segment",
        "volseg.data.geometry.Path",
        "no_such_class",
        7,
    ],
)
def test_a_target_that_is_no_builder_is_found(target):
    assert foreign_code({"a": [{"_target_": target}]}) == [f"a::0 names {target!r}"]


@pytest.mark.parametrize(
    "target",
    ["UNet", "Compose", "monai.transforms.LoadImaged", "monai.networks.nets.SwinUNETR",
     "torch.optim.AdamW", "torch.nn.Conv3d", "SlidingWindowInferer",
     "volseg.networks.residual.tiny", "monai.utils.set_determinism"],
)  # fmt: skip
def test_a_builder_of_volseg_monai_or_torch_is_none(target):
    assert foreign_code({"a": {"_target_": target}}) == []


def test_the_debugger_an_expression_as_a_key_and_another_file_are_found():
    config = {"a": {"_mode_": "debug"}, "b": {"$1": 2}, "c": "%other.json::a", "d": "%a::b"}
    assert foreign_code(config) == [
        "a::_mode_ is 'debug'",
        "b::$1 is an expression as a key",
        "c is copied from the file %other.json::a",
    ]


@pytest.mark.parametrize("kind", ["train", "inference"])
def test_the_bundles_of_volseg_hold_none(kind):
    for name in bundle_names():
        assert foreign_code(Bundle.find(name).raw_config(kind)) == []


@pytest.fixture
def stranger(tmp_path):
    """Make a bundle whose configuration makes a folder as soon as it is resolved."""
    (tmp_path / "bundle" / "configs").mkdir(parents=True)
    ran = tmp_path / "ran"
    config = {"bundle_root": ".", "network_def": f"$__import__('os').mkdir('{ran}')"}
    for kind, content in (("metadata", {}), ("inference", config)):
        (tmp_path / "bundle" / "configs" / f"{kind}.json").write_text(json.dumps(content))
    return tmp_path / "bundle"


def test_a_config_with_code_is_refused_before_it_runs(stranger):
    with pytest.raises(BundleError, match=r"inference.json would run .* --trust if you trust it"):
        Bundle.find(stranger).config("inference")
    assert not (stranger.parent / "ran").exists()


def test_a_trusted_config_runs_and_a_line_says_so(stranger, caplog):
    Bundle.find(stranger, is_trusted=True).config("inference").get_parsed_content("network_def")
    assert (stranger.parent / "ran").is_dir()
    (record,) = caplog.records
    assert "is trusted, and runs code: network_def is $__import__('os')" in record.message


def test_what_the_user_sets_is_not_asked_about(stranger):
    bundle = Bundle.find(stranger)
    (bundle.root / "configs" / "inference.json").write_text('{"bundle_root": ".", "size": 1}')
    config = bundle.config("inference", {"size": "$[n for n in (1, 2)]"})
    assert config.get_parsed_content("size") == [1, 2]
