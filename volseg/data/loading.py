"""Loading image and label together, with errors that name the file."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.transforms import Compose, MapTransform

from volseg.data.volumes import require_same_grid
from volseg.errors import VolsegError, find_cause


class Pipeline(Compose):
    """A `Compose` that lets an error of volseg through as it is.

    MONAI wraps whatever a transform raises into a `RuntimeError` that names the transform and not
    the file.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Transform one case.

        Args:
            *args: As for `Compose`.
            **kwargs: As for `Compose`.

        Returns:
            The transformed case.

        Raises:
            RuntimeError: Whatever else went wrong.
            cause: What volseg refused.
        """
        try:
            return super().__call__(*args, **kwargs)
        except RuntimeError as error:
            cause = find_cause(error)
            if isinstance(cause, VolsegError):
                raise cause from error
            raise


class RequireSameGridd(MapTransform):
    """Refuses a case whose label does not lie on the image's grid.

    Args:
        image: Key of the image.
        label: Key of the label.
    """

    def __init__(self, image: Hashable, label: Hashable) -> None:
        super().__init__([image, label])
        self.image = image
        self.label = label

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Check one case.

        Args:
            data: The case.

        Returns:
            The case as it was.
        """
        grids = [
            (
                str(data[key].meta.get("filename_or_obj", key)),
                tuple(data[key].shape[1:]),
                np.asarray(data[key].affine),
            )
            for key in (self.image, self.label)
        ]
        require_same_grid(*grids)
        return dict(data)
