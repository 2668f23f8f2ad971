"""Zip files as bundles: unpacked into their own folder, or refused before a byte is written."""

import stat
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import pytest

from volseg.bundle import Bundle
from volseg.errors import BundleError
from volseg.packed import cache_folder, unpacked

METADATA = "configs/metadata.json"


def pack(path: Path, *names: str, mode: int = stat.S_IFREG | 0o644) -> Path:
    """Write a zip file of members that hold their own name."""
    with ZipFile(path, "w") as archive:
        for name in names:
            member = ZipInfo(name)
            member.external_attr = (mode if name == names[-1] else stat.S_IFREG | 0o644) << 16
            archive.writestr(member, name)
    return path


def everything_in(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def test_a_bundle_in_a_folder_is_unpacked_with_all_its_files(tmp_path):
    path = pack(tmp_path / "any.zip", f"mine/{METADATA}", "mine/docs/README.md")
    root = unpacked(path, tmp_path / "cache")
    assert root.name == "mine"
    assert (root / "docs" / "README.md").read_text() == "mine/docs/README.md"
    assert sum(one.is_file() for one in everything_in(tmp_path / "cache")) == 2


def test_a_bundle_at_the_top_is_called_like_the_file(tmp_path):
    path = pack(tmp_path / "mine.zip", METADATA)
    assert unpacked(path, tmp_path / "cache").name == "mine"


def test_it_is_unpacked_once_and_another_file_goes_elsewhere(tmp_path):
    path = pack(tmp_path / "mine.zip", METADATA)
    root = unpacked(path, tmp_path / "cache")
    (root / "kept").touch()
    assert (unpacked(path, tmp_path / "cache") / "kept").is_file()
    pack(path, METADATA, "LICENSE")
    assert unpacked(path, tmp_path / "cache") != root


def test_a_zip_file_is_found_wherever_a_bundle_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = pack(tmp_path / "mine.zip", METADATA)
    assert Bundle.find(path).root.is_relative_to(cache_folder())
    assert cache_folder() == tmp_path / "cache" / "volseg" / "bundles"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../outside", "a path that leads outside"),
        ("mine/../../outside", "a path that leads outside"),
        ("/etc/outside", "an absolute path"),
        ("C:/outside", "an absolute path or one of another system"),
        ("..\\outside", "an absolute path or one of another system"),
        ("other/file", "more than one folder"),
        (f"mine/{METADATA.upper()}", "two files of the same name"),
        (f"mine/other/{METADATA}", "holds 2 files configs/metadata.json"),
    ],
)
def test_a_member_that_leads_elsewhere_is_refused(tmp_path, name, reason):
    path = pack(tmp_path / "mine.zip", f"mine/{METADATA}", name)
    before = everything_in(tmp_path)
    with pytest.raises(BundleError, match=reason):
        unpacked(path, tmp_path / "cache")
    assert everything_in(tmp_path) == before


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_a_link_or_a_special_file_is_refused(tmp_path, kind):
    path = pack(tmp_path / "mine.zip", METADATA, "models/model.pt", mode=kind | 0o777)
    with pytest.raises(BundleError, match=r"'models/model.pt', a link or a special file"):
        unpacked(path, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_file_that_is_a_folder_too_is_refused_and_leaves_nothing(tmp_path):
    path = pack(tmp_path / "mine.zip", "mine/configs", f"mine/{METADATA}")
    with pytest.raises(BundleError, match="cannot be unpacked"):
        unpacked(path, tmp_path / "cache")
    assert not [one for one in everything_in(tmp_path / "cache") if one.is_file()]


def test_a_member_that_holds_more_than_it_says_is_refused(tmp_path):
    path = pack(tmp_path / "mine.zip", METADATA, "docs/README.md")
    content = path.read_bytes()
    size = len("docs/README.md").to_bytes(4, "little")
    said = content.replace(size + size, (3).to_bytes(4, "little") * 2)  # the list at the end too
    assert said != content
    path.write_bytes(said)
    with pytest.raises(BundleError, match="cannot be unpacked"):
        unpacked(path, tmp_path / "cache")
    assert not [one for one in everything_in(tmp_path / "cache") if one.is_file()]


def test_a_file_that_swells_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("volseg.packed.LARGEST", 30)
    path = pack(tmp_path / "mine.zip", METADATA, "docs/README.md")
    with pytest.raises(BundleError, match="would be 35 bytes in 2 files"):
        unpacked(path, tmp_path / "cache")


def test_a_damaged_file_and_one_that_is_no_zip_leave_nothing(tmp_path):
    path = pack(tmp_path / "mine.zip", METADATA)
    content = path.read_bytes()
    path.write_bytes(content.replace(METADATA.encode(), b"configs/metadata.jsoM", 1))
    with pytest.raises(BundleError, match="cannot be unpacked"):
        unpacked(path, tmp_path / "cache")
    assert not [one for one in everything_in(tmp_path / "cache") if one.is_file()]
    path.write_bytes(b"no zip")
    with pytest.raises(BundleError, match="cannot be unpacked"):
        unpacked(path, tmp_path / "cache")
