"""Simplex noise in three dimensions, octaves of it, as the simulator resector shapes its cavities.

After K. Perlin, "Improving noise", 2002 (https://doi.org/10.1145/566654.566636), whose table of
permutations it uses, and S. Gustavson, "Simplex noise demystified", 2005. volseg's own shapes come
from `volseg.transforms.resection.noise`; this noise is there to compare with resector.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PERMUTATION = np.array(
    [
        151, 160, 137, 91, 90, 15, 131, 13, 201, 95, 96, 53, 194, 233, 7, 225, 140, 36, 103, 30,
        69, 142, 8, 99, 37, 240, 21, 10, 23, 190, 6, 148, 247, 120, 234, 75, 0, 26, 197, 62, 94,
        252, 219, 203, 117, 35, 11, 32, 57, 177, 33, 88, 237, 149, 56, 87, 174, 20, 125, 136, 171,
        168, 68, 175, 74, 165, 71, 134, 139, 48, 27, 166, 77, 146, 158, 231, 83, 111, 229, 122, 60,
        211, 133, 230, 220, 105, 92, 41, 55, 46, 245, 40, 244, 102, 143, 54, 65, 25, 63, 161, 1,
        216, 80, 73, 209, 76, 132, 187, 208, 89, 18, 169, 200, 196, 135, 130, 116, 188, 159, 86,
        164, 100, 109, 198, 173, 186, 3, 64, 52, 217, 226, 250, 124, 123, 5, 202, 38, 147, 118,
        126, 255, 82, 85, 212, 207, 206, 59, 227, 47, 16, 58, 17, 182, 189, 28, 42, 223, 183, 170,
        213, 119, 248, 152, 2, 44, 154, 163, 70, 221, 153, 101, 155, 167, 43, 172, 9, 129, 22, 39,
        253, 19, 98, 108, 110, 79, 113, 224, 232, 178, 185, 112, 104, 218, 246, 97, 228, 251, 34,
        242, 193, 238, 210, 144, 12, 191, 179, 162, 241, 81, 51, 145, 235, 249, 14, 239, 107, 49,
        192, 214, 31, 181, 199, 106, 157, 184, 84, 204, 176, 115, 121, 50, 45, 127, 4, 150, 254,
        138, 236, 205, 93, 222, 114, 67, 29, 24, 72, 243, 141, 128, 195, 78, 66, 215, 61, 156, 180,
    ]
)  # fmt: skip

GRADIENTS = np.array(
    [
        (1, 1, 0), (-1, 1, 0), (1, -1, 0), (-1, -1, 0), (1, 0, 1), (-1, 0, 1),
        (1, 0, -1), (-1, 0, -1), (0, 1, 1), (0, -1, 1), (0, 1, -1), (0, -1, -1),
    ],
    dtype=np.float64,
)  # fmt: skip
"""To the middles of a cube's edges."""

SCALE = 32.0
"""Brings the noise to about -1 to 1."""

REACH = 0.6
"""Squared distance at which a node of the lattice has faded."""


def simplex_noise(points: Floats, octaves: int = 4) -> Floats:
    """Evaluate octaves of simplex noise, each of half the width and half the amplitude.

    Args:
        points: Positions, ``(N, 3)``; the first octave has nodes about 1 apart.
        octaves: Number of octaves.

    Returns:
        Noise from -1 to 1, ``(N,)``.
    """
    amplitudes = 0.5 ** np.arange(octaves)
    total = np.zeros(len(points))
    for octave, amplitude in enumerate(amplitudes):
        total += amplitude * _octave(points * 2**octave)
    result: Floats = total / amplitudes.sum()
    return result


def _octave(points: Floats) -> Floats:
    """One octave: the sum over the four corners of the simplex that holds a point."""
    cell = np.floor(points + _sum(points)[:, None] / 3)
    from_cell = points - cell + _sum(cell)[:, None] / 6
    rank = _rank(from_cell)
    total = np.zeros(len(points))
    for corner in range(4):
        step = rank < corner
        away = from_cell - step + corner / 6
        weight = np.square(np.square(np.maximum(REACH - np.einsum("ij,ij->i", away, away), 0)))
        node = (cell + step).astype(np.int64)
        total += weight * np.einsum("ij,ij->i", _gradients(node), away)
    return SCALE * total


def _sum(points: Floats) -> Floats:
    """Sum of each row of three; numpy's own is slow on rows so short."""
    total: Floats = points[:, 0] + points[:, 1] + points[:, 2]
    return total


def _rank(values: Floats) -> NDArray[np.int64]:
    """Place of each value in its row of three, 0 for the largest; the first of two equals wins."""
    first, second, third = values.T
    by_first, by_second, far = first >= second, second >= third, first >= third
    ranks = [2 - by_first - 1 * far, 1 + by_first - 1 * by_second, 1 * far + by_second]
    return np.stack(ranks, axis=1)


def _gradients(nodes: NDArray[np.int64]) -> Floats:
    """Gradient of each node of the lattice, ``(N, 3)``."""
    chosen = np.zeros(len(nodes), dtype=np.int64)
    for axis in (2, 1, 0):
        chosen = PERMUTATION[(nodes[:, axis] + chosen) & 255]
    gradients: Floats = GRADIENTS[chosen % len(GRADIENTS)]
    return gradients
