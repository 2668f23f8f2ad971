"""Every preset of the pretraining bundle on the command line, and what it makes of wrong inputs."""

import json

import pytest

from tests.bundles.synthetic import write_dataset
from volseg.bundle import Bundle
from volseg.cli.main import main
from volseg.networks.config import build
from volseg.networks.opening import read_card
from volseg.networks.weights import load_encoder
from volseg.presets import read_presets

ENCODER = {
    "_target_": "volseg.networks.residual.ResidualEncoder", "in_channels": 1, "widths": [4, 8],
}  # fmt: skip
VIT = {
    "_target_": "volseg.networks.vit.ViTEncoder", "in_channels": 1, "size": [16, 16, 16],
    "patch": 4, "width": 24, "depth": 4, "heads": 2,
}  # fmt: skip
UNETR = '{"_target_": "volseg.networks.decoder_unetr.UnetrDecoder", "_mode_": "callable"}'
PRESETS = read_presets(Bundle.find("masked_volume_pretraining").root)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "tiny"
    write_dataset(folder)
    return folder


def pretrain(data, output, preset, *changes):
    tiny = ["patch_size=[16, 16, 16]", "max_epochs=1", "epoch_length=2"]
    changes = [part for change in (*tiny, *changes) for part in ("--set", change)]
    call = ["pretrain", "--data", data, "--output", output, "--preset", preset, "--quiet"]
    return main([str(part) for part in [*call, "--device", "cpu", *changes]])


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_logs_what_it_learns_and_its_weights_load(preset, data, tmp_path, caplog):
    changes = [f"encoder={json.dumps(ENCODER)}", "loop::batch_size=4"]
    assert pretrain(data, tmp_path / "run", preset, *changes) == 0
    assert "is not the network in training" not in caplog.text
    log = json.loads((tmp_path / "run" / "train" / "metrics.jsonl").read_text())
    assert log["parts"]
    assert any(name.endswith("_spread") for name in log["monitors"])
    assert any(name.endswith("_rank") for name in log["monitors"])
    assert list((tmp_path / "run" / "train" / "panels").iterdir())
    files = sorted((tmp_path / "run" / "models").glob("*.safetensors"))
    names = ["encoder", "partner"] if preset == "cross_architecture" else ["encoder"]
    assert [path.stem for path in files] == names
    for path in files:
        twin = build(read_card(path).network["encoder"])
        assert load_encoder(twin, path).fraction == 1


@pytest.mark.parametrize("preset", ["pseudo_mask", "max_tree", "restoration", "autoencoder"])
def test_a_plain_transformer_needs_the_decoder_that_the_page_gives(
    preset, data, tmp_path, capsys, repository
):
    vit = f"encoder={json.dumps(VIT)}"
    assert pretrain(data, tmp_path / "run", preset, vit) == 1
    assert "UnetrDecoder" in capsys.readouterr().err
    assert f"task::decoder={UNETR}" in (repository / "docs" / "pretext" / "index.md").read_text()
    assert pretrain(data, tmp_path / "other", preset, vit, f"task::decoder={UNETR}") == 0


@pytest.mark.parametrize(
    ("preset", "changes", "said"),
    [
        ("self_distillation", [f"encoder={json.dumps(VIT)}"], "drops hidden tokens"),
        ("cross_architecture", [f"encoder={json.dumps(VIT)}"], "are both a transformer"),
        ("cross_architecture", ["loop::batch_size=1"], "use batch_size 2 or more"),
        ("heterogeneous_autoencoder",
         [f"encoder={json.dumps(VIT)}", f"task::decoder={UNETR}"], "use ResidualEncoder"),
        ("rotation", ["patch_size=[16, 16, 24]"], "is no cube"),
        ("volume_fusion", ["loop::batch_size=1"], "batch"),
        ("masked", ["patch_size=[20, 16, 16]"], "multiple"),
        ("masked", ["task::ratio=1.5"], "ratio"),
        ("pseudo_mask", ["task::num_classes=1"], "classes"),
        ("max_tree", ['task::target={"_target_": "volseg.pretext.max_tree.TreeMaps", "levels": 1}'],
         "levels"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line_that_says_what_would(
    preset, changes, said, data, tmp_path, capsys
):
    changes = [f"encoder={json.dumps(ENCODER)}", *changes]
    assert pretrain(data, tmp_path / "run", preset, *changes) == 1
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert error.strip().splitlines()[-1].startswith("volseg: ")
