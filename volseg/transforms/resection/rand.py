"""`RandResectiond`: draw a resection and simulate it on every image of a case.

After F. Pérez-García et al., "A self-supervised learning strategy for postoperative brain cavity
segmentation simulating resections", IJCARS 2021 (https://doi.org/10.1007/s11548-021-02420-2), from
which geometry, contents and contrasts depart; see `volseg.transforms.resection`.

What was drawn is a `Cavity`, which is written into the metadata and can be replayed from there.
"""

import logging
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Self

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform, RandomizableTransform
from monai.utils import TraceKeys, convert_to_dst_type
from torch import Tensor

from volseg.errors import DataError
from volseg.transforms.anatomy.maps import Anatomy
from volseg.transforms.resection.cavity import Cavity
from volseg.transforms.resection.contrast import CONTRASTS
from volseg.transforms.resection.naming import guess_contrast
from volseg.transforms.resection.prior import Prior
from volseg.transforms.resection.record import RECORD, make_record, read_record
from volseg.transforms.resection.resect import Resected, resect
from volseg.transforms.resection.sample import sample_cavity
from volseg.transforms.resection.source import Source, as_plain, require_grid
from volseg.transforms.resection.tumour import mark_tumour

logger = logging.getLogger(__name__)

LAYERS = ("cavity", "clot", "air", "gliosis", "collection", "extradural", "subgaleal")
"""Masks that can be asked for."""

Contrasts = str | Mapping[Hashable, str | Sequence[str]]


class RandResectiond(RandomizableTransform, MapTransform, InvertibleTransform):
    """Simulate a resection on the images of one patient: one cavity, each with its own contrast.

    Every case gets a mask of the cavity, empty if nothing was taken out, and in the metadata of
    mask and images a record ``resection``: ``is_ok``, ``mode``, ``stage``, ``side``,
    ``volume_ml``, and as text ``cavity``, everything that was drawn; `from_params` replays it.
    A draw that fails leaves the images as they are and says ``is_ok: false``; it raises nothing.
    A case whose maps do not fit its images is refused. Images of a floating type keep it; whole
    numbers become float32. On images without metadata a voxel is taken to be a cube of 1 mm.

    Args:
        keys: Images on one grid, ``(C, D, H, W)`` each.
        contrasts: One of `CONTRASTS` for each key, or one for each of its channels; ``auto``
            guesses from the keys' names.
        source: Keys of what is known of the anatomy.
        prior: What is drawn how often, or the values of a `Prior` that differ from its defaults.
        prob: Probability of a draw at all; the prior's own modes hold scans without a cavity.
        out_key: Key of the mask, ``(1, D, H, W)``, uint8; or the keys of ``cavity`` and of any of
            the layers ``clot``, ``air``, ``gliosis``, ``collection``, ``extradural`` and
            ``subgaleal``, by name.
        keep_patch: Whether the metadata keep what was painted over, so that `inverse` restores
            each image bit for bit.
        allow_missing_keys: Whether a case may lack some of the images.

    A contrast or a layer that is not known is refused as a `DataError`.
    """

    def __init__(
        self,
        keys: KeysCollection,
        contrasts: Contrasts = "auto",
        source: Source | None = None,
        prior: Prior | Mapping[str, Any] | None = None,
        prob: float = 1.0,
        out_key: Hashable | Mapping[str, Hashable] = "cavity",
        *,
        keep_patch: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        _require_known("contrast", _names_of(contrasts), (*CONTRASTS, "auto"))
        self.contrasts = contrasts
        self.source = source or Source()
        self.prior = prior if isinstance(prior, Prior) else Prior(**(prior or {}))
        self.outputs = dict(out_key) if isinstance(out_key, Mapping) else {"cavity": out_key}
        _require_known("layer", self.outputs, LAYERS)
        self.keep_patch = keep_patch
        self.cavity = Cavity()
        self.recorded: Cavity | None = None

    @classmethod
    def from_params(cls, params: Mapping[str, Any], *args: Any, **kwargs: Any) -> Self:
        """Make a transform that repeats one recorded resection.

        Args:
            params: A record, as found in the metadata or in a file of ``volseg resect``.
            *args: As for the class.
            **kwargs: As for the class.

        Returns:
            The transform.
        """
        made = cls(*args, **kwargs)
        made.recorded = read_record(params)
        return made

    def randomize(self, data: tuple[Anatomy, Tensor | None]) -> None:
        """Draw a resection, or take the recorded one.

        Args:
            data: The anatomy, and the tumour if there is one.
        """
        super().randomize(None)
        if self.recorded is not None:
            self._do_transform, self.cavity = True, self.recorded
        elif self._do_transform:
            anatomy, tumour = data
            self.cavity = sample_cavity(anatomy, self.R, self.prior, tumour)
        else:
            self.cavity = Cavity()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Operate on one case.

        Args:
            data: The case.

        Returns:
            The case with its images resected and the mask added.

        Raises:
            DataError: If the case has none of the images.
        """
        result = dict(data)
        keys = list(self.key_iterator(result))
        if not keys:
            raise DataError(f"the case has none of the images {list(self.keys)}")
        for key in keys[1:]:
            require_grid(result[key], result[keys[0]], f"{key!r} and {keys[0]!r}")
        anatomy = self.source.find(result, keys[0])
        tumour = self.source.find_tumour(result, keys[0])
        if tumour is not None:
            anatomy = mark_tumour(anatomy, tumour)
        self.randomize((anatomy, tumour))
        images = {key: _as_floating(as_plain(result[key])) for key in keys}
        contrasts = [name for key in keys for name in self._contrasts_of(key, images[key])]
        done = self._operate(torch.cat(list(images.values())), anatomy, contrasts)
        record = make_record(self.cavity, float(done.mask.sum()) * anatomy.voxel_ml)
        self._write_images(result, done, images, record)
        self._write_masks(result, done, keys[0], record)
        self._push(result, keys, data, done)
        return result

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Restore what was painted over, if it was kept, and drop the masks.

        Args:
            data: A case that this transform has made.

        Returns:
            The case; its images are as before, bit for bit, if ``keep_patch`` was set (integers as
            far as float32 holds them, to 2 ** 24).
        """
        result = dict(data)
        for key in self.key_iterator(result):
            if isinstance(result[key], MetaTensor):
                kept = self.pop_transform(result[key])[TraceKeys.EXTRA_INFO]
                result[key] = _restore(result[key], kept)
        for key in self.outputs.values():
            result.pop(key, None)
        return result

    def _operate(self, image: Tensor, anatomy: Anatomy, contrasts: Sequence[str]) -> Resected:
        """Resect; whatever goes wrong with one draw, the case is used as it is."""
        try:
            done = resect(image, anatomy, self.cavity, contrasts)
            if bool(done.mask.any()) or not self.cavity.solids:
                return done
        except Exception:
            logger.warning("a resection could not be simulated and is left out", exc_info=True)
        self.cavity = Cavity(is_ok=False)
        return Resected(image, torch.zeros((1, *image.shape[1:]), dtype=torch.uint8))

    def _contrasts_of(self, key: Hashable, image: Tensor) -> list[str]:
        """Give the contrast of each channel of a key."""
        if isinstance(self.contrasts, str) and self.contrasts == "auto":
            return [guess_contrast(str(key), channel) for channel in image]
        if isinstance(self.contrasts, str):
            return [self.contrasts] * len(image)
        if key not in self.contrasts:
            raise DataError(f"contrasts name no contrast of {key!r}; they have {[*self.contrasts]}")
        given = self.contrasts[key]
        if not isinstance(given, str) and len(given) != len(image):
            raise DataError(f"{key!r} has {len(image)} channels and contrasts name {len(given)}")
        return [given] * len(image) if isinstance(given, str) else list(given)

    def _write_images(
        self,
        result: dict[Hashable, Any],
        done: Resected,
        images: Mapping[Hashable, Tensor],
        record: Mapping[str, Any],
    ) -> None:
        pieces = torch.split(done.image, [len(image) for image in images.values()])
        for (key, image), piece in zip(images.items(), pieces, strict=True):
            own = piece.clone() if len(images) > 1 else piece  # a view would carry all of them
            result[key] = _like(own.to(image.dtype), result[key], record)

    def _write_masks(
        self,
        result: dict[Hashable, Any],
        done: Resected,
        image: Hashable,
        record: Mapping[str, Any],
    ) -> None:
        for name, key in self.outputs.items():
            mask = done.mask if name == "cavity" else _whole_layer(done, name)
            result[key] = _like(mask, result[image], record)

    def _push(
        self,
        result: dict[Hashable, Any],
        keys: Sequence[Hashable],
        before: Mapping[Hashable, Any],
        done: Resected,
    ) -> None:
        """Note in the metadata how to undo it."""
        for key in keys:
            if isinstance(result[key], MetaTensor):
                patch = _cut(before[key], done) if self.keep_patch else None
                kept = {"patch": patch, "box": done.box, "dtype": before[key].dtype}
                pushed = self.push_transform(result[key], extra_info=kept)  # type: ignore[no-untyped-call] # MONAI
                result[key] = pushed


def _names_of(contrasts: Contrasts) -> list[str]:
    if isinstance(contrasts, str):
        return [contrasts]
    return [
        name
        for given in contrasts.values()
        for name in ([given] if isinstance(given, str) else given)
    ]


def _require_known(what: str, names: Iterable[str], known: Sequence[str]) -> None:
    if unknown := [name for name in names if name not in known]:
        raise DataError(f"{what} {unknown[0]!r} is not known; use one of {', '.join(known)}")


def _as_floating(image: Tensor) -> Tensor:
    return image if image.is_floating_point() else image.float()


def _like(values: Tensor, source: Any, record: Mapping[str, Any]) -> Any:
    """Give values the device and the metadata of their source, with the record."""
    if not isinstance(source, MetaTensor):
        return values.to(source.device) if isinstance(source, Tensor) else values
    image, *_ = convert_to_dst_type(values, source, dtype=values.dtype)
    image.meta[RECORD] = dict(record)
    return image


def _whole_layer(done: Resected, name: str) -> Tensor:
    """Bring a layer from its box to the image's grid."""
    whole = torch.zeros_like(done.mask)
    if done.box is not None and name in done.layers:
        (z, y, x), (deep, high, wide) = done.box
        whole[0, z:deep, y:high, x:wide] = done.layers[name].to(torch.uint8)
    return whole


def _cut(image: Tensor, done: Resected) -> Tensor:
    (z, y, x), (deep, high, wide) = done.box or ((0, 0, 0), (0, 0, 0))
    return image.as_subclass(Tensor)[:, z:deep, y:high, x:wide].clone()


def _restore(image: MetaTensor, kept: Mapping[str, Any]) -> Tensor:
    image.meta.pop(RECORD, None)
    if kept["patch"] is None:
        return image
    whole = image.to(kept["dtype"], copy=True)
    (z, y, x), (deep, high, wide) = kept["box"] or ((0, 0, 0), (0, 0, 0))
    whole[:, z:deep, y:high, x:wide] = kept["patch"].to(image.device)
    return whole
