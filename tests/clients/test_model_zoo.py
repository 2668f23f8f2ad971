"""The checks that MONAI's model zoo makes of a bundle, offline, by MONAI's own functions.

``verify_net_in_out`` and the properties that a workflow looks up: `tests.bundles.test_bundles`.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ckpt_export, onnx_export, verify_metadata

from volseg.bundle import Bundle
from volseg.networks.weights import save_state_dict

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "tests" / "data" / "meta_schema_20240725.json"
MD5 = "06954cad2cc5d3784e72077ac76f0fc8"
"""Of MONAI's own copy, in its ``tests/testing_data/data_config.json``."""

BUNDLES = [path.parents[1] for path in sorted(ROOT.glob("bundles/*/configs/metadata.json"))]
SIZE = (32, 32, 32)

pytestmark = pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)


def export_options(bundle: Path, folder: Path) -> dict:
    """Say what to export: random weights, as the zoo itself does, and a small volume."""
    torch.manual_seed(0)
    config = Bundle(bundle).config("inference", {"device": "cpu"})
    network = config.get_parsed_content("network_def")
    save_state_dict(folder / "model.pt", network)
    channels = len(json.loads((bundle / "configs" / "inference.json").read_text())["channels"])
    return {
        "net_id": "network_def",
        "ckpt_file": str(folder / "model.pt"),
        "meta_file": str(bundle / "configs" / "metadata.json"),
        "config_file": str(bundle / "configs" / "inference.json"),
        "input_shape": [1, channels, *SIZE],
        "use_trace": True,
    }


def answer(bundle: Path, folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Give a volume, and what the network says of it."""
    network = Bundle(bundle).config("inference").get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(folder / "model.pt", weights_only=True))
    channels = json.loads((bundle / "configs" / "inference.json").read_text())["channels"]
    volume = torch.randn(1, len(channels), *SIZE)
    with torch.no_grad():
        return volume, network(volume)


def test_the_metadata_are_what_the_official_schema_wants(bundle):
    verify_metadata(
        meta_file=str(bundle / "configs" / "metadata.json"),
        filepath=str(SCHEMA),
        hash_val=MD5,
        hash_type="md5",
    )


def test_the_zoo_finds_its_files_none_of_them_too_large(bundle):
    for name in ("LICENSE", "configs/metadata.json", "configs/inference.json", "docs/README.md"):
        assert (bundle / name).is_file()
    assert all(path.stat().st_size <= 25 * 2**20 for path in bundle.rglob("*") if path.is_file())


def test_monai_exports_torchscript_that_answers_alike(bundle, tmp_path):
    ckpt_export(filepath=str(tmp_path / "model.ts"), **export_options(bundle, tmp_path))
    volume, wanted = answer(bundle, tmp_path)
    with torch.no_grad():
        given = torch.jit.load(tmp_path / "model.ts")(volume)
    torch.testing.assert_close(given, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.zoo
def test_monai_exports_onnx_that_answers_alike(bundle, tmp_path):
    import onnxruntime

    onnx_export(filepath=str(tmp_path / "model.onnx"), **export_options(bundle, tmp_path))
    volume, wanted = answer(bundle, tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (given,) = session.run(None, {session.get_inputs()[0].name: volume.numpy()})
    np.testing.assert_allclose(given, wanted, rtol=1e-3, atol=1e-3)
