"""Independent sources of noise from the one seed of a resection."""

import numpy as np
import torch

PLACES, GLIOSIS, FIELDS, FLAP, TEXTURE = range(5)
"""What each stream is for."""


def open_stream(seed: int, *stream: int) -> torch.Generator:
    """Open a source of noise.

    Neighbouring seeds share nothing, as they would if seed and stream were added.

    Args:
        seed: Of the resection, at least 0.
        *stream: What it is for, and further numbers that tell it from others, as of a channel.

    Returns:
        A generator on the CPU, the same for the same numbers.
    """
    state = np.random.SeedSequence((seed, *stream)).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 31 | int(state[1]) >> 1)
