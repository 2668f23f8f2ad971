"""Write the vector of each volume beside the others'."""

import json
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.transforms import MapTransform

from volseg.errors import DataError


class SaveEmbeddingd(MapTransform):
    """Appends each case's vector to ``embeddings.jsonl``, one line a case.

    A line holds ``image``, the file that was embedded, and ``embedding``, its vector.

    Args:
        keys: Keys of the vectors, ``(F,)`` each.
        output_dir: Folder of the file; made when the first vector is written.
        image: Key of the volume that was embedded; its metadata names the file.
    """

    def __init__(
        self, keys: Sequence[Hashable] | Hashable, output_dir: str | Path, image: str = "image"
    ) -> None:
        super().__init__(keys)
        self.path = Path(output_dir) / "embeddings.jsonl"
        self.image = image

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write the vectors of one case.

        Args:
            data: The case.

        Returns:
            The case as it was.

        Raises:
            DataError: If the disk refuses.
        """
        source = getattr(data[self.image], "meta", {}).get("filename_or_obj", "")
        for key in self.key_iterator(dict(data)):
            line = json.dumps({"image": str(source), "embedding": data[key].tolist()})
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(f"{line}\n")
            except OSError as error:
                raise DataError(f"cannot write {self.path}: {error}") from error
        return dict(data)
