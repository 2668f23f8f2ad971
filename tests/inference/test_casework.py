"""A process does several cases at once, unless memory is short or a case is to be alone."""

from threading import Event, Thread

import pytest

from tests.inference.threshold import save_image, threshold_predictor
from volseg.inference.casework import Casework, Task
from volseg.inference.memory import Ceiling
from volseg.inference.work_list import list_jobs


@pytest.fixture
def jobs(tmp_path):
    """Give six jobs."""
    for name in "abcdef":
        save_image(tmp_path / "in" / f"{name}.nii.gz")
    return list_jobs([tmp_path / "in"], tmp_path / "out")


def open_gate(casework):
    """Let a case wait in the network until it is told to go on."""
    begun, gate, names = Event(), Event(), []

    def start(name, _):
        names.append(name)
        begun.set()
        gate.wait(30)

    casework.on_start = start
    return begun, gate, names


@pytest.mark.parametrize(("ceiling", "num_loaded"), [(None, 3), (2**40, 1)])
def test_a_process_holds_as_many_cases_as_it_has_places(jobs, tmp_path, ceiling, num_loaded):
    predictor = threshold_predictor()
    predictor.ceiling = Ceiling(host=ceiling)
    loaded, load = [], predictor.load
    predictor.load = lambda source: (loaded.append(source), load(source))[1]
    casework = Casework(predictor, tmp_path)
    begun, gate, _ = open_gate(casework)
    threads = run_beside(casework, jobs)
    assert begun.wait(30)
    wait_until(lambda: len(loaded) >= num_loaded)
    assert len(loaded) == num_loaded
    gate.set()
    for thread in threads:
        thread.join(30)
    assert len(loaded) == len(jobs)


def test_a_case_that_is_done_alone_waits_for_the_others_and_keeps_them_out(jobs, tmp_path):
    casework = Casework(threshold_predictor(), tmp_path)
    begun, gate, names = open_gate(casework)
    first, second, third, *_ = jobs
    threads = run_beside(casework, [first])
    assert begun.wait(30)
    alone = Thread(target=casework.run, args=(Task(second),), kwargs={"alone": True})
    alone.start()
    wait_until(lambda: not casework._places.acquire(blocking=False) or casework._places.release())
    threads += [alone, *run_beside(casework, [third])]
    gate.set()
    for thread in threads:
        thread.join(30)
    assert names == ["a", "b", "c"]


def run_beside(casework, jobs):
    threads = [Thread(target=casework.run, args=(Task(job),)) for job in jobs]
    for thread in threads:
        thread.start()
    return threads


def wait_until(claim):
    for _ in range(3000):
        if claim():
            return
        Event().wait(0.01)
    raise AssertionError("never came true")
