"""A killed and resumed run equals the uninterrupted one bit for bit."""

import multiprocessing
import random
import time

import pytest
import torch
from safetensors.torch import load_file

from tests.engines.tiny import BUILDERS, EPOCH_LENGTH, EPOCHS, optimisation, train
from volseg.engines.checkpoint import load_state, save_state
from volseg.engines.log import MetricsFile
from volseg.errors import DataError, VolsegError

WALL_TIME = {"seconds"}


@pytest.fixture(scope="module")
def processes():
    """Fork children from a server that has imported everything but trained nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.engines.tiny"])
    return context


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Train without interruption, once a kind."""
    folders = {}
    for kind, build in BUILDERS.items():
        folders[kind] = tmp_path_factory.mktemp(kind)
        build(folders[kind]).run()
    return folders


def run_child(processes, kind, folder, workers, *, resume):
    child = processes.Process(target=train, args=(kind, folder, workers), kwargs={"resume": resume})
    child.start()
    return child


def kill_within(child, folder, patience):
    """Kill -9 once the training has started, at a moment that nobody chose."""
    while not (folder / "started").exists() and child.is_alive():
        time.sleep(0.005)
    child.join(random.uniform(0, patience))  # the moment must be arbitrary
    child.kill()
    child.join()


def equal(first, second):
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[k], second[k]) for k in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(equal, first, second))
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    return first == second


def require_equal_runs(one, other):
    first, second = (load_state(folder / "train" / "resume.pt") for folder in (one, other))
    assert equal(first, second)
    weights = sorted(path.name for path in (one / "models").glob("*.safetensors"))
    assert weights
    for name in weights:
        assert equal(load_file(one / "models" / name), load_file(other / "models" / name)), name
    logs = [MetricsFile(folder / "train" / "metrics.jsonl").read() for folder in (one, other)]
    without_time = [[{k: r[k] for k in r.keys() - WALL_TIME} for r in log] for log in logs]
    assert without_time[0] == without_time[1]
    assert [record["step"] for record in logs[0]] == [
        EPOCH_LENGTH * (epoch + 1) for epoch in range(EPOCHS)
    ]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["pretrain", "segment"])
def test_a_killed_run_resumes_to_the_same_bits(kind, workers, processes, reference, tmp_path):
    for _ in range(2):
        (tmp_path / "started").unlink(missing_ok=True)
        child = run_child(processes, kind, tmp_path, workers, resume=True)
        kill_within(child, tmp_path, patience=0.8)
    child = run_child(processes, kind, tmp_path, workers, resume=True)
    child.join()
    assert child.exitcode == 0
    require_equal_runs(reference[kind], tmp_path)


class Stop:
    """A handler that ends a run before its third epoch."""

    def attach(self, engine):
        from ignite.engine import Events

        engine.add_event_handler(
            Events.EPOCH_STARTED, lambda e: e.terminate() if e.state.epoch == 3 else None
        )


def test_a_resumed_run_remembers_its_best(tmp_path):
    BUILDERS["segment"](tmp_path, handlers=[Stop()]).run()
    path = tmp_path / "train" / "resume.pt"
    best = {"metric": 2.0, "epoch": 1}  # better than any Dice
    save_state(path, {**load_state(path), "best": best})
    before = (tmp_path / "models" / "best.safetensors").read_bytes()
    BUILDERS["segment"](tmp_path, resume=True).run()
    assert load_state(path)["best"] == best
    assert (tmp_path / "models" / "best.safetensors").read_bytes() == before


@pytest.mark.parametrize("kind", ["pretrain", "segment"])
def test_a_run_stopped_after_any_epoch_resumes_to_the_same_bits(kind, reference, tmp_path):
    BUILDERS[kind](tmp_path, handlers=[Stop()]).run()
    assert load_state(tmp_path / "train" / "resume.pt")["learner"]["step"] == 2 * EPOCH_LENGTH
    BUILDERS[kind](tmp_path, resume=True).run()
    require_equal_runs(reference[kind], tmp_path)


class Crash(BaseException):
    """Ends a run as abruptly as a test can without killing itself."""


WRITES = {"pretrain": 4, "segment": 6}
"""Files that one epoch writes at most: a picture, weights, the log, the state to resume from."""


@pytest.mark.parametrize(
    ("kind", "write"), [(kind, write) for kind, count in WRITES.items() for write in range(count)]
)
def test_a_crash_at_any_write_of_an_epoch_is_mended(kind, write, reference, tmp_path, monkeypatch):
    """The first epoch is whole; the crash comes when the n-th write after it is on the disk."""
    done = []

    def crash(descriptor):
        done.append(descriptor)
        if (tmp_path / "train" / "resume.pt").exists():
            crash.left -= 1
            if crash.left < 0:
                raise Crash

    crash.left = write
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", crash)
        with pytest.raises(Crash):
            BUILDERS[kind](tmp_path).run()
    assert done
    BUILDERS[kind](tmp_path, resume=True).run()
    require_equal_runs(reference[kind], tmp_path)


def test_resuming_a_finished_run_changes_nothing(reference):
    folder = reference["segment"]
    before = (folder / "models" / "model.pt").read_bytes()
    BUILDERS["segment"](folder, resume=True).run()
    assert (folder / "models" / "model.pt").read_bytes() == before
    assert len(MetricsFile(folder / "train" / "metrics.jsonl").read()) == EPOCHS


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"seed": 7}, "started with seed 0, now it is seed 7"),
        ({"batch_size": 1}, "started with batch_size 2, now it is batch_size 1"),
        ({"cases": 3}, "started with cases '"),
        ({"learning": optimisation(learning_rate=0.5)}, "learning_rate 0.01, now it is"),
    ],
)
def test_other_settings_are_refused_with_the_reason(changes, reason, reference):
    trainer = BUILDERS["pretrain"](reference["pretrain"], resume=True, **changes)
    with pytest.raises(VolsegError, match=reason):
        trainer.run()


def test_another_network_is_refused(reference):
    from volseg.networks.residual import ResidualEncoder
    from volseg.networks.segmenter import Segmenter

    network = Segmenter(ResidualEncoder(1, widths=(4, 9)), num_classes=2, num_heads=2)
    trainer = BUILDERS["segment"](reference["segment"], resume=True, network=network)
    with pytest.raises(VolsegError, match="started with network '"):
        trainer.run()


@pytest.mark.parametrize("content", [b"", b"not a state", b"PK\x03\x04 cut off"])
def test_a_broken_state_is_refused(content, tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "resume.pt").write_bytes(content)
    with pytest.raises(DataError, match=r"resume.pt cannot be read as the state of a run"):
        BUILDERS["pretrain"](tmp_path, resume=True).run()


def test_a_state_without_settings_is_refused(tmp_path):
    torch.save({"weights": torch.zeros(1)}, tmp_path / "resume.pt")
    with pytest.raises(DataError, match="is not the state of a run"):
        load_state(tmp_path / "resume.pt")


def test_a_run_that_is_not_resumed_starts_with_an_empty_log(reference, tmp_path):
    MetricsFile(tmp_path / "train" / "metrics.jsonl").append({"step": 99})
    BUILDERS["pretrain"](tmp_path).run()
    require_equal_runs(reference["pretrain"], tmp_path)
