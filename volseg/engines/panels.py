"""Pictures of a training step as PNG: one row a volume, one column a picture."""

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from volseg.networks.storage import write_atomically

MAXIMUM_ROWS = 4
GAP = 2
"""Black pixels between pictures."""


def save_panels(path: Path, panels: Mapping[str, Tensor]) -> None:
    """Draw the middle axial slice of each volume in each picture.

    The grey scale of a row is that of its first picture, from its 1st to its 99th percentile, so
    that a reconstruction is compared with the original and not with itself.

    Args:
        path: The PNG file.
        panels: Pictures by name, ``(B, 1, D, H, W)`` each.
    """
    columns = [_slices(volume) for volume in panels.values()]
    rows = []
    for pictures in zip(*columns, strict=True):
        low, high = torch.quantile(pictures[0].flatten(), torch.tensor([0.01, 0.99]))
        span = (high - low).clamp_min(1e-6)
        rows.append(torch.cat([_frame((p - low) / span) for p in pictures], dim=1))
    write_png(path, torch.cat(rows, dim=0))


def _slices(volume: Tensor) -> Tensor:
    middle = volume.shape[-1] // 2
    return volume[:MAXIMUM_ROWS, 0, :, :, middle].detach().float().cpu()


def _frame(picture: Tensor) -> Tensor:
    # RAS voxels: anterior up, the subject's right on the left
    upright = picture.T.flip(0)
    return functional.pad(upright, (0, GAP, 0, GAP))


def write_png(path: Path, picture: Tensor) -> None:
    """Write a grey picture.

    Args:
        path: The PNG file.
        picture: Values from 0 (black) to 1 (white), ``(H, W)``; others are clipped.
    """
    pixels = (picture.clamp(0, 1) * 255).round().to(torch.uint8)
    height, width = pixels.shape
    scanlines = b"".join(b"\0" + bytes(row.tolist()) for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        (_chunk(b"IHDR", header), _chunk(b"IDAT", zlib.compress(scanlines)), _chunk(b"IEND", b""))
    )
    write_atomically(path, content)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
