"""`RandTumord`: draw a tumour and simulate it on every image of a case.

What was drawn is a `Tumour`, which is written into the metadata and can be replayed from there.
"""

import logging
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Self

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, RandomizableTransform
from monai.utils import convert_to_dst_type
from torch import Tensor

from volseg.errors import DataError
from volseg.transforms.anatomy.maps import Anatomy
from volseg.transforms.resection.naming import guess_contrast
from volseg.transforms.resection.source import Source, affine_of, as_plain, require_grid
from volseg.transforms.tumour.body import anatomy_from_region, estimate_body
from volseg.transforms.tumour.grow import Grown, grow
from volseg.transforms.tumour.prior import TumourPrior
from volseg.transforms.tumour.record import RECORD, make_record, read_record
from volseg.transforms.tumour.sample import sample_tumour
from volseg.transforms.tumour.tumour import Part, Tumour

logger = logging.getLogger(__name__)

Contrasts = str | Mapping[Hashable, str | Sequence[str]]


class RandTumord(RandomizableTransform, MapTransform):
    """Simulate a tumour on the images of one patient: one tumour, each with its own contrast.

    Every case gets a label with the values of `Part`, empty if nothing has grown, and in the
    metadata of label and images a record ``simulated_tumour``: ``is_ok``, ``kind``, ``side``,
    ``volume_ml``, and as text ``tumour``, everything that was drawn; `from_params` replays it.
    A draw that fails leaves the images as they are and says ``is_ok: false``; it raises nothing.
    A case whose maps do not fit its images is refused. Images of a floating type keep it; whole
    numbers become float32. On images without metadata a voxel is taken to be a cube of 1 mm.

    A prior whose only kinds are ``mass`` and ``none`` asks for no brain: the mass grows in the
    region of the case, or in what is brighter than air on its first image.

    Args:
        keys: Images on one grid, ``(C, D, H, W)`` each.
        contrasts: One of `CONTRASTS` for each key, or one for each of its channels; ``auto``
            guesses from the keys' names.
        source: Keys of what is known of the anatomy of a head.
        prior: What is drawn how often, or the values of a `TumourPrior` that differ from its
            defaults.
        prob: Probability of a draw at all; the prior's own kinds hold scans without a tumour.
        out_key: Key of the label, ``(1, D, H, W)``, uint8.
        region_key: Key of the mask of an organ or of muscle, ``(1, D, H, W)``, in which a mass
            grows.
        allow_missing_keys: Whether a case may lack some of the images.
    """

    def __init__(
        self,
        keys: KeysCollection,
        contrasts: Contrasts = "auto",
        source: Source | None = None,
        prior: TumourPrior | Mapping[str, Any] | None = None,
        prob: float = 1.0,
        out_key: Hashable = "label",
        region_key: Hashable = "region",
        *,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.contrasts = contrasts
        self.source = source or Source()
        self.prior = prior if isinstance(prior, TumourPrior) else TumourPrior(**(prior or {}))
        self.out_key = out_key
        self.region_key = region_key
        self.tumour = Tumour()
        self.recorded: Tumour | None = None

    @classmethod
    def from_params(cls, params: Mapping[str, Any], *args: Any, **kwargs: Any) -> Self:
        """Make a transform that repeats one recorded tumour.

        Args:
            params: A record, as found in the metadata.
            *args: As for the class.
            **kwargs: As for the class.

        Returns:
            The transform.
        """
        made = cls(*args, **kwargs)
        made.recorded = read_record(params)
        return made

    def randomize(self, data: Anatomy) -> None:
        """Draw a tumour, or take the recorded one.

        Args:
            data: The maps of head or body.
        """
        super().randomize(None)
        if self.recorded is not None:
            self._do_transform, self.tumour = True, self.recorded
        elif self._do_transform:
            self.tumour = sample_tumour(data, self.R, self.prior)
        else:
            self.tumour = Tumour()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Grow a tumour in one case.

        Args:
            data: The case.

        Returns:
            The case with its images changed and the label added.

        Raises:
            DataError: If the case has none of the images.
        """
        result = dict(data)
        keys = list(self.key_iterator(result))
        if not keys:
            raise DataError(f"the case has none of the images {list(self.keys)}")
        for key in keys[1:]:
            require_grid(result[key], result[keys[0]], f"{key!r} and {keys[0]!r}")
        anatomy = self._find_anatomy(result, keys[0])
        self.randomize(anatomy)
        images = {key: _as_floating(as_plain(result[key])) for key in keys}
        contrasts = [name for key in keys for name in self._contrasts_of(key, images[key])]
        done = self._grow(torch.cat(list(images.values())), anatomy, contrasts)
        core = (done.label > 0) & (done.label != int(Part.OEDEMA))
        record = make_record(self.tumour, float(core.sum()) * anatomy.voxel_ml)
        pieces = torch.split(done.image, [len(image) for image in images.values()])
        for (key, image), piece in zip(images.items(), pieces, strict=True):
            own = piece.clone() if len(images) > 1 else piece  # a view would carry all of them
            result[key] = _like(own.to(image.dtype), data[key], record)
        result[self.out_key] = _like(done.label, data[keys[0]], record)
        return result

    def _find_anatomy(self, data: Mapping[Hashable, Any], key: Hashable) -> Anatomy:
        """Give the maps of the head, or of the part of the body that is seen."""
        kind = self.prior.kinds if self.recorded is None else {self.recorded.kind: 1.0}
        if not set(kind) <= {"mass", "none"} or set(kind) == {"none"}:
            return self.source.find(data, key)
        affine = affine_of(data[key])
        if self.region_key not in data:
            return anatomy_from_region(estimate_body(as_plain(data[key])[0], affine), affine)
        require_grid(data[self.region_key], data[key], f"{self.region_key!r} and {key!r}")
        return anatomy_from_region(as_plain(data[self.region_key])[0] > 0.5, affine)

    def _grow(self, image: Tensor, anatomy: Anatomy, contrasts: Sequence[str]) -> Grown:
        """Grow it; whatever goes wrong with one draw, the case is used as it is."""
        try:
            return grow(image, anatomy, self.tumour, contrasts)
        except Exception:
            logger.warning("a tumour could not be simulated and is left out", exc_info=True)
            self.tumour = Tumour(is_ok=False)
            return Grown(image, torch.zeros((1, *image.shape[1:]), dtype=torch.uint8))

    def _contrasts_of(self, key: Hashable, image: Tensor) -> list[str]:
        """Give the contrast of each channel of a key."""
        if isinstance(self.contrasts, str) and self.contrasts == "auto":
            return [guess_contrast(str(key), channel) for channel in image]
        if isinstance(self.contrasts, str):
            return [self.contrasts] * len(image)
        if key not in self.contrasts:
            raise DataError(f"contrasts name no contrast of {key!r}; they have {[*self.contrasts]}")
        given = self.contrasts[key]
        return [given] * len(image) if isinstance(given, str) else list(given)


def _as_floating(image: Tensor) -> Tensor:
    return image if image.is_floating_point() else image.float()


def _like(values: Tensor, source: Any, record: Mapping[str, Any]) -> Any:
    """Give values the device and the metadata of their source, with the record."""
    if not isinstance(source, MetaTensor):
        return values.to(source.device) if isinstance(source, Tensor) else values
    image, *_ = convert_to_dst_type(values, source, dtype=values.dtype)
    image.meta[RECORD] = dict(record)
    return image
