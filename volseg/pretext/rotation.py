"""Rotation with a split of the features: one half knows how a crop is turned, the other what it is.

Song et al. 2022 (Diagnostics 12:1805, https://doi.org/10.3390/diagnostics12081805) pretrain so for
COVID-19; the split is that of Feng, Xu & Tao 2019
(https://openaccess.thecvf.com/content_CVPR_2019/html/Feng_Self-Supervised_Representation_Learning_by_Rotation_Feature_Decoupling_CVPR_2019_paper.html).
The first half predicts the rotation. The second is pulled towards its mean over the rotated
copies, and must tell volumes apart. We depart from them in that rotations are those of a cube, a
few drawn for each crop; in that the pull is measured as a share of the spread over the batch, since
a squared distance is met by small features as well as by equal ones; in that volumes are told from
those of the batch instead of a memory of the whole data set; and in that copies which look upright
are not weighted down.
"""

from collections.abc import Mapping
from itertools import permutations, product

import torch
from monai.transforms import Randomizable
from torch import Tensor, nn
from torch.nn import functional

from volseg.errors import GeometryError
from volseg.networks.encoder import Encoder
from volseg.pretext.collapse import cosine_of_copies, share_within
from volseg.pretext.crops import crop_padded, draw_start, read_volume
from volseg.pretext.memory import EmbeddingFigures
from volseg.pretext.projection import Projector
from volseg.pretext.reconstruction import as_size
from volseg.pretext.task import PretextResult, PretextTask
from volseg.types import Size

Turn = tuple[tuple[int, int, int], tuple[int, ...]]
"""A rotation of a cube: the order of its axes, and the axes to flip afterwards."""

ROTATIONS = ("axis10", "cube24")


class RotationDecoupling(PretextTask):
    """Predict how a crop was turned from one half of its features, and know it by the other.

    Args:
        encoder: The network to train.
        rotations: ``axis10``, the identity and quarter, half and three-quarter turns about each
            axis; or ``cube24``, all rotations of a cube.
        copies: Rotated copies of each crop, at least two.
        temperature: Of the cosines with which volumes are told apart.
        projection: Entries of the vector by which they are.

    Raises:
        GeometryError: If the rotations are unknown, too many copies or too few are asked for, or
            the encoder treats the axes unlike.
    """

    def __init__(
        self,
        encoder: Encoder,
        rotations: str = "axis10",
        copies: int = 4,
        temperature: float = 0.1,
        projection: int = 64,
    ) -> None:
        super().__init__(encoder)
        if rotations not in ROTATIONS:
            raise GeometryError(f"rotations are {rotations!r}; use one of {list(ROTATIONS)}")
        self.turns = cube_turns(is_about_axes=rotations == "axis10")
        if not 2 <= copies <= len(self.turns):
            raise GeometryError(
                f"{copies} copies do not fit {len(self.turns)} rotations; use 2 to"
                f" {len(self.turns)}"
            )
        if len(set(encoder.spec.divisor)) > 1:
            raise GeometryError(
                f"the encoder's stride {encoder.spec.divisor} is not the same along every axis, so"
                " the grid would tell a rotation; use ViTEncoder, SwinEncoder or ResidualEncoder"
                " with equal strides"
            )
        self.copies = copies
        self.temperature = temperature
        width = 2 * encoder.spec.channels[-1]
        self.features = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU())
        self.split = width // 2
        self.classify = nn.Linear(self.split, len(self.turns))
        self.identify = Projector(width - self.split, projection)
        self.figures = EmbeddingFigures(projection)

    def views(self, patch_size: Size) -> "CubicCrop":
        """Make the transform that crops a cube and draws its rotations.

        Args:
            patch_size: Voxels of a crop along each axis, equal.

        Returns:
            A transform of ``{"image": (C, X, Y, Z)}`` to ``image``, ``(C, N, N, N)``, and
            ``turns``, ``(copies,)``.

        Raises:
            GeometryError: If the crop is no cube.
        """
        depth, height, width = as_size(patch_size)
        if not depth == height == width:
            edge = max(depth, height, width)
            raise GeometryError(
                f"patch size {(depth, height, width)} is no cube, and would tell a rotation; use"
                f" {(edge, edge, edge)}"
            )
        self.encoder.require_divisible((depth, height, width))
        return CubicCrop(depth, len(self.turns), self.copies)

    def forward(self, batch: Mapping[str, Tensor], *, panels: bool = False) -> PretextResult:
        """Compute the three terms.

        Args:
            batch: ``image``, ``(B, C, N, N, N)``; ``turns``, ``(B, copies)``.
            panels: Whether to return each crop and its last rotated copy.

        Returns:
            The sum of the terms, in single precision; as monitors the share of rotations that were
            recognised, the similarity of the second half under rotation, and spread and rank of
            the vectors by which volumes are known.
        """
        image, turns = batch["image"], batch["turns"]
        copies = turn_copies(image, turns, self.turns)
        features = self.features(self.encoder.embed(copies.flatten(0, 1)))
        dependent, invariant = features[:, : self.split], features[:, self.split :]
        answers, vectors = self.classify(dependent), self.identify(invariant)
        with torch.autocast(image.device.type, enabled=False):
            wanted = turns.flatten()
            rotation = functional.cross_entropy(answers.float(), wanted)
            rows = invariant.float().view(len(image), self.copies, -1)
            known = functional.normalize(vectors.float(), dim=1).view(*rows.shape[:2], -1)
            terms = {
                "rotation": rotation,
                "invariance": share_within(rows),
                "instance": tell_apart(known, self.temperature),
            }
            monitors = {
                "rotation_accuracy": (answers.argmax(dim=1) == wanted).float().mean(),
                "rotated_similarity": cosine_of_copies(rows.detach()),
            }
            if len(image) > 1:
                monitors |= self.figures(known.mean(dim=1))
        pictures = {"upright": image[:, :1], "turned": copies[:, -1, :1]} if panels else {}
        parts = {name: term.detach() for name, term in terms.items()}
        return PretextResult(torch.stack(list(terms.values())).sum(), parts, monitors, pictures)

    def after_step(self, step: int, total: int) -> None:  # noqa: ARG002 - the contract's
        """Remember this step's vectors, for their rank.

        Args:
            step: Steps done.
            total: Steps in all.
        """
        self.figures.commit()


class CubicCrop(Randomizable):
    """Crop a cube without padding and draw rotations for it.

    Padding would tell how a crop was turned. Where a volume is thinner than the crop, the largest
    cube that fits is enlarged, alike along every axis.

    Args:
        edge: Voxels of the cube along each axis.
        num_turns: Rotations to draw from; 0 is the identity.
        copies: Rotations to draw, all different.
    """

    def __init__(self, edge: int, num_turns: int, copies: int) -> None:
        self.edge = edge
        self.num_turns = num_turns
        self.copies = copies

    def __call__(self, data: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Crop one case.

        Args:
            data: The case: ``image``, ``(C, X, Y, Z)``; other keys are left out.

        Returns:
            ``image``, ``(C, N, N, N)``, and ``turns``, ``(copies,)``.
        """
        image, _ = read_volume(data)
        edge = min(self.edge, *image.shape[1:])
        start, turns = self.sample((image.shape[1], image.shape[2], image.shape[3]), edge)
        cube = crop_padded(image, (edge, edge, edge), start)
        if edge != self.edge:
            cube = functional.interpolate(cube[None], (self.edge,) * 3, mode="trilinear")[0]
        return {"image": cube, "turns": torch.tensor(turns)}

    def sample(self, size: Size, edge: int) -> tuple[Size, list[int]]:
        """Draw the place of a cube and its rotations.

        Args:
            size: Voxels of the volume along each axis.
            edge: Voxels of the cube along each axis.

        Returns:
            First voxel along each axis, and numbers of rotations.
        """
        start = draw_start(self.R, size, (edge, edge, edge))
        return start, self.R.permutation(self.num_turns)[: self.copies].tolist()


def cube_turns(*, is_about_axes: bool) -> list[Turn]:
    """List rotations of a cube, the identity first.

    A rotation maps axes to axes and may flip some; it is one, and no mirroring, if the order of the
    axes and the flips are both even or both odd.

    Args:
        is_about_axes: Whether to keep only those that leave some axis and its direction as it is,
            10 of the 24.

    Returns:
        Rotations.
    """
    turns: list[Turn] = []
    for order in permutations(range(3)):
        moved = sum(place != axis for place, axis in enumerate(order))
        is_odd = moved == 2
        for flips in product((False, True), repeat=3):
            axes = tuple(axis for axis in range(3) if flips[axis])
            is_kept = any(order[a] == a and a not in axes for a in range(3))
            if len(axes) % 2 == is_odd and (is_kept or not is_about_axes):
                turns.append(((order[0], order[1], order[2]), axes))
    return turns


def turn_copies(image: Tensor, turns: Tensor, rotations: list[Turn]) -> Tensor:
    """Rotate cubes.

    Args:
        image: Cubes, ``(B, C, N, N, N)``.
        turns: Numbers of rotations, ``(B, K)``.
        rotations: What the numbers mean.

    Returns:
        Rotated copies, ``(B, K, C, N, N, N)``.
    """
    cases = []
    for cube, numbers in zip(image, turns.tolist(), strict=True):
        chosen = [rotations[number] for number in numbers]
        copies = [
            cube.permute(0, *(axis + 1 for axis in order)).flip([axis + 1 for axis in flips])
            for order, flips in chosen
        ]
        cases.append(torch.stack(copies))
    return torch.stack(cases)


def tell_apart(known: Tensor, temperature: float) -> Tensor:
    """Recognise each copy's volume among those of the batch.

    Args:
        known: Unit vectors, ``(B, K, C)``.
        temperature: Of the cosines.

    Returns:
        Mean cross-entropy of choosing the own volume, which is described by the mean of its other
        copies, a scalar; 0 for a batch of one.
    """
    count, copies, _ = known.shape
    total = known.sum(dim=1)
    centres = functional.normalize(total, dim=1)
    cosines = known @ centres.t()
    own = functional.normalize(total[:, None] - known, dim=2)
    itself = torch.eye(count, dtype=torch.bool, device=known.device)[:, None]
    cosines = torch.where(itself, (known * own).sum(dim=2, keepdim=True), cosines)
    wanted = torch.arange(count, device=known.device).repeat_interleave(copies)
    return functional.cross_entropy((cosines / temperature).flatten(0, 1), wanted)
