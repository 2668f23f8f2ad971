"""Learning-rate schedules: which parameters learn at which step, and how fast.

A schedule names groups of parameters and gives each a table of stages. The rate at a step is a pure
function of the table, the step and the total, so that a resumed run cannot be in another stage than
the uninterrupted one. The fine-tuning schedules are those that Wald et al. compare in OpenMind
(2024, https://arxiv.org/abs/2412.17041). In the published scheduler the warm-up of the whole
network ends at half the peak and then jumps; here it ends at the peak. `LayerDecay` follows BEiT
(Bao et al. 2021, https://arxiv.org/abs/2106.08254).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import cos, pi

from torch import nn

from volseg.networks.segmenter import Segmenter

POLY_POWER = 0.9
"""The exponent of DeepLab's and nnU-Net's polynomial decay."""


@dataclass(frozen=True)
class Stage:
    """A stretch of training with one formula for the learning rate.

    Args:
        until: Where it ends, as a fraction of all steps.
        shape: ``off`` (the group is frozen), ``rise`` (linear), ``poly`` or ``cosine`` (falling).
        first: Factor at the stage's first step; a rise starts one increment above it.
        last: Factor that a rise reaches at its last step, and that a fall approaches.
    """

    until: float
    shape: str
    first: float = 1.0
    last: float = 0.0


OFF = Stage(1.0, "off")


@dataclass(frozen=True)
class Group:
    """Parameters that share one learning rate.

    Args:
        name: What to call it in the log.
        parameters: Its parameters.
        stages: Its stages, in order; the last ends at 1.
    """

    name: str
    parameters: tuple[nn.Parameter, ...]
    stages: tuple[Stage, ...]


def lr_factor(stages: Sequence[Stage], step: int, total: int) -> float:
    """Give the factor on the peak learning rate.

    Args:
        stages: The stages, in order.
        step: Steps already done, from 0 to ``total - 1``.
        total: Steps in all.

    Returns:
        The factor; 0 where the group is frozen.

    Raises:
        ValueError: If the step lies outside the run or a shape is unknown.

    Examples:
        >>> table = (Stage(0.5, "rise", 0, 1), Stage(1.0, "cosine"))
        >>> [round(lr_factor(table, step, 8), 2) for step in range(8)]
        [0.25, 0.5, 0.75, 1.0, 1.0, 0.85, 0.5, 0.15]
    """
    begin = 0
    for stage in stages:
        end = round(stage.until * total)
        if 0 <= step < end:
            return _factor_within(stage, step - begin, end - begin)
        begin = end
    raise ValueError(f"step {step} lies outside the {total} steps that the stages cover")


def _factor_within(stage: Stage, place: int, length: int) -> float:
    span = stage.last - stage.first
    if stage.shape == "off":
        return 0.0
    if stage.shape == "rise":
        return stage.first + span * (place + 1) / length
    if stage.shape == "poly":
        return stage.last - span * float((1 - place / length) ** POLY_POWER)
    if stage.shape == "cosine":
        return stage.last - span * (1 + cos(pi * place / length)) / 2
    raise ValueError(f"stage shape {stage.shape!r} is unknown; use off, rise, poly or cosine")


class Schedule(ABC):
    """Splits a network's parameters into groups with stages."""

    @abstractmethod
    def groups(self, module: nn.Module) -> list[Group]:
        """Name every parameter once.

        Args:
            module: The network or pretext task to train.

        Returns:
            The groups.
        """


@dataclass(frozen=True)
class WarmupCosine(Schedule):
    """Linear warm-up of everything, then a cosine: the schedule of pretraining.

    Args:
        warmup: Fraction of the steps that warm up.
        floor: Factor that the cosine approaches.
    """

    warmup: float = 0.05
    floor: float = 0.01

    def groups(self, module: nn.Module) -> list[Group]:
        """Put every parameter into one group."""
        stages = (Stage(self.warmup, "rise", 0, 1), Stage(1.0, "cosine", 1, self.floor))
        return [Group("all", tuple(module.parameters()), stages)]


@dataclass(frozen=True)
class Scratch(Schedule):
    """Polynomial decay of everything; with ``warmup`` for transformers.

    Args:
        warmup: Fraction of the steps that warm up.
    """

    warmup: float = 0.0

    def groups(self, module: nn.Module) -> list[Group]:
        """Put every parameter into one group."""
        return [Group("all", tuple(module.parameters()), warmup_poly(self.warmup))]


@dataclass(frozen=True)
class Warmup(Scratch):
    """Linear warm-up, then polynomial decay: fine-tuning of transformers.

    Args:
        warmup: Fraction of the steps that warm up.
    """

    warmup: float = 0.05


@dataclass(frozen=True)
class Sawtooth(Schedule):
    """The decoder alone warms up and decays, then the whole network: fine-tuning of CNNs.

    Args:
        alone: Fraction of the steps in which the decoder trains alone, half of them warm-up.
        warmup: Fraction of the steps in which the whole network warms up.
        decoder_factor: Factor on the decoder's rate while alone; 0.01 to 0.1 for a ViT, whose
            training collapses otherwise.
        with_decoder: Prefixes of encoder parameters that train with the decoder from the start,
            such as an input projection that was inflated to more channels.
    """

    alone: float = 0.05
    warmup: float = 0.05
    decoder_factor: float = 1.0
    with_decoder: tuple[str, ...] = ()

    def groups(self, module: nn.Module) -> list[Group]:
        """Split the encoder from the rest."""
        encoder, rest = _split(module, self.with_decoder)
        whole = (
            Stage(self.alone + self.warmup, "rise", 0, 1),
            Stage(1.0, "poly"),
        )
        alone = (
            Stage(self.alone / 2, "rise", 0, self.decoder_factor),
            Stage(self.alone, "poly", self.decoder_factor, 0),
        )
        return [
            Group("encoder", encoder, (Stage(self.alone, "off"), *whole)),
            Group("decoder", rest, (*alone, *whole)),
        ]


@dataclass(frozen=True)
class Frozen(Schedule):
    """The encoder never learns: a probe of its features, not a way to the best segmenter.

    Args:
        warmup: Fraction of the steps in which the decoder warms up.
    """

    warmup: float = 0.05

    def groups(self, module: nn.Module) -> list[Group]:
        """Split the encoder from the rest."""
        encoder, rest = _split(module, ())
        return [
            Group("encoder", encoder, (OFF,)),
            Group("decoder", rest, warmup_poly(self.warmup)),
        ]


@dataclass(frozen=True)
class LayerDecay(Schedule):
    """The deeper below the output, the slower: layer-wise decay, for ViT.

    Args:
        decay: Factor from one layer group to the one below.
        warmup: Fraction of the steps that warm up.
    """

    decay: float = 0.75
    warmup: float = 0.05

    def groups(self, module: nn.Module) -> list[Group]:
        """Make one group a layer, input side first."""
        layers = _layers(module)
        groups = []
        for index, parameters in enumerate(layers):
            peak = self.decay ** (len(layers) - 1 - index)
            groups.append(
                Group(f"layer {index}", tuple(parameters), warmup_poly(self.warmup, peak))
            )
        return groups


def warmup_poly(warmup: float, peak: float = 1.0) -> tuple[Stage, ...]:
    """Make the stages of a linear warm-up and a polynomial decay to zero.

    Args:
        warmup: Fraction of the steps that warm up.
        peak: Factor at the peak.

    Returns:
        The two stages; an empty warm-up covers no step.
    """
    return (Stage(warmup, "rise", 0, peak), Stage(1.0, "poly", peak, 0))


def _layers(module: nn.Module) -> list[list[nn.Parameter]]:
    if not isinstance(module, Segmenter):
        raise TypeError(f"layer-wise decay needs a Segmenter, not {type(module).__name__}")
    return module.layer_groups()


def _split(
    module: nn.Module, with_decoder: Iterable[str]
) -> tuple[tuple[nn.Parameter, ...], tuple[nn.Parameter, ...]]:
    joining = tuple(with_decoder)
    encoder: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        is_encoder = name.startswith("encoder.")
        joins = name.removeprefix("encoder.").startswith(joining) if joining else False
        (encoder if is_encoder and not joins else rest).append(parameter)
    return tuple(encoder), tuple(rest)
