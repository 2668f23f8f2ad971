"""What `volseg bundle compress` writes: a bundle like any other, with fewer parameters."""

import json
import shlex

import pytest
import torch
from torch import nn

from tests.bundles.synthetic import write_dataset
from tests.workflows.bundles.conftest import NETWORK
from tests.workflows.reading import read_page
from volseg.bundle import Bundle
from volseg.cli.main import main, make_parser
from volseg.errors import BundleError, DataError, WeightsError
from volseg.evaluation.pairs import read_labels
from volseg.inference.predictor import Predictor
from volseg.networks.config import build
from volseg.networks.factorized.budget import plan
from volseg.networks.factorized.chain import compose
from volseg.networks.factorized.layers import kernel_of, shape_of
from volseg.networks.factorized.tucker import Tucker
from volseg.networks.narrow import count_parameters
from volseg.networks.opening import read_card
from volseg.networks.weights import (
    build_network,
    load_encoder,
    load_segmenter,
    save_weights,
    segmenter_parts,
)
from volseg.workflows.bundles.check import check_bundle
from volseg.workflows.bundles.compress import compress_bundle
from volseg.workflows.bundles.measuring import score_cases, unseen_cases
from volseg.workflows.finetune import finetune
from volseg.workflows.inspect import inspect
from volseg.workflows.training import TrainingOptions


def test_a_compressed_bundle_is_checked_inspected_and_segments(root, tmp_path, capsys):
    write_dataset(tmp_path / "data")
    output = tmp_path / "small_segmentation"
    words = ["--output", str(output), "--method", "tt", "--budget", "0.25", "--json"]
    assert main(["bundle", "compress", str(root), *words]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["parameters_after"] <= 0.25 * said["parameters_before"]
    compressed = Bundle(output)
    assert list(check_bundle(compressed).errors) == []
    assert inspect(output).is_sound
    network = Predictor.from_bundle(compressed).network
    assert count_parameters(network) == said["parameters_after"]
    masks = ["--bundle", str(output), "--output", str(tmp_path / "masks"), "--device", "cpu"]
    assert main(["segment", str(tmp_path / "data" / "imagesTr"), *masks]) == 0
    assert list((tmp_path / "masks").rglob("*.nii.gz"))
    readme = (output / "docs" / "README.md").read_text()
    assert readme.startswith("# Hippocampus segmentation\n\n## Compression\n\n")
    assert f"tt: {said['parameters_after']} of {said['parameters_before']} parameters" in readme
    stored = (output / "docs" / "compression.json").read_text() + readme
    assert str(tmp_path) not in stored
    assert 0 < json.loads(stored.split("\n}\n")[0] + "\n}")["mean_error"] < 1


def test_the_page_shows_size_speed_and_dice_as_in_the_json(root, tmp_path, capsys):
    write_dataset(tmp_path / "data")
    output = tmp_path / "small_segmentation"
    words = ["--output", str(output), "--data", str(tmp_path / "data"), "--cases", "2"]
    assert main(["bundle", "compress", str(root), *words]) == 0
    assert "2 cases" in capsys.readouterr().out
    said = json.loads((output / "docs" / "compression.json").read_text())
    assert said["cases"] == ["case_0", "case_1"]
    page = read_page(output / "docs" / "compression.html")
    assert page.charts == 2
    for kind in ("dense", "compressed"):
        each = said["measured"][kind]
        assert list(each["dice"]) == ["anterior", "posterior", "all classes"]
        parameters, seconds, *scores = page.row(kind)
        assert (parameters, seconds) == (str(each["parameters"]), f"{each['seconds']:.4f}")
        for shown, score in zip(scores, each["dice"].values(), strict=True):
            assert shown.split(" [")[0] == f"{score['mean']:.3f}"
    assert said["measured"]["dense"]["parameters"] == said["parameters_before"]
    for name, layer in said["layers"].items():
        assert page.row(name)[1] == f"{layer['error']:.4f}"
    assert list(check_bundle(output).errors) == []
    text = (output / "docs" / "compression.html").read_text()
    assert str(tmp_path) not in text


def test_dice_is_that_of_each_network_s_own_masks(root, tmp_path):
    write_dataset(tmp_path / "data")
    made = compress_bundle(root, tmp_path / "out", budget=0.5, data=tmp_path / "data")
    (case,) = unseen_cases(Bundle(root), tmp_path / "data", 1)
    predictor = Predictor.from_bundle(Bundle(root))
    labels = predictor.predict(case.images[0]).labels
    truth, _ = read_labels(case.label)
    expected = 2 * ((labels == 1) & (truth == 1)).sum() / ((labels == 1).sum() + (truth == 1).sum())
    scores = score_cases(Bundle(root), [case])
    assert scores["anterior"].mean == pytest.approx(expected)
    assert made.dense.dice["anterior"].cases == 3


def test_dice_on_no_case_or_on_other_classes_is_refused(root, tmp_path):
    write_dataset(tmp_path / "data")
    with pytest.raises(DataError, match="Dice is asked for on 0 cases; use 1 or more"):
        unseen_cases(Bundle(root), tmp_path / "data", 0)
    listed = tmp_path / "data" / "dataset.json"
    content = json.loads(listed.read_text())
    content["labels"] = {"0": "background", "1": "posterior", "2": "anterior"}
    listed.write_text(json.dumps(content))
    with pytest.raises(DataError, match="calls label 1 'posterior', but the bundle takes it"):
        unseen_cases(Bundle(root), tmp_path / "data", None)


def test_a_network_of_the_ranks_is_met_and_loads_from_both_files(root, tmp_path):
    network = Predictor.from_bundle(Bundle(root)).network
    method = Tucker()
    for name, ranks in plan(network, method, 0.5).ranks.items():
        layer = network.get_submodule(name)
        factors = method.decompose(kernel_of(layer), ranks)
        kernel = torch.from_numpy(compose(method.chain(shape_of(layer), ranks), factors))
        is_transposed = isinstance(layer, nn.ConvTranspose3d)
        layer.weight.data.copy_(
            kernel.transpose(0, 1) if is_transposed else kernel.view_as(layer.weight)
        )
    card = read_card(root / "models" / "model.safetensors")
    save_weights(root / "models" / "model.safetensors", segmenter_parts(network), card)
    made = compress_bundle(root, tmp_path / "out", "tucker", 0.5)
    assert made.mean_error < 1e-5  # stored in single precision
    path = tmp_path / "out" / "models" / "model.safetensors"
    x = torch.randn(1, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    for weights in (path, path.with_suffix(".pt")):
        compressed = build_network(read_card(path)).eval()
        load_segmenter(compressed, weights)
        with torch.no_grad():
            torch.testing.assert_close(compressed(x), network(x), rtol=0, atol=1e-3)


def test_its_weights_are_no_dense_network_s(root, tmp_path):
    compress_bundle(root, tmp_path / "out", "tucker", 0.5)
    weights = tmp_path / "out" / "models" / "model.safetensors"
    with pytest.raises(WeightsError, match=r"fills .* of the encoder's parameters"):
        load_encoder(build(NETWORK), weights)


def test_it_is_finetuned_by_the_command_that_it_prints(root, tmp_path):
    write_dataset(tmp_path / "data")
    made = compress_bundle(root, tmp_path / "out", "cp", 0.3)
    for line in str(made).splitlines():
        if "volseg finetune" in line:
            make_parser().parse_args(shlex.split(line, comments=True)[1:])
    start = tmp_path / "out" / "models" / "model.safetensors"
    few = {"max_epochs": 1, "epoch_length": 1, "precision": "fp32"}
    options = TrainingOptions(device="cpu", progress=False)
    run = tmp_path / "run"
    finetune(tmp_path / "data", run, made.bundle, encoder=start, overrides=few, options=options)
    card = read_card(run / "models" / "model.safetensors")
    assert card.network["_target_"] == "volseg.networks.tensorized.cp"
    assert Bundle(run).check() == []


def test_the_narrow_network_is_no_larger(root, tmp_path):
    made = compress_bundle(root, tmp_path / "out", "tucker", 0.3)
    twin = build(made.narrow)
    assert count_parameters(twin) == made.narrow_parameters <= made.decomposition.plan.after
    assert made.narrow_parameters > 0.9 * made.decomposition.plan.after


def test_what_cannot_be_done_is_said(root, tmp_path, capsys):
    with pytest.raises(BundleError, match="method is 'svd'; use one of cp, tucker, tt"):
        compress_bundle(root, tmp_path / "out", "svd")
    with pytest.raises(WeightsError, match=r"budget is 3; give a fraction"):
        compress_bundle(root, tmp_path / "out", budget=3)
    assert not (tmp_path / "out").exists()
    made = compress_bundle(root, tmp_path / "out", budget=0.5)
    with pytest.raises(DataError, match=r"is there already; .*--overwrite"):
        compress_bundle(root, tmp_path / "out")
    with pytest.raises(BundleError, match="is compressed already; compress the bundle it was made"):
        compress_bundle(made.bundle, tmp_path / "twice")
    with pytest.raises(BundleError, match=r"has no network_def|has a Embedder|has no weights"):
        compress_bundle("masked_volume_pretraining", tmp_path / "encoder")
    words = ["--output", str(tmp_path / "cli"), "--budget", "0.0001"]
    assert main(["bundle", "compress", str(root), *words]) == 1
    assert "give 0." in capsys.readouterr().err
