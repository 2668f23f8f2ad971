"""The images of one input, whatever it is."""

import glob
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from volseg.data.listing import lists
from volseg.data.listing.bids import (
    DATATYPES,
    DESCRIPTION,
    bids_images,
    bids_root,
    is_derivative,
)
from volseg.data.listing.dataset_json import (
    IMAGE_FOLDERS,
    decathlon_images,
    layout_of,
    nnunet_images,
)
from volseg.data.listing.folders import given_image, has_dicom, images_in, is_image
from volseg.data.listing.naming import Naming
from volseg.data.listing.scan_case import FoundImage
from volseg.data.listing.walk import Tree, walk
from volseg.errors import DataError

logger = logging.getLogger(__name__)

LAYOUTS = ("auto", "folder", "decathlon", "nnunet", "bids")
"""How a folder may be understood; ``auto`` looks for the descriptions of data sets."""

HINT = ".nii, .nii.gz, .nrrd, .nhdr, .mha, .mhd"


@dataclass(frozen=True)
class Finder:
    """Finds the images of inputs.

    Args:
        channels: What a network takes, in its order.
        layout: How folders are understood.
        naming: Reads case and channel from names.
    """

    channels: Sequence[str]
    layout: str
    naming: Naming

    def find(self, given: Path) -> list[FoundImage]:
        """Find the images of one input.

        Args:
            given: A file, folder, list, ``dataset.json`` or pattern.

        Returns:
            The images.

        Raises:
            DataError: If it does not exist or holds no image.
        """
        if given.is_dir():
            found = self._in_folder(given, given)
            if not found:
                raise DataError(f"{given} holds {self._wanted_in(given)}")
            return found
        if not given.exists() and glob.has_magic(str(given)):
            return self._fitting(given)
        if not given.exists() and not given.is_symlink():
            raise DataError(f"{given} does not exist")
        if given.suffix.lower() in lists.ENDINGS:
            return lists.listed_images(given, self.channels, self.naming)
        if given.suffix.lower() == ".json":
            return self._described(given)[0]
        return [given_image(given, self.naming)]

    def _in_folder(self, folder: Path, base: Path) -> list[FoundImage]:
        """Find the images of a folder, which is searched unless it is a data set."""
        description = self._description_of(folder)
        if description is None:
            tree = walk(folder, enter_datasets=self.layout == "folder")
            found = images_in(tree, folder, base, self.naming)
            for dataset in tree.datasets:
                is_result = is_derivative(dataset)
                below = [] if is_result else self._in_folder(dataset, base)
                if not below:
                    kind = "holds results" if is_result else f"holds {self._wanted_in(dataset)}"
                    logger.warning("left out %s, which %s", dataset, kind)
                found += below
            return found
        found, root = self._described(description, folder)
        if root == base or not root.is_relative_to(base):
            return found
        return [_below(image, root.relative_to(base).as_posix()) for image in found]

    def _wanted_in(self, folder: Path) -> str:
        """Say what a folder lacks."""
        description = self._description_of(folder)
        if description is not None and description.name == DESCRIPTION:
            return f"no image under sub-*/[ses-*/]{{{','.join(DATATYPES)}}}, as BIDS has them"
        return f"no image ({HINT}) and no DICOM series"

    def _description_of(self, folder: Path) -> Path | None:
        """Give the file that describes a folder as a data set, or as a part of one."""
        if self.layout == "folder":
            return None
        root = bids_root(folder)
        if self.layout == "bids" or (self.layout == "auto" and (root / DESCRIPTION).is_file()):
            return root / DESCRIPTION
        own, above = folder / "dataset.json", folder.parent / "dataset.json"
        if self.layout == "decathlon" or own.is_file():
            return own
        is_part = folder.name in IMAGE_FOLDERS and above.is_file()
        if self.layout == "nnunet":
            return above if is_part else own
        return above if is_part and layout_of(above) == "nnunet" else None

    def _described(self, path: Path, folder: Path | None = None) -> tuple[list[FoundImage], Path]:
        """Find the images of a data set, or of a folder in it; say what names are relative to."""
        root, part = path.parent, None if folder in (None, path.parent) else folder
        if path.name == DESCRIPTION:
            return bids_images(root, self.naming, part), root
        layout = self.layout if self.layout in ("decathlon", "nnunet") else layout_of(path)
        if layout == "decathlon":
            return decathlon_images(path), root
        if part is None:
            return nnunet_images(path, self.naming), root
        return nnunet_images(path, self.naming, (part.name,), part), part

    def _fitting(self, pattern: Path) -> list[FoundImage]:
        """Find the images that fit a pattern; their names are relative to its fixed part."""
        base = next(path for path in pattern.parents if not glob.has_magic(str(path)))
        texts = glob.glob(str(pattern), recursive=True)  # noqa: PTH207 - it skips hidden files
        paths = sorted(map(Path, texts))
        known = {path for path in paths if path.is_dir()}  # what lies in them is found there
        paths = [path for path in paths if known.isdisjoint(path.parents)]
        folders, files = [p for p in paths if p in known], [p for p in paths if p not in known]
        images = [path for path in files if is_image(path)]
        found = images_in(Tree(images), base, base, self.naming)
        for folder in folders:
            below = self._in_folder(folder, base)
            if not below:
                logger.warning("left out %s, which holds %s", folder, self._wanted_in(folder))
            found += below
        if not found:
            hint = "; give the folders of DICOM series" if has_dicom(files) else f" ({HINT})"
            raise DataError(f"{pattern} fits no image{hint}")
        return found


def _below(image: FoundImage, folder: str) -> FoundImage:
    """Put a folder before the names of an image."""
    source = replace(image.source, name=f"{folder}/{image.source.name}")
    return replace(image, source=source, case=f"{folder}/{image.case}")
