"""Attempts are counted by the files that they leave."""

from volseg.inference.attempts import Attempts


def test_attempts_are_counted_until_they_end(tmp_path):
    attempts = Attempts(tmp_path, "case-1")
    with attempts.noted(), Attempts(tmp_path, "case-12").noted(), attempts.noted():
        assert attempts.count == 2
    assert attempts.count == 0
