"""Which ranks keep a network within a budget of parameters."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from volseg.errors import WeightsError
from volseg.networks.adaption import declared_adaptions
from volseg.networks.factorized.chain import KernelShape
from volseg.networks.factorized.layers import KINDS, Layer, shape_of, why_whole
from volseg.networks.factorized.method import Factorization, Ranks

SMALLEST = 1e-3
"""Share of a network's parameters below which a layer is left whole: there is nothing to save."""

HALVINGS = 40
"""Steps of the search for the common share; more than float precision needs."""


@dataclass(frozen=True)
class Plan:
    """What becomes of every layer of a network.

    Args:
        ranks: Ranks of each layer that is factorised, by its name.
        whole: Why each other layer stays as it is, by its name.
        before: Parameters of the network.
        after: Parameters of the factorised network.
    """

    ranks: Mapping[str, Ranks]
    whole: Mapping[str, str]
    before: int
    after: int


def plan(network: nn.Module, method: Factorization, budget: float) -> Plan:
    """Choose the ranks of every layer: each keeps the same share of its parameters.

    Args:
        network: The network.
        method: How layers are factorised.
        budget: Largest number of parameters, as a fraction of the network's.

    Returns:
        The plan; it never exceeds the budget.

    Raises:
        WeightsError: If the budget is no fraction, or not even ranks of 1 are within it.
    """
    if not 0 < budget < 1:
        raise WeightsError(
            f"budget is {budget:g}; give a fraction of the parameters, above 0 and below 1"
        )
    before = sum(parameter.numel() for parameter in network.parameters())
    layers, whole = _sort(network, before)
    shapes = {name: shape_of(layer) for name, layer in layers.items()}
    fixed = before - sum(shape.size for shape in shapes.values())
    search = _Search(method, shapes, fixed)
    least = search.total(search.steps(0))
    if least > budget * before:
        raise WeightsError(
            f"a budget of {budget:g} is {int(budget * before)} of {before} parameters, but"
            f" {method.name} leaves at least {least}; give {_rounded_up(least / before)} or more"
        )
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        fits = search.total(search.steps(middle)) <= budget * before
        low, high = (middle, high) if fits else (low, middle)
    steps = search.filled(search.steps(low), budget * before)
    ranks = {name: method.ranks(shapes[name], step) for name, step in steps.items()}
    unprofitable = [name for name in shapes if name not in ranks]
    whole |= dict.fromkeys(unprofitable, "ranks of 1 save nothing")
    return Plan(ranks, whole, before, search.total(steps))


class _Search:
    """The step of the ranks of every layer, and what they add up to."""

    def __init__(
        self, method: Factorization, shapes: Mapping[str, KernelShape], fixed: int
    ) -> None:
        self.method = method
        self.shapes = {name: shape for name, shape in shapes.items() if self._saves(shape, 1)}
        self.fixed = fixed + sum(
            shape.size for name, shape in shapes.items() if name not in self.shapes
        )

    def steps(self, share: float) -> dict[str, int]:
        """Give the steps at which each layer keeps a share of its parameters, or those of 1."""
        found = {
            shape: self.method.largest_step(shape, share * shape.size)
            for shape in set(self.shapes.values())
        }
        return {name: found[shape] for name, shape in self.shapes.items()}

    def total(self, steps: Mapping[str, int]) -> int:
        """Count the parameters of the whole network."""
        return self.fixed + sum(self._count(self.shapes[name], s) for name, s in steps.items())

    def filled(self, steps: Mapping[str, int], limit: float) -> dict[str, int]:
        """Raise one layer after another by a step, as long as any fits, the largest first."""
        raised = dict(steps)
        room = limit - self.total(steps)
        order = sorted(self.shapes, key=lambda name: -self.shapes[name].size)
        is_raised = True
        while is_raised:
            is_raised = False
            for name in order:
                shape, step = self.shapes[name], raised[name]
                if step == self.method.steps(shape) or not self._saves(shape, step + 1):
                    continue
                cost = self._count(shape, step + 1) - self._count(shape, step)
                if cost <= room:
                    raised[name], room, is_raised = step + 1, room - cost, True
        return raised

    def _saves(self, shape: KernelShape, step: int) -> bool:
        return self._count(shape, step) < shape.size

    def _count(self, shape: KernelShape, step: int) -> int:
        return self.method.count(shape, self.method.ranks(shape, step))


def _sort(network: nn.Module, total: int) -> tuple[dict[str, Layer], dict[str, str]]:
    """Tell the layers to be factorised from those that stay whole, with the reason."""
    reading = declared_adaptions(network)
    layers: dict[str, Layer] = {}
    whole: dict[str, str] = {}
    for name, module in network.named_modules():
        if type(module) not in KINDS or not isinstance(module, KINDS):
            continue
        reason = why_whole(module)
        if f"{name}.weight" in reading:
            reason = "it reads the image, and may be adapted to other channels"
        elif module.weight.numel() < SMALLEST * total:
            reason = "it is small"
        if reason:
            whole[name] = reason
        else:
            layers[name] = module
    return layers, whole


def _rounded_up(fraction: float) -> float:
    """Round up to three decimals, so that what is advised is enough."""
    return (int(fraction * 1000) + 1) / 1000
