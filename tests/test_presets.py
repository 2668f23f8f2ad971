"""Presets of a bundle."""

import json

import pytest
import torch

from volseg.bundle import Bundle, bundle_names
from volseg.errors import BundleError
from volseg.networks.decoder import ConvolutionalDecoder
from volseg.networks.decoder_unetr import UnetrDecoder
from volseg.presets import FILE, preset_overrides, read_presets


def write(folder, content):
    path = folder / FILE
    path.parent.mkdir()
    path.write_text(content)
    return folder


def test_of_two_presets_the_later_wins(tmp_path):
    root = write(tmp_path, json.dumps({"a": {"x": 1, "y": 2}, "b": {"y": 3}}))
    assert preset_overrides(root, ["a", "b"]) == {"x": 1, "y": 3}


def test_no_preset_changes_nothing(tmp_path):
    assert preset_overrides(tmp_path, []) == {}


def test_an_unknown_preset_is_refused_and_the_nearest_named(tmp_path):
    root = write(tmp_path, json.dumps({"brats2023": {}, "liver": {}}))
    with pytest.raises(BundleError, match=r"no preset 'brats23'; .* nearest is 'brats2023'"):
        preset_overrides(root, ["brats23"])


def test_a_bundle_without_presets_says_so(tmp_path):
    with pytest.raises(BundleError, match="no preset 'a'; it has none"):
        preset_overrides(tmp_path, ["a"])


@pytest.mark.parametrize(("text", "said"), [("{", "cannot be read as JSON"), ("[]", "no object")])
def test_a_broken_file_is_refused(tmp_path, text, said):
    with pytest.raises(BundleError, match=said):
        read_presets(write(tmp_path, text))


PRESETS = [
    (name, preset)
    for name in bundle_names()
    if "segmentation" in name
    for preset in read_presets(Bundle.find(name).root)
]
PRETRAINING = "masked_volume_pretraining"
TASKS = read_presets(Bundle.find(PRETRAINING).root)


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_each_preset_of_a_bundle_gives_a_bundle_without_contradictions(name, preset, tmp_path):
    bundle = Bundle.find(name)
    copy = bundle.copy_to(tmp_path / "copy", preset_overrides(bundle.root, [preset]))
    assert copy.check() == []
    train = copy.raw_config("train")
    assert list(copy.classes().values()) == train.get("classes", ["background", "cavity"])
    assert set(train.get("label_map", {}).values()) <= set(copy.classes())
    assert {v for values in train.get("regions", {}).values() for v in values} <= set(
        copy.classes()
    )


@pytest.mark.parametrize("preset", ["fine", "unetformer", "unetr", "large"])
def test_a_network_of_a_preset_is_built_for_four_channels(preset, tmp_path):
    bundle = Bundle.find("brain_tumor_segmentation")
    copy = bundle.copy_to(tmp_path / "copy", preset_overrides(bundle.root, [preset]))
    network = copy.config("inference").get_parsed_content("network_def")
    assert network.encoder.spec.in_channels == 4
    assert isinstance(network.decoder, UnetrDecoder if preset == "unetr" else ConvolutionalDecoder)
    network.encoder.require_divisible(tuple(copy.raw_config("train")["patch_size"]))
    assert copy.raw_config("inference")["spacing"] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("preset", ["unetformer", "fine"])
def test_a_preset_of_the_cavity_bundle_gives_a_network_for_its_patch(preset, tmp_path):
    bundle = Bundle.find("resection_cavity_segmentation")
    copy = bundle.copy_to(tmp_path / "copy", preset_overrides(bundle.root, [preset]))
    train = copy.raw_config("train")
    assert copy.raw_config("inference")["spacing"] == train["spacing"]
    network = copy.config("inference").get_parsed_content("network_def")
    size = train["patch_size"]
    network.encoder.require_divisible(tuple(size))
    with torch.no_grad():
        assert network(torch.zeros(1, 2, *size)).shape == (1, 2, *size)


@pytest.mark.parametrize("preset", TASKS)
def test_a_preset_of_pretraining_gives_a_task_for_the_encoder_and_the_patch(preset, tmp_path):
    bundle = Bundle.find(PRETRAINING)
    copy = bundle.copy_to(tmp_path / "copy", TASKS[preset])
    assert copy.check() == []
    config = copy.config("train")
    task = config.get_parsed_content("task")
    assert task.encoder is config.get_parsed_content("encoder")
    assert callable(task.views(copy.raw_config("train")["patch_size"]))


def test_every_pretext_task_has_a_preset(repository):
    files = {path.stem for path in (repository / "volseg" / "pretext").glob("*.py")}
    targets = {values["task"]["_target_"].split(".")[2] for values in TASKS.values()}
    assert targets == {
        name
        for name in files
        if "(PretextTask)" in (repository / "volseg" / "pretext" / f"{name}.py").read_text()
    }


def test_each_preset_of_pretraining_has_a_page_that_names_it(repository):
    pages = "".join(page.read_text() for page in (repository / "docs").rglob("*.md"))
    assert [name for name in TASKS if f"--preset {name}" not in pages] == []


@pytest.mark.parametrize(
    "heading", ["The idea", "Source", "What goes in", "Cost", "When it fails", "Use it"]
)
def test_each_page_of_a_task_says_what_a_page_must(heading, repository):
    pages = [*(repository / "docs" / "pretext").glob("*.md")]
    pages.append(repository / "docs" / "explanation" / "masked_volume.md")
    tasks = [page for page in pages if page.stem != "index"]
    assert len(tasks) == 11
    assert [page.stem for page in tasks if f"\n## {heading}" not in page.read_text()] == []
