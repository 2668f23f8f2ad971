"""The record of a resection, as it stands in the metadata of images and in files."""

import json
from collections.abc import Mapping
from typing import Any

from volseg.errors import DataError
from volseg.transforms.anatomy.maps import Side
from volseg.transforms.resection.cavity import Cavity

RECORD = "resection"
"""Key of the metadata under which a resection is recorded."""


def make_record(cavity: Cavity, volume_ml: float) -> dict[str, Any]:
    """Describe a resection by plain values whose keys are the same for every resection.

    What was drawn is one text, so that records of different cases form a batch.

    Args:
        cavity: What was drawn.
        volume_ml: Volume of the mask, in mL.

    Returns:
        The record.
    """
    return {
        "is_ok": cavity.is_ok,
        "mode": cavity.mode,
        "stage": cavity.stage,
        "side": Side(cavity.side if cavity.solids or cavity.flap else 0).name.lower(),
        "volume_ml": round(volume_ml, 4),
        "cavity": json.dumps(cavity.to_json()),
    }


def read_record(params: Mapping[str, Any]) -> Cavity:
    """Read back what was drawn.

    Args:
        params: What `make_record` gave, also after a way through a JSON file; ``cavity`` may be
            text or plain values.

    Returns:
        The cavity.

    Raises:
        DataError: If it holds none.
    """
    drawn = params.get("cavity")
    if drawn is None:
        raise DataError(f"no record of a resection: it has {sorted(params)} and lacks 'cavity'")
    return Cavity.from_json(json.loads(drawn) if isinstance(drawn, str) else drawn)
