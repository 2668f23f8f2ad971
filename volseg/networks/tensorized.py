"""Tensorised networks: any network with its convolutions and linear layers in factors.

``{"_target_": "volseg.networks.tensorized.tucker", "network": {...}, "budget": 0.3}`` is a network
like any other: `tucker`, `cp` and `tensor_train` take the place of its large layers at a budget of
parameters, with random weights. `decompose` does the same to a trained network and keeps what it
computes, as near as the budget allows; the result has the shapes of the one built from the config.

The parameters fall to the budget, and the operations with them. Time does not follow by itself: a
chain of thin layers reads and writes more memory than one thick layer, see ``docs/howto/compress``.
"""

from dataclasses import dataclass

from torch import nn

from volseg.networks.factorized.budget import Plan, plan
from volseg.networks.factorized.chain import compose, relative_error
from volseg.networks.factorized.cp import CP
from volseg.networks.factorized.layers import KINDS, build_chain, kernel_of, set_factors, shape_of
from volseg.networks.factorized.method import Factorization
from volseg.networks.factorized.tensor_train import TensorTrain
from volseg.networks.factorized.tucker import Tucker


@dataclass(frozen=True)
class Decomposition:
    """What was done to a trained network.

    Args:
        plan: Ranks, and layers that stay whole.
        errors: Distance of each factorised kernel from the trained one, as a fraction of its norm,
            by the layer's name.
    """

    plan: Plan
    errors: dict[str, float]


def cp(network: nn.Module, budget: float) -> nn.Module:
    """Factorise a network's large layers by CP: 1x1x1, an axis at a time, 1x1x1.

    Args:
        network: The network; it is changed.
        budget: Largest number of parameters, as a fraction of its own.

    Returns:
        The same network, its factors random.

    Examples:
        >>> from volseg.networks.residual import tiny
        >>> dense, small = tiny(), cp(tiny(), budget=0.25)
        >>> sizes = [sum(p.numel() for p in net.parameters()) for net in (dense, small)]
        >>> 0.24 < sizes[1] / sizes[0] <= 0.25
        True
    """
    return factorize(network, CP(), budget)


def tucker(network: nn.Module, budget: float) -> nn.Module:
    """Factorise a network's large layers by Tucker: 1x1x1, fewer channels, 1x1x1.

    Args:
        network: The network; it is changed.
        budget: Largest number of parameters, as a fraction of its own.

    Returns:
        The same network, its factors random.
    """
    return factorize(network, Tucker(), budget)


def tensor_train(network: nn.Module, budget: float) -> nn.Module:
    """Factorise a network's large layers as tensor trains: 1x1x1, an axis at a time, 1x1x1.

    Args:
        network: The network; it is changed.
        budget: Largest number of parameters, as a fraction of its own.

    Returns:
        The same network, its factors random.
    """
    return factorize(network, TensorTrain(), budget)


def factorize(network: nn.Module, method: Factorization, budget: float) -> nn.Module:
    """Factorise a network's large layers.

    Args:
        network: The network; it is changed.
        method: How.
        budget: Largest number of parameters, as a fraction of its own; one that is no fraction, or
            not enough for ranks of 1, is refused as a `WeightsError`.

    Returns:
        The same network, its factors random.
    """
    for name, ranks in plan(network, method, budget).ranks.items():
        layer = network.get_submodule(name)
        if isinstance(layer, KINDS):
            network.set_submodule(name, build_chain(layer, method.chain(shape_of(layer), ranks)))
    return network


def decompose(network: nn.Module, method: Factorization, budget: float) -> Decomposition:
    """Factorise a trained network's large layers, and come as near to them as the ranks allow.

    Args:
        network: The network; it is changed.
        method: How.
        budget: Largest number of parameters, as a fraction of its own; one that is no fraction, or
            not enough for ranks of 1, is refused as a `WeightsError`.

    Returns:
        What was done.
    """
    made, errors = plan(network, method, budget), {}
    for name, ranks in made.ranks.items():
        layer = network.get_submodule(name)
        if not isinstance(layer, KINDS):
            continue
        chain, kernel = method.chain(shape_of(layer), ranks), kernel_of(layer)
        factors = method.decompose(kernel, ranks)
        built = build_chain(layer, chain)
        set_factors(built, factors)
        errors[name] = relative_error(kernel, compose(chain, factors))
        network.set_submodule(name, built)
    return Decomposition(made, errors)
