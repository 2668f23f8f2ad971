"""Resampling to a spacing that leaves every other item of a case alone."""

from collections.abc import Hashable, Mapping
from typing import Any

from monai.transforms import Spacingd


class IsolatedSpacingd(Spacingd):
    """MONAI's `Spacingd` on its own keys only.

    From MONAI 1.6 on, `Spacingd` for ``image`` also updates every item whose key starts with
    ``image_``, and fails on the string ``image_path`` that MONAI Label adds to each request. Here
    the other items never reach it.
    """

    def __call__(
        self, data: Mapping[Hashable, Any], lazy: bool | None = None
    ) -> dict[Hashable, Any]:  # noqa: FBT001 - MONAI's signature
        """Resample one case.

        Args:
            data: The case.
            lazy: Whether to note the resampling and do it later; `None`: as constructed.

        Returns:
            The case, resampled.
        """
        own = {key: data[key] for key in self.key_iterator(dict(data))}
        return {**data, **super().__call__(own, lazy=lazy)}
