"""A memory of recent vectors, for tasks that compare a volume with more than its own batch.

Batches of 3D volumes are small, so vectors of past steps stand in for a larger one, as in
cross-batch memory (Wang et al. 2020, https://arxiv.org/abs/1912.06798). They are as old as the
weights that made them; keep the memory short beside the length of the run.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from volseg.pretext.collapse import effective_rank
from volseg.pretext.processes import gather_rows


class Memory(nn.Module):
    """A ring of vectors, part of the state that a run resumes from.

    Args:
        size: Vectors to remember, over all processes.
        width: Entries of a vector.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("rows", torch.zeros(size, width))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))
        self.rows: Tensor
        self.count: Tensor
        self.noted: Tensor | None = None

    def recall(self) -> Tensor:
        """Give what is remembered, ``(N, width)``; no row at first."""
        return self.rows[: min(int(self.count), self.size)].clone()

    def note(self, rows: Tensor) -> None:
        """Take vectors of this step, to be remembered by `commit`.

        Args:
            rows: Vectors, ``(N, width)``.
        """
        self.noted = rows.detach().float()

    @torch.no_grad()
    def commit(self) -> None:
        """Remember the noted vectors of all processes in place of the oldest ones."""
        if self.noted is None or self.size == 0:
            return
        rows = gather_rows(self.noted)[-self.size :]
        places = (self.count + torch.arange(len(rows), device=rows.device)) % self.size
        self.rows[places] = rows
        self.count += len(rows)
        self.noted = None


class EmbeddingFigures(nn.Module):
    """Measures spread and rank of image vectors, of which a batch has too few to judge by.

    Both are those of deviations from the batch's mean, over recent batches. Deviations, because
    vectors drift while the weights change, and a drift is not a spread.

    Args:
        width: Entries of a vector.
        size: Deviations to look back on.
    """

    def __init__(self, width: int, size: int = 64) -> None:
        super().__init__()
        self.memory = Memory(size, width)

    def forward(self, vectors: Tensor, name: str = "embedding") -> dict[str, Tensor]:
        """Measure a batch.

        Args:
            vectors: One vector a volume, ``(N, width)``, at least two.
            name: What the figures are of.

        Returns:
            ``{name}_spread``, whose expectation does not depend on the size of the batch,
            ``{name}_rank``, and ``{name}_vectors``, from how many independent ones they are: each
            batch gives one less than it has, for its mean.
        """
        directions = functional.normalize(vectors.detach().float(), dim=1)
        deviations = directions - directions.mean(dim=0)
        rows = torch.cat([self.memory.recall(), deviations])
        independent = rows.new_tensor(len(rows) * (len(vectors) - 1) / len(vectors))
        self.memory.note(deviations)
        return {
            f"{name}_spread": (rows.square().sum() / independent).sqrt(),
            f"{name}_rank": effective_rank(rows),
            f"{name}_vectors": independent,
        }

    def commit(self) -> None:
        """Remember this step."""
        self.memory.commit()
