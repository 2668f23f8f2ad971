"""Devices and processes."""

import pytest
import torch

from volseg.engines import distributed
from volseg.errors import DeviceError


def test_cpu_is_always_there():
    assert distributed.device("cpu") == torch.device("cpu")
    assert distributed.device(torch.device("cpu")) == torch.device("cpu")


def test_auto_finds_what_is_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert distributed.device("auto") == torch.device("cpu")


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match=r"'cuda:0' was asked for, but this machine offers 0"):
        distributed.device("cuda")


def test_each_local_rank_has_its_own_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert distributed.device("auto") == torch.device("cuda", 3)
    assert distributed.device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(DeviceError, match=r"'cuda:4' was asked for, .* offers 4 GPU"):
        distributed.device("cuda:4")


def test_apple_silicon_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="'mps' was asked for"):
        distributed.device("mps")


def test_an_unknown_device_is_refused():
    with pytest.raises(DeviceError, match="device 'gpu' is unknown; use auto, cpu"):
        distributed.device("gpu")


def test_one_process_is_the_main_one():
    distributed.start(torch.device("cpu"))
    assert not distributed.is_joined()
    assert distributed.is_main()
    assert (distributed.rank(), distributed.world_size()) == (0, 1)
    values = torch.tensor([1.0, 2.0])
    assert torch.equal(distributed.mean_over_ranks(values), torch.tensor([1.0, 2.0]))
    distributed.finish()
