"""What `volseg bundle export` writes: files that answer as PyTorch does, or none."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from monai.networks.nets import UNETR, UNet

from tests.workflows.bundles.conftest import NAME
from volseg.bundle import Bundle
from volseg.cli.main import main
from volseg.errors import BundleError, DataError
from volseg.inference.predictor import Predictor
from volseg.networks.residual import ResidualEncoder
from volseg.networks.segmenter import Segmenter
from volseg.workflows.bundles import export
from volseg.workflows.bundles.export import export_bundle, export_network
from volseg.workflows.bundles.formats import FORMATS, Format, Subject


def smallest() -> Segmenter:
    torch.manual_seed(0)
    return Segmenter(ResidualEncoder(1, (2, 4)), 2).eval()


def test_torchscript_of_a_bundle_answers_without_volseg(root, tmp_path, capsys):
    words = ["--output", str(tmp_path / "out"), "--format", "torchscript", "--json"]
    assert main(["bundle", "export", str(root), *words]) == 0
    (said,) = json.loads(capsys.readouterr().out)["files"]
    assert said["is_dynamic"]
    assert said["sizes"] == [[16, 16, 16], [24, 32, 40]]  # the stride is 8
    assert said["difference"] <= 1e-4 * said["largest"]
    volume = torch.randn(1, 1, 16, 24, 16)
    np.save(tmp_path / "volume.npy", volume.numpy())
    code = (
        "import sys, numpy, torch; net = torch.jit.load(sys.argv[1]);"
        " volume = torch.from_numpy(numpy.load(sys.argv[2])); out = net(volume).detach().numpy();"
        " numpy.save(sys.argv[2], out); print('volseg' in sys.modules, 'monai' in sys.modules)"
    )
    files = [str(tmp_path / "out" / "model.ts"), str(tmp_path / "volume.npy")]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *files],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False", "False"]
    with torch.no_grad():
        wanted = Predictor.from_bundle(Bundle(root)).network(volume)
    np.testing.assert_allclose(np.load(tmp_path / "volume.npy"), wanted, atol=1e-5)
    record = json.loads((tmp_path / "out" / "export.json").read_text())
    assert (record["bundle"], record["divisor"]) == (NAME, [8, 8, 8])
    assert record["input"]["channels"] == ["MRI"]
    assert record["output"]["classes"] == {"0": "background", "1": "anterior", "2": "posterior"}
    assert str(tmp_path) not in json.dumps(record)


@pytest.mark.slow
def test_onnx_and_pt2_take_other_sizes_and_batches(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    network = smallest()
    subject = Subject(network, 1, (4, 6, 8))
    files = export_network(subject, tmp_path, ("pt2", "onnx"))
    assert [one.is_dynamic for one in files] == [True, True]
    assert all(one.difference <= 1e-5 for one in files)  # float32 adds up in another order
    volume = torch.randn(3, 1, 10, 4, 6)
    with torch.no_grad():
        wanted = network(volume)
        program = torch.export.load(tmp_path / "model.pt2").module()
        torch.testing.assert_close(program(volume), wanted)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (given,) = session.run(["pred"], {"image": volume.numpy()})
    np.testing.assert_allclose(given, wanted, atol=1e-5)


def test_a_network_of_one_size_is_exported_for_that_size_and_this_is_said(tmp_path):
    sizes = {"hidden_size": 12, "mlp_dim": 12, "num_heads": 2, "feature_size": 2}
    network = UNETR(1, 2, img_size=(16, 16, 16), **sizes).eval()
    (made,) = export_network(Subject(network, 1, (16, 16, 16)), tmp_path, ("torchscript",))
    assert not made.is_dynamic
    assert made.sizes == ((16, 16, 16),)
    assert "takes this size only (" in str(made)
    assert (tmp_path / "model.ts").is_file()


def test_another_package_s_network_is_tried_at_twice_each_axis(tmp_path):
    network = UNet(3, 1, 2, (2, 4), (2,)).eval()
    (made,) = export_network(Subject(network, 1, (4, 4, 6)), tmp_path, ("torchscript",))
    assert made.is_dynamic
    assert made.sizes == ((4, 4, 6), (8, 4, 6), (4, 8, 6), (4, 4, 12))


def test_a_file_that_answers_otherwise_is_not_kept_and_the_status_is_1(
    root, tmp_path, monkeypatch, capsys
):
    real = FORMATS["torchscript"]

    def off_by_a_hundredth(path):
        run = real.load(path)
        return lambda volume: run(volume) + 0.01

    wrong = Format(real.file, real.write, off_by_a_hundredth)
    monkeypatch.setattr(export, "FORMATS", {"torchscript": wrong})
    words = ["--output", str(tmp_path / "out"), "--format", "torchscript"]
    assert main(["bundle", "export", str(root), *words]) == 1
    said = capsys.readouterr().out
    assert "torchscript: not exported: " in said
    assert "differs by 1.0e-02 from PyTorch" in said
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["export.json"]
    words += ["--tolerance", "0.5", "--overwrite"]
    assert main(["bundle", "export", str(root), *words]) == 0


def test_what_cannot_be_done_is_said_before_anything_is_written(root, tmp_path, monkeypatch):
    with pytest.raises(BundleError, match="'keras'; use any of onnx, pt2, torchscript"):
        export_bundle(root, tmp_path / "out", ["keras"])
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    with pytest.raises(BundleError, match=r"onnx needs onnx.*pip install 'volseg\[export\]'"):
        export_bundle(root, tmp_path / "out", ["onnx"])
    assert not (tmp_path / "out").exists()
    (tmp_path / "model.pt2").touch()
    with pytest.raises(DataError, match=r"model\.pt2 is there already; add --overwrite"):
        export_bundle(root, tmp_path, ["pt2"])
