import pytest

from tests.inference.gallery.samples import ball_picture
from volseg.errors import DataError
from volseg.inference.gallery.case import load_picture, save_picture


def test_pictures_are_read_as_they_were_kept(tmp_path):
    picture = ball_picture()
    save_picture(picture, tmp_path / "a" / "picture.json")
    assert load_picture(tmp_path / "a" / "picture.json") == picture


@pytest.mark.parametrize("content", [b"", b"[]", b'{"planes": []}', b'{"planes": [{}]}', b"\xff"])
def test_a_file_without_pictures_is_refused(tmp_path, content):
    path = tmp_path / "picture.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"picture.json: holds no pictures of a case .* delete it"):
        load_picture(path)
