"""One seed opens any number of streams that have nothing in common."""

import itertools

import torch

from volseg.transforms.resection.streams import open_stream


def test_no_two_of_many_streams_agree():
    keys = list(itertools.product(range(20), range(5), range(4)))
    first = {torch.rand(2, generator=open_stream(*key), dtype=torch.float64) for key in keys}
    values = {tuple(each.tolist()) for each in first}
    assert len(values) == len(keys)


def test_a_stream_opens_again_the_same():
    big = 2**63 - 1
    first, again = (torch.randn(5, generator=open_stream(big, 4, 1)) for _ in range(2))
    assert torch.equal(first, again)
