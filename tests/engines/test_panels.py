"""Pictures of training steps."""

import numpy as np
import torch
from PIL import Image

from volseg.engines.panels import GAP, save_panels, write_png


def test_another_reader_sees_the_same_pixels(tmp_path):
    picture = torch.tensor([[0.0, 0.5, 1.0], [-1.0, 2.0, 0.2]])
    write_png(tmp_path / "a.png", picture)
    pixels = np.asarray(Image.open(tmp_path / "a.png"))
    assert pixels.tolist() == [[0, 128, 255], [0, 255, 51]]


def test_rows_are_volumes_and_columns_pictures(tmp_path):
    volume = torch.rand(2, 1, 6, 8, 5)
    save_panels(tmp_path / "a.png", {"clean": volume, "masked": volume, "other": volume})
    assert Image.open(tmp_path / "a.png").size == (3 * (6 + GAP), 2 * (8 + GAP))


def test_anterior_is_up_and_the_middle_slice_is_shown(tmp_path):
    volume = torch.zeros(1, 1, 4, 4, 3)
    volume[0, 0, 1, 3, 1] = 1  # most anterior voxel of the second column
    save_panels(tmp_path / "a.png", {"clean": volume})
    pixels = np.asarray(Image.open(tmp_path / "a.png"))
    assert list(zip(*np.nonzero(pixels), strict=True)) == [(0, 1)]


def test_a_reconstruction_is_drawn_on_the_scale_of_the_original(tmp_path):
    clean = torch.linspace(0, 1, 64).reshape(1, 1, 8, 8, 1)
    save_panels(tmp_path / "a.png", {"clean": clean, "flat": torch.full_like(clean, 0.5)})
    flat = np.asarray(Image.open(tmp_path / "a.png"))[:8, 8 + GAP : 16 + GAP]
    assert set(flat.flatten().tolist()) <= {127, 128}


def test_many_volumes_are_cut_to_four(tmp_path):
    save_panels(tmp_path / "a.png", {"clean": torch.rand(9, 1, 4, 4, 2)})
    assert Image.open(tmp_path / "a.png").size[1] == 4 * (4 + GAP)
