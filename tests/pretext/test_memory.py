"""The memory of recent vectors, and what it measures."""

import pytest
import torch

from volseg.pretext.collapse import CollapseGuard
from volseg.pretext.memory import EmbeddingFigures, Memory


def push(memory, *values):
    memory.note(torch.tensor(values, dtype=torch.float)[:, None])
    memory.commit()


def test_the_latest_rows_are_remembered_in_place_of_the_oldest():
    memory = Memory(4, 1)
    assert memory.recall().shape == (0, 1)
    push(memory, 1, 2, 3)
    assert memory.recall().flatten().tolist() == [1, 2, 3]
    push(memory, 4, 5)
    assert memory.recall().flatten().tolist() == [5, 2, 3, 4]


def test_of_more_rows_than_fit_the_last_are_kept():
    memory = Memory(2, 1)
    push(memory, 1, 2, 3)
    assert sorted(memory.recall().flatten().tolist()) == [2, 3]


def test_nothing_is_remembered_before_the_step_is_done_nor_twice():
    memory = Memory(4, 1)
    memory.note(torch.ones(1, 1))
    assert len(memory.recall()) == 0
    memory.commit()
    memory.commit()
    assert len(memory.recall()) == 1


def test_a_restored_memory_goes_on_at_the_same_place():
    memory, other = Memory(3, 1), Memory(3, 1)
    push(memory, 1, 2)
    other.load_state_dict(memory.state_dict())
    for one in (memory, other):
        push(one, 3, 4)
    assert torch.equal(memory.rows, other.rows)


def test_the_spread_does_not_depend_on_the_size_of_the_batch():
    """Orthogonal directions: two, three or four of them differ alike, by the root of 1."""
    for count in (2, 3, 4):
        figures = EmbeddingFigures(4)(torch.eye(4)[:count])
        assert figures["embedding_spread"].item() == pytest.approx(1)


def test_the_rank_of_pairs_is_that_of_many_steps():
    """Each pair differs along one of three axes; no batch alone has a rank above 1."""
    measure = EmbeddingFigures(3, size=6)
    ranks = []
    for axis in (0, 1, 2, 0):
        pair = torch.eye(3)[[axis, axis]]
        pair[1] *= -1
        ranks.append(measure(pair, "a")["a_rank"].item())
        measure.commit()
    assert ranks == pytest.approx([1, 2, 3, 2.9576], abs=1e-3)  # singular values 2, root 2, root 2


def test_the_spread_is_that_of_many_steps():
    """Pairs of opposite directions have twice the square of orthogonal ones."""
    measure = EmbeddingFigures(2)
    measure(torch.eye(2))
    measure.commit()
    figures = measure(torch.tensor([[1.0, 0], [-1, 0]]))
    assert figures["embedding_spread"].item() == pytest.approx(1.5**0.5)
    assert figures["embedding_vectors"] == 2


@pytest.mark.parametrize("is_collapsed", [False, True])
def test_few_pairs_are_not_judged_and_a_collapse_is_as_soon_as_there_are_enough(is_collapsed):
    """A single pair has a rank of 1, whatever it is: an epoch of one step is no collapse."""
    measure, found = EmbeddingFigures(3), []
    for step in range(8):
        axis = 0 if is_collapsed else step % 3
        pair = torch.eye(3)[[axis, axis]] * torch.tensor([[1.0], [-1.0]])
        found.append(len(CollapseGuard().complaints(measure(pair))))
        measure.commit()
    assert found == [0] * 5 + [int(is_collapsed)] * 3


def test_a_drift_is_no_spread():
    measure = EmbeddingFigures(2)
    for angle in torch.linspace(0, 3, 20):
        pair = torch.stack([angle.cos(), angle.sin()]).repeat(2, 1)
        figures = measure(pair)
        measure.commit()
    assert figures["embedding_spread"].item() == pytest.approx(0, abs=1e-6)
    assert figures["embedding_rank"] == 0
