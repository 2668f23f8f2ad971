"""The checks that MONAI's model zoo makes of a bundle, offline, by MONAI's own functions.

``verify_net_in_out`` and the properties that a workflow looks up: `tests.bundles.test_bundles`. The
zoo's ``verify_bundle -m full`` scripts networks for TorchScript too, from which many of its own are
exempt: ours can be traced, not scripted.
"""

from pathlib import Path

import onnxruntime
import pytest
import torch
from monai.bundle import ckpt_export, onnx_export, verify_metadata

from volseg.bundle import Bundle
from volseg.networks.weights import load_segmenter

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "tests" / "data" / "meta_schema_20240725.json"
MD5 = "06954cad2cc5d3784e72077ac76f0fc8"
"""Of MONAI's own copy, in its ``tests/testing_data/data_config.json``."""

BUNDLES = [path.parents[1] for path in sorted(ROOT.glob("bundles/*/configs/metadata.json"))]

WEIGHTED = [path for path in BUNDLES if (path / "models" / "model.pt").exists()]

each_bundle = pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)


@each_bundle
def test_the_metadata_are_what_the_official_schema_wants(bundle):
    verify_metadata(
        meta_file=str(bundle / "configs" / "metadata.json"),
        filepath=str(SCHEMA),
        hash_val=MD5,
        hash_type="md5",
    )


@each_bundle
def test_the_zoo_finds_its_files_none_of_them_too_large(bundle):
    for name in ("LICENSE", "configs/metadata.json", "configs/inference.json", "docs/README.md"):
        assert (bundle / name).is_file()
    assert all(path.stat().st_size <= 25 * 2**20 for path in bundle.rglob("*") if path.is_file())


@pytest.fixture(scope="module", params=WEIGHTED, ids=lambda path: path.name)
def network(request):
    """Load the network of a bundle, and where its files are."""
    bundle = Bundle(request.param)
    config = bundle.config("inference")
    network = config.get_parsed_content("network_def")
    load_segmenter(network, bundle.weights())
    files = {
        "net_id": "network_def",
        "ckpt_file": str(request.param / "models" / "model.pt"),
        "meta_file": str(request.param / "configs" / "metadata.json"),
        "config_file": str(request.param / "configs" / "inference.json"),
        "bundle_root": str(request.param),
    }
    torch.manual_seed(0)
    size = (network.encoder.spec.in_channels, *config.get_parsed_content("patch_size"))
    return network.eval(), files, torch.randn(1, *size)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@torch.no_grad()
def test_monai_traces_the_network_and_the_trace_computes_the_same(network, tmp_path):
    net, files, image = network
    ckpt_export(filepath=str(tmp_path / "model.ts"), use_trace=True, **files)
    found = torch.jit.load(tmp_path / "model.ts")(image)
    torch.testing.assert_close(found, net(image), rtol=1e-3, atol=1e-3)


@pytest.mark.slow
@torch.no_grad()
def test_monai_exports_the_network_to_onnx_which_computes_the_same(network, tmp_path):
    net, files, image = network
    onnx_export(filepath=str(tmp_path / "model.onnx"), **files)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (found,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), net(image), rtol=1e-3, atol=1e-3)
