"""Self-distillation with masked volumes: fill in, and agree with a slow copy of oneself.

The task is SMIT's (Jiang et al. 2022, https://arxiv.org/abs/2205.10342): masked image prediction,
distillation of masked patch tokens, and distillation of the whole crop across two views. A teacher
sees whole crops, a student masked ones. We depart from it in that the teacher starts equal to the
student, never trains, and its momentum rises over the whole run; in that the level whose cells fit
into the mask's blocks is distilled, whatever the encoder; in that a crop is summarised by mean and
spread of its tokens; and in that no layer is frozen at first.
"""

from collections.abc import Mapping, Sequence

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from volseg.errors import GeometryError
from volseg.networks.encoder import Encoder, FeatureSpec
from volseg.pretext.collapse import effective_rank, feature_spread
from volseg.pretext.crops import MaskedCropPair
from volseg.pretext.heads import LinearHead
from volseg.pretext.projection import PrototypeHead
from volseg.pretext.reconstruction import (
    FULL,
    as_size,
    masked_error,
    masked_panels,
    require_crop,
    require_maskable,
)
from volseg.pretext.task import PretextResult, PretextTask
from volseg.pretext.teacher import Centre, Teacher, cosine_momentum, normalized_entropy
from volseg.transforms.masking import BlockMask
from volseg.types import Size

STUDENT_TEMPERATURE = 0.1
TEACHER_TEMPERATURES = (0.04, 0.07)
WARMUP = 0.06
"""Share of the steps in which the teacher's temperature rises: 30 of SMIT's 500 epochs."""


class SelfDistillation(PretextTask):
    """Predict hidden voxels, and what a teacher says of hidden tokens and of the neighbouring crop.

    Args:
        encoder: The network to train; it replaces hidden tokens or fills hidden voxels.
        block: Edge of a hidden block in voxels, one number or one an axis.
        ratio: Fraction of the blocks to hide.
        weights: Weights of image prediction, patch tokens and whole crop; a 0 leaves a term out.
            ``[0, 0, 1]`` is DINO (Caron et al. 2021) under masks.
        prototypes: Prototypes that tokens and crops are compared with.
        momentum: Share of itself that the teacher keeps at the first step; it rises to 1. Lower it
            for runs of less than a thousand steps.
        flip_axes: Axes that may be flipped.

    Raises:
        GeometryError: If the encoder has no token at a hidden place, the mask does not fit it, or
            the ratio or the weights make no task.
    """

    def __init__(
        self,
        encoder: Encoder,
        block: int | Sequence[int] = 16,
        ratio: float = 0.7,
        weights: Sequence[float] = (1.0, 0.1, 0.1),
        prototypes: int = 1024,
        momentum: float = 0.996,
        flip_axes: Sequence[int] = (),
    ) -> None:
        super().__init__(encoder)
        spec = encoder.spec
        self.block = as_size(block)
        if len(weights) != 3 or min(weights) < 0 or not sum(weights) or not 0 < ratio < 1:
            raise GeometryError(
                f"weights {list(weights)} with ratio {ratio} are no task; use three weights of 0 or"
                " more, not all 0, and a ratio between 0 and 1"
            )
        require_maskable(spec, self.block)
        self.level = find_level(spec, self.block)
        self.ratio, self.weights, self.momentum = ratio, tuple(weights), momentum
        self.flip_axes = tuple(flip_axes)
        self.image_head = LinearHead(spec)
        width = spec.channels[self.level]
        self.token_head = PrototypeHead(width, prototypes)
        self.crop_head = PrototypeHead(2 * width, prototypes)
        self.teacher = Teacher(self._student())
        self.token_centre, self.crop_centre = Centre(prototypes), Centre(prototypes)
        self.register_buffer("progress", torch.zeros(()))
        self.progress: Tensor

    def views(self, patch_size: Size) -> MaskedCropPair:
        """Make the transform that draws two neighbouring crops of a case and their masks.

        Args:
            patch_size: Voxels of a crop along each axis; what does not fit the encoder and the mask
                is refused.

        Returns:
            A transform of ``{"image": (C, X, Y, Z)}`` to two of each, ``image``, ``mask`` and
            ``valid``.
        """
        patch_size = as_size(patch_size)
        require_crop(self.encoder, patch_size, self.block, self.ratio)
        return MaskedCropPair(patch_size, self.block, self.ratio, self.flip_axes)

    def forward(self, batch: Mapping[str, Tensor], *, panels: bool = False) -> PretextResult:
        """Compute the three terms.

        Args:
            batch: ``image`` ``(B, 2, C, D, H, W)``, ``mask`` ``(B, 2, d, h, w)``, ``valid``
                ``(B, 2, 1, D, H, W)``.
            panels: Whether to return the clean, the masked and the reconstructed first view.

        Returns:
            The weighted sum, in single precision, with its terms; and as monitors spread and rank
            of the student's deepest features, spread of the teacher's tokens, and how undecided the
            teacher is.
        """
        # all first views, then all second ones
        image, grid, valid = (
            rearrange(batch[key], "b v ... -> (v b) ...") for key in ("image", "mask", "valid")
        )
        mask = BlockMask(grid, self.block)
        features = self.encoder(image, mask)
        with torch.no_grad():
            taught = self.teacher.network.get_submodule("encoder")(image)[self.level]
        prediction = self.image_head(features[-1])
        hidden = mask.to(FULL)[:, None]
        chosen = mask.to(self.encoder.spec.strides[self.level])
        with torch.autocast(image.device.type, enabled=False):
            error = masked_error(prediction.float(), image.float(), hidden & valid, "l1")
            token, seen = self._compare_tokens(features[self.level], taught, chosen)
            crop, judged = self._compare_crops(features[self.level], taught)
            terms = {"image": error, "token": token, "crop": crop}
            loss = torch.stack([w * t for w, t in zip(self.weights, terms.values(), strict=True)])
            vectors = rearrange(features[-1].detach(), "b c d h w -> (b d h w) c")
            monitors = {
                "feature_spread": feature_spread(vectors),
                "effective_rank": effective_rank(vectors),
                "token_spread": feature_spread(rearrange(taught, "b c d h w -> (b d h w) c")),
                "crop_teacher_entropy": normalized_entropy(judged),
                "masked_fraction": (hidden & valid).sum() / valid.sum().clamp(min=1),
                **seen,
            }
            half = len(image) // 2
            pictures = (
                masked_panels(image[:half].float(), hidden[:half], prediction[:half].float())
                if panels
                else {}
            )
        parts = {name: term.detach() for name, term in terms.items()}
        return PretextResult(loss.sum(), parts, monitors, pictures)

    def after_step(self, step: int, total: int) -> None:
        """Let the teacher follow, and move the centres.

        Args:
            step: Steps done.
            total: Steps in all.
        """
        self.teacher.follow(self._student(), cosine_momentum(self.momentum, (step - 1) / total))
        self.token_centre.commit()
        self.crop_centre.commit()
        self.progress.fill_(step / total)

    def _student(self) -> nn.ModuleDict:
        parts = {"encoder": self.encoder, "token": self.token_head, "crop": self.crop_head}
        return nn.ModuleDict(parts)

    def _compare_tokens(
        self, student: Tensor, teacher: Tensor, chosen: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare hidden tokens of the same view, and tell how the teacher answers."""
        said, answers = (rearrange(t, "b c d h w -> b d h w c")[chosen] for t in (student, teacher))
        if len(said) == 0:  # nothing is hidden in a batch of air
            return student.float().sum() * 0, {}
        wanted = self._teach("token", answers.float(), self.token_centre)
        figures = {
            "token_teacher_entropy": normalized_entropy(wanted),
            "token_prototype_entropy": normalized_entropy(wanted.mean(dim=0, keepdim=True)),
        }
        return cross_entropy(wanted, self.token_head(said.float())), figures

    def _compare_crops(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Compare each crop with what the teacher says of the other one."""
        wanted = self._teach("crop", summarise(teacher), self.crop_centre)
        said = self.crop_head(summarise(student))
        return cross_entropy(wanted.roll(len(wanted) // 2, dims=0), said), wanted

    @torch.no_grad()
    def _teach(self, head: str, vectors: Tensor, centre: Centre) -> Tensor:
        answers: Tensor = self.teacher.network.get_submodule(head)(vectors)
        centre.note(answers)
        first, last = TEACHER_TEMPERATURES
        temperature = first + (last - first) * (self.progress / WARMUP).clamp(max=1)
        return ((answers - centre.mean) / temperature).softmax(dim=1)


def find_level(spec: FeatureSpec, block: Size) -> int:
    """Find the deepest level whose cells are whole parts of a block.

    Args:
        spec: What the encoder gives.
        block: Voxels of a hidden block along each axis.

    Returns:
        Index of the level.

    Raises:
        GeometryError: If the encoder computes nothing at hidden places, or no level but the full
            resolution fits.
    """
    if spec.mask_mode == "drop":
        raise GeometryError(
            "the encoder drops hidden tokens, so there is none to distil; use SwinEncoder,"
            " ResidualEncoder, or ViTEncoder with mask_mode='replace'"
        )
    fitting = [
        level
        for level, stride in enumerate(spec.strides)
        if all(edge % step == 0 for edge, step in zip(block, stride, strict=True))
        and max(stride) > 1
    ]
    if not fitting:
        raise GeometryError(
            f"no level of the encoder fits into blocks of {block}: its strides are"
            f" {list(spec.strides)}; use a block that is a multiple of one of them"
        )
    return fitting[-1]


def summarise(tokens: Tensor) -> Tensor:
    """Describe each map by mean and spread of its channels, ``(B, C, d, h, w)`` to ``(B, 2 C)``."""
    flat = tokens.float().flatten(2)
    spread = (flat.var(dim=-1, correction=0) + 1e-6).sqrt()  # a root has no slope at 0
    return torch.cat([flat.mean(dim=-1), spread], dim=1)


def cross_entropy(wanted: Tensor, cosines: Tensor) -> Tensor:
    """Compare a student's cosines with a teacher's distribution.

    Args:
        wanted: Distributions, ``(N, K)``.
        cosines: Of the student with each prototype, ``(N, K)``.

    Returns:
        Mean cross-entropy, a scalar.
    """
    said = functional.log_softmax(cosines / STUDENT_TEMPERATURE, dim=1)
    return -(wanted * said).sum(dim=1).mean()
