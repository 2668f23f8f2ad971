"""The teacher, its schedules and its centre."""

import pytest
import torch
from torch import nn

from volseg.pretext.teacher import Centre, Teacher, cosine_momentum, normalized_entropy


def test_the_teacher_starts_equal_and_keeps_its_share():
    student = nn.Linear(2, 2)
    teacher = Teacher(student)
    assert torch.equal(teacher.network.weight, student.weight)
    before = student.weight.detach().clone()
    with torch.no_grad():
        student.weight += 1
    teacher.follow(student, 0.75)
    torch.testing.assert_close(teacher.network.weight, before + 0.25)


def test_buffers_follow_and_whole_numbers_are_copied():
    student = nn.BatchNorm1d(1)
    teacher = Teacher(student)
    student(torch.tensor([[0.0], [2.0]]))  # its running mean moves by a tenth of 1
    teacher.follow(student, 0.5)
    assert teacher.network.running_mean.item() == pytest.approx(0.05)
    assert teacher.network.num_batches_tracked == 1


def test_dropout_rests_whatever_the_task_does():
    task = nn.ModuleList([Teacher(nn.Sequential(nn.Dropout(0.5)))])
    task.train()
    assert torch.equal(task[0].network(torch.ones(9)), torch.ones(9))


def test_the_momentum_ends_at_one():
    assert cosine_momentum(0.996, 0) == pytest.approx(0.996)
    assert cosine_momentum(0.996, 0.5) == pytest.approx(0.998)
    assert cosine_momentum(0.996, 1) == 1


def test_a_batch_without_answers_leaves_the_centre():
    centre = Centre(2, momentum=0.5)
    centre.note(torch.tensor([[1.0, 0.0], [3.0, 0.0]]))
    centre.commit()
    assert centre.mean.tolist() == [1, 0]
    centre.note(torch.zeros(0, 2))
    centre.commit()
    assert centre.mean.tolist() == [1, 0]


def test_entropy_is_a_fraction_of_its_maximum():
    assert normalized_entropy(torch.full((3, 5), 0.2)).item() == pytest.approx(1)
    assert normalized_entropy(torch.eye(5)) == 0
