"""The account of a batch."""

import shutil

from volseg.inference.ledger import Ledger


def test_a_late_writer_does_not_leave_the_hidden_folder_behind(tmp_path, monkeypatch):
    remove, calls = shutil.rmtree, []

    def remove_half(folder, **options):
        calls.append(folder)
        if len(calls) > 1:
            remove(folder, **options)

    monkeypatch.setattr(shutil, "rmtree", remove_half)
    with Ledger(tmp_path).open() as staging:
        assert staging.is_dir()
    assert len(calls) == 2
    assert not list(tmp_path.iterdir())
