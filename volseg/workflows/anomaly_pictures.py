"""What the page of an anomaly evaluation shows and says."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from volseg.inference.anomaly import Anomaly
from volseg.inference.gallery.planes import draw_planes
from volseg.inference.gallery.scan import find_focus, turn_upright
from volseg.inference.gallery.window import find_window
from volseg.workflows.pages import Shot, write_strip

PIXELS, BYTES = 280, 60_000
"""Of the longest edge of a slice, and most of a case's slices."""

LESION = {1: "#f2d13d"}

TABLE = (
    "Voxels of each case ranked within its foreground; no threshold is chosen. Means over cases"
    " with 95 % intervals. The last three maps need no training; the gain is against the best of"
    " them, which was chosen on these cases."
)

DIFFERENCES = (
    "Features against voxels of each model, and the first model against each other one, with 95 %"
    " intervals over runs and patients. With one run a model they say nothing of further trainings."
)


def draw_case(name: str, found: Anomaly, maps: Mapping[str, Any], lesion: Any, affine: Any) -> str:
    """Draw the slice through the lesion, and each map there.

    Args:
        name: The case.
        found: What a model has found; its image is shown.
        maps: The maps, by name, ``(X, Y, Z)``.
        lesion: The lesion, outlined on the image, on the same grid.
        affine: Voxel index to mm.

    Returns:
        HTML.
    """
    shots = []
    for caption, chart in {"image": found.intensities, **maps}.items():
        scan = turn_upright(np.where(found.foreground, chart, 0), lesion, affine)
        focus = find_focus(scan)
        window = find_window(scan, focus)
        plane = draw_planes(scan, focus, window, LESION, PIXELS, BYTES)[0]
        shots.append(Shot(caption, plane.image, plane.mask if caption == "image" else b""))
    return write_strip(name, shots)
