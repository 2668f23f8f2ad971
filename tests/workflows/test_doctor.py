"""What the doctor looks at, and what it says when something is wrong."""

import json
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from volseg.errors import VolsegError
from volseg.workflows import doctor as module
from volseg.workflows import self_test
from volseg.workflows.doctor import Check, Diagnosis, doctor, run_self_test

CPU = torch.device("cpu")


def test_a_sound_installation_is_healthy_within_ten_seconds():
    began = time.process_time()  # the machine may be busy with something else
    found = doctor()
    assert time.process_time() - began < 10
    assert found.is_healthy, str(found)
    assert str(found).endswith("all is well")
    assert json.loads(json.dumps(found.to_json()))["healthy"]
    assert {check.name for check in found.checks} >= {
        "GPU", "memory", "disk", "bundles", *(f"{name} (cpu)" for name in module.SELF_TESTS)
    }  # fmt: skip


def test_a_warning_is_no_failure_and_a_failure_is_named():
    checks = [Check("disk", "warning", "little")]
    assert Diagnosis({}, {}, checks, 0).is_healthy
    checks.append(Check("GPU", "failed", "gone"))
    found = Diagnosis({}, {}, checks, 0)
    assert not found.is_healthy
    assert "failed   GPU: gone" in str(found)


def test_whatever_a_self_test_raises_is_a_finding():
    def test(device):
        raise ZeroDivisionError("by zero")

    found = run_self_test("it computes", test, CPU)
    assert found == Check("it computes (cpu)", "failed", "ZeroDivisionError: by zero")


def test_a_driver_without_a_torch_for_it_is_explained(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(module.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(torch.version, "cuda", None)
    assert module.check_gpu().status == "warning"
    assert "this PyTorch is built for CPUs" in module.check_gpu().detail
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    assert "wants CUDA 12.8" in module.check_gpu().detail


def test_gpus_that_can_be_used_are_named(monkeypatch):
    monkeypatch.setattr(module, "_count_gpus", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"GPU {index}")
    assert module.check_gpu() == Check("GPU", "ok", "GPU 0, GPU 1")


def test_an_apple_gpu_is_named(monkeypatch):
    monkeypatch.setattr(module, "_count_gpus", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert module.check_gpu().detail == "mps"


def test_little_memory_or_disk_is_a_warning(monkeypatch, tmp_path):
    little = SimpleNamespace(available=2**29, total=2**34, free=2**29)
    monkeypatch.setattr(module.psutil, "virtual_memory", lambda: little)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: little)
    assert module.check_memory() == Check("memory", "warning", "0.5 of 16.0 GiB are free")
    assert module.check_disk(tmp_path).status == "warning"


def test_an_installation_without_bundles_has_failed(monkeypatch):
    monkeypatch.setattr(module, "bundle_names", list)
    assert module.check_bundles().status == "failed"


def test_a_network_that_does_not_learn_is_noticed(monkeypatch):
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self: None)
    with pytest.raises(VolsegError, match=r"the loss went from (\S+) to \1 in"):
        self_test.learn(CPU)


def test_windows_that_do_not_add_up_are_noticed(monkeypatch):
    monkeypatch.setattr(self_test.SlidingWindow, "__call__", lambda self, x, net: 2 * net(x))
    with pytest.raises(VolsegError, match="they differ by 1, more than"):
        self_test.slide(CPU)


def test_a_mask_that_is_mirrored_is_noticed(monkeypatch):
    forward = self_test.Threshold.forward
    monkeypatch.setattr(self_test.Threshold, "forward", lambda self, x: forward(self, x.flip(2)))
    with pytest.raises(VolsegError, match="voxels are wrong"):
        self_test.round_trip(CPU)


def test_the_turned_volume_is_really_turned():
    affine = self_test.turned_affine((1.0, 2.0, 1.5))
    assert np.linalg.norm(affine[:3, :3], axis=0).tolist() == [1.0, 2.0, 1.5]
    assert affine[2, 0] < 0 < affine[0, 1]
