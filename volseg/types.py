"""The two kinds of triple that volseg passes around."""

Size = tuple[int, int, int]
"""Voxels along each axis, ``(D, H, W)``."""

Spacing = tuple[float, float, float]
"""Millimetres along each axis, ``(D, H, W)``."""
