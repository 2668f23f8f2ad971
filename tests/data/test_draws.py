"""A batch is a function of the seed and the step, and of nothing else."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from monai.transforms import Compose, RandGaussianNoised, RandShiftIntensityd

from volseg.data.draws import Draws, draw_loader
from volseg.errors import DataError

CASES = [{"image": torch.full((1, 2, 2, 2), float(index))} for index in range(5)]


def draws(seed=0, cases=CASES):
    """Draw noise, so that every random number shows."""
    noise = [RandGaussianNoised("image", prob=0.5), RandShiftIntensityd("image", 0.4, prob=0.5)]
    return Draws(cases, Compose(noise), seed)


def batches(start=0, total=8, **options):
    """Load batches of two."""
    loader = draw_loader(draws(), 2, start, total, **options)
    return [batch["image"] for batch in loader]


def test_each_round_sees_every_case_once_in_a_fresh_order():
    source = draws()
    rounds = [[source.case_of(5 * epoch + place) for place in range(5)] for epoch in range(6)]
    assert all(sorted(order) == [0, 1, 2, 3, 4] for order in rounds)
    assert len({tuple(order) for order in rounds}) > 1


def test_a_draw_does_not_depend_on_those_before_it():
    forwards, backwards, alone = draws(), draws(), draws()
    ordered = [forwards[k]["image"] for k in range(12)]
    reverse = [backwards[k]["image"] for k in reversed(range(12))][::-1]
    assert all(map(torch.equal, ordered, reverse))
    assert torch.equal(alone[7]["image"], ordered[7])


def test_two_draws_of_one_case_differ():
    source = Draws(CASES[:1], RandGaussianNoised("image", prob=1), 0)
    assert not torch.equal(source[0]["image"], source[1]["image"])


def test_another_seed_gives_other_draws():
    assert any(not torch.equal(draws(0)[k]["image"], draws(1)[k]["image"]) for k in range(4))
    assert [draws(0).case_of(k) for k in range(5)] != [draws(1).case_of(k) for k in range(5)]


def test_global_random_state_is_neither_used_nor_moved():
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    first = draws()[2]["image"]
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(4)
    assert torch.equal(draws()[2]["image"], first)


def test_threads_do_not_disturb_each_other():
    source = draws()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda k: source[k]["image"], range(200)))
    alone = draws()
    assert all(torch.equal(image, alone[k]["image"]) for k, image in enumerate(found))


def test_the_cases_themselves_stay_as_they_are():
    list(map(draws().__getitem__, range(10)))
    assert all(bool((case["image"] == index).all()) for index, case in enumerate(CASES))


def test_workers_do_not_change_the_batches():
    assert all(map(torch.equal, batches(num_workers=2), batches(num_workers=0)))


def test_a_resumed_run_goes_on_where_it_stopped():
    whole, rest = batches(), batches(start=5)
    assert len(whole) == 8
    assert len(rest) == 3
    assert all(map(torch.equal, whole[5:], rest))


def test_two_processes_share_the_batches_of_one_without_overlap():
    single = batches(total=8)
    first, second = batches(total=4, rank=0, world=2), batches(total=4, rank=1, world=2)
    interleaved = [batch for pair in zip(first, second, strict=True) for batch in pair]
    assert all(map(torch.equal, single, interleaved))


def test_a_finished_run_has_no_batches():
    assert len(draw_loader(draws(), 2, 8, 8)) == 0
    assert batches(start=8) == []


def test_an_empty_dataset_is_refused():
    with pytest.raises(DataError, match="dataset is empty"):
        draws(cases=[])
