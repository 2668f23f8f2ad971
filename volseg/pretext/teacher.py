"""A teacher that is a slow copy of its student, its schedules, and the centre of its answers.

After mean teachers (Tarvainen & Valpola 2017, https://arxiv.org/abs/1703.01780) and DINO (Caron et
al. 2021, https://arxiv.org/abs/2104.14294).
"""

from copy import deepcopy
from math import cos, log, pi

import torch
from torch import Tensor, nn

from volseg.pretext.processes import gather_rows


class Teacher(nn.Module):
    """A copy of a network that is never trained and follows it.

    It starts equal to the student, dropout and the like always rest, and buffers follow too.

    Args:
        student: The network to follow.
    """

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.network = deepcopy(student).requires_grad_(requires_grad=False)
        self.train()

    def train(self, mode: bool = True) -> "Teacher":  # noqa: ARG002, FBT001, FBT002 - torch's own
        """Stay in evaluation, whatever the task around it does.

        Args:
            mode: Not read.

        Returns:
            The teacher.
        """
        super().train(mode=False)
        return self

    @torch.no_grad()
    def follow(self, student: nn.Module, momentum: float) -> None:
        """Move towards the student.

        Args:
            student: The network that the teacher was copied from.
            momentum: Share of itself that the teacher keeps, 0 to 1.
        """
        values = student.state_dict()
        for name, own in self.network.state_dict().items():
            if own.is_floating_point():
                own.lerp_(values[name].to(own), 1 - momentum)
            else:
                own.copy_(values[name])


class Centre(nn.Module):
    """The running mean of a teacher's answers, which is taken off them so that none always wins.

    Args:
        width: Prototypes.
        momentum: Share of the past.
    """

    def __init__(self, width: int, momentum: float = 0.9) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(width))
        self.mean: Tensor
        self.noted: Tensor | None = None

    def note(self, answers: Tensor) -> None:
        """Take the answers of this step, for `commit`.

        Args:
            answers: One answer a row, ``(N, width)``; none leave the mean as it is.
        """
        self.noted = answers.detach().float().mean(dim=0, keepdim=True) if len(answers) else None

    @torch.no_grad()
    def commit(self) -> None:
        """Move towards the mean answer of all processes."""
        if self.noted is not None:
            self.mean.lerp_(gather_rows(self.noted).mean(dim=0), 1 - self.momentum)
            self.noted = None


def cosine_momentum(base: float, progress: float) -> float:
    """Raise a teacher's momentum from a base to 1 along half a cosine.

    Args:
        base: Momentum at the first step.
        progress: Share of the training that is done, 0 to 1.

    Returns:
        The momentum.

    Examples:
        >>> [round(cosine_momentum(0.9, progress), 6) for progress in (0, 0.5, 1)]
        [0.9, 0.95, 1.0]
    """
    return 1 - (1 - base) * (cos(pi * progress) + 1) / 2


def normalized_entropy(probabilities: Tensor) -> Tensor:
    """Measure how undecided distributions are.

    Args:
        probabilities: One distribution a row, ``(N, K)``.

    Returns:
        Mean entropy as a fraction of its maximum, a scalar: 0 sure of one answer, 1 of none.

    Examples:
        >>> normalized_entropy(torch.tensor([[0.5, 0.5], [0.0, 1.0]]))
        tensor(0.5000)
    """
    entropies = torch.special.entr(probabilities.detach()).sum(dim=1)
    mean: Tensor = entropies.mean() / log(probabilities.shape[1])
    return mean
