"""Which bundles `volseg bundle list` finds, and what it says of them."""

import json

import pytest

from volseg.bundle import bundle_names
from volseg.cli.main import main
from volseg.errors import BundleError
from volseg.workflows.bundles.listing import list_bundles


def test_all_bundles_that_come_with_volseg_are_listed():
    names = [one.name for one in list_bundles().bundles]
    assert names == bundle_names()
    assert "hippocampus_segmentation" in names


def test_a_bundle_and_a_folder_of_bundles_are_listed_with_their_facts(root, capsys):
    assert main(["bundle", "list", str(root.parent), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["bundles"][-1]
    assert found["path"] == str(root)
    assert (found["version"], found["weights"]) == ("0.1.0", True)
    assert (found["channels"], found["classes"]) == (["MRI"], ["anterior", "posterior"])
    (root / "models" / "model.pt").unlink()
    (root / "models" / "model.safetensors").unlink()
    assert not list_bundles([root]).bundles[-1].weights


def test_a_bundle_that_cannot_be_read_does_not_hide_the_others(root):
    (root / "configs" / "metadata.json").write_text("{")
    *others, last = list_bundles([root]).bundles
    assert "cannot be read as JSON" in str(last)
    assert len(others) == len(bundle_names())


def test_a_folder_without_bundles_is_refused(tmp_path):
    with pytest.raises(BundleError, match="is no bundle and holds none"):
        list_bundles([tmp_path])
