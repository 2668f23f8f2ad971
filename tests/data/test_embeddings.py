"""Vectors on the disk."""

import json

import pytest
import torch
from monai.data import MetaTensor

from volseg.data.embeddings import SaveEmbeddingd
from volseg.errors import DataError


def test_each_case_adds_a_line_with_its_file_and_its_vector(tmp_path):
    save = SaveEmbeddingd("pred", tmp_path / "out")
    for name, vector in (("a.nii", [1.0, 2.0]), ("b.nii", [3.0, 4.0])):
        image = MetaTensor(torch.zeros(1), meta={"filename_or_obj": name})
        case = {"image": image, "pred": torch.tensor(vector)}
        assert save(case) == case
    lines = (tmp_path / "out" / "embeddings.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"image": "a.nii", "embedding": [1.0, 2.0]},
        {"image": "b.nii", "embedding": [3.0, 4.0]},
    ]


def test_a_disk_that_refuses_is_an_error(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(DataError, match="cannot write"):
        SaveEmbeddingd("pred", tmp_path / "out")({"image": None, "pred": torch.zeros(1)})
