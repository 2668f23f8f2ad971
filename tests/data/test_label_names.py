import json

import pytest

from volseg.data.label_names import require_same_names
from volseg.errors import DataError

CLASSES = ["background", "necrosis", "oedema", "enhancing"]

BRATS_2023 = {"1": 1, "2": 2, "3": 3}

DECATHLON = {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"}


def describe(folder, labels):
    """Write what a data set of the Decathlon says of its labels."""
    content = {"labels": labels, "training": [], "modality": {"0": "MRI"}}
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


def test_same_values_for_other_tissues_are_refused(tmp_path):
    with pytest.raises(
        DataError, match=r"calls label 1 'edema', .* takes it for 'necrosis'; .*pre"
    ):
        require_same_names(describe(tmp_path, DECATHLON), BRATS_2023, CLASSES)


def test_the_preset_of_the_data_set_is_taken(tmp_path):
    require_same_names(describe(tmp_path, DECATHLON), {"1": 2, "2": 1, "3": 3}, CLASSES)


@pytest.mark.parametrize(
    "labels",
    [
        {"0": "background", "1": "NCR", "2": "peritumoral edema", "3": "ET"},
        {"0": "background", "1": "somewhere", "2": "else", "3": "3"},
        {"0": "background", "1": "tumor", "9": "oedema"},
    ],
    ids=["other spellings", "names that say nothing", "a value that is refused elsewhere"],
)
def test_names_without_a_contradiction_pass(tmp_path, labels):
    require_same_names(describe(tmp_path, labels), BRATS_2023, CLASSES)


def test_classes_that_differ_in_words_alone_say_nothing(tmp_path):
    source = describe(tmp_path, {"0": "background", "1": "lesion tumor"})
    require_same_names(source, {"1": 2}, ["background", "lesion tumor", "lesion"])


def test_a_list_without_names_passes(tmp_path):
    source = tmp_path / "cases.csv"
    source.write_text("image,label\na.nii.gz,b.nii.gz\n")
    require_same_names(source, BRATS_2023, CLASSES)
