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
        self, data: Mapping[Hashable, Any], *args: Any, **kwargs: Any
    ) -> dict[Hashable, Any]:
        """Resample one case.

        Args:
            data: The case.
            *args: As for `Spacingd`.
            **kwargs: As for `Spacingd`.

        Returns:
            The case, resampled.
        """
        own = {key: data[key] for key in self.key_iterator(dict(data))}
        return {**data, **super().__call__(own, *args, **kwargs)}
