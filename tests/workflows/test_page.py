"""Pages of pictures and tables."""

import re
from importlib.resources import files

import numpy as np

from volseg.workflows.page import Section, Table
from volseg.workflows.pages import Shot
from volseg.workflows.slices import draw_shots, read_under


def test_a_picture_stands_above_its_table():
    html = Section("Scores", "Some.", b"", "a < b", Table(["a"], [["b"]])).to_html()
    places = [html.index(part) for part in ("<h2>Scores", "<p>Some.", "<img", "<table>")]
    assert places == sorted(places)
    assert 'alt="a &lt; b"' in html


def test_no_rule_of_the_gallery_s_style_moves_a_slice():
    style = (files("volseg.inference.gallery") / "assets" / "report.css").read_text()
    html = Shot("axial", b"image", b"mask").to_html()
    classes = re.findall(r'class="(\w+)"', html)
    assert classes == ["slice", "laid"]
    assert not [name for name in classes if re.search(rf"\.{name}\b", style)]


def test_slices_go_through_what_is_asked_for():
    values = np.random.default_rng(0).random((20, 20, 20))
    labels = np.zeros(values.shape, np.uint8)
    labels[2:10, 2:10, 2:10], labels[14:17, 14:17, 14:17] = 1, 2
    colours = {1: "#ff0000", 2: "#00ff00"}
    for focus, place in ((None, 5), ([1], 5), ([2], 15)):
        shots = draw_shots(values, labels, np.eye(4), colours, focus)
        assert [shot.caption.split(",")[0] for shot in shots] == ["axial", "coronal", "sagittal"]
        assert [abs(int(shot.caption.split()[-2]) - place) <= 1 for shot in shots] == [True] * 3
        assert all(shot.mask for shot in shots)


def test_a_mask_is_shown_alone_where_its_image_is_not_known_or_lies_elsewhere(tmp_path):
    labels = np.ones((4, 4, 4), np.int64)
    alone, why = read_under(None, labels, np.eye(4))
    assert alone.max() == 1
    assert why == "no image is known, so that the mask is shown alone"
    (tmp_path / "image.nii.gz").write_bytes(b"broken")
    alone, why = read_under(tmp_path / "image.nii.gz", labels, np.eye(4))
    assert alone.max() == 1
    assert why.startswith("the image cannot be shown: ")
