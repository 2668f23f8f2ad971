"""Segment files, folders and data sets with a bundle."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, overload

from volseg import __version__
from volseg.bundle import Bundle
from volseg.data.channels import scanned
from volseg.data.listing.bids import bids_root
from volseg.errors import BundleError, DataError
from volseg.inference.computation import Computation, find_flip_axes
from volseg.inference.finishing import Look
from volseg.inference.folder import Summary, Terms
from volseg.inference.forecast import Forecasts, forecast
from volseg.inference.in_memory import is_in_memory, segment_images
from volseg.inference.manifest import append_line, hash_files, hash_settings
from volseg.inference.memory import Ceiling
from volseg.inference.outputs.bids import write_bids_description
from volseg.inference.overview import write_overview
from volseg.inference.results import LEFT_OUT, STATUSES
from volseg.inference.work_list import Selection, WorkList, find_work, require_writable
from volseg.workflows.crew import Loader, find_crew
from volseg.workflows.record import recording

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """How a batch is read, held and written.

    Args:
        channel_map: For each channel, the end of a file's name or a pattern, where names follow no
            habit.
        layout: ``auto``, or what folders are: ``folder``, ``decathlon``, ``nnunet`` or ``bids``.
        ending: How masks end: ``nii.gz``, ``seg.nrrd`` or ``dcm``.
        ceiling: How much memory may be used.
        resume: Whether to go on with an interrupted run: a mask that is done and still valid is
            left as it is.
        report: Whether to write ``report.html``.
        progress: Whether to show on stderr how far it is.
        precision: ``auto``, ``float32``, ``bfloat16`` or ``float16``, of products in the network.
        tta: ``none``, or ``flips``: windows are also looked at flipped, along the axes that the
            bundle declares safe.
        maps: What is written beside each mask: ``probabilities``, ``entropy``, ``variance``.
        cluster: Address of a Dask scheduler whose workers are to segment; `None`: this machine.
    """

    channel_map: Mapping[str, str] = field(default_factory=dict)
    layout: str = "auto"
    ending: str = "nii.gz"
    ceiling: Ceiling = field(default_factory=Ceiling)
    resume: bool = False
    report: bool = True
    progress: bool = False
    precision: str = "auto"
    tta: str = "none"
    maps: Sequence[str] = ()
    cluster: str | None = None

    def computation(self, config: Mapping[str, Any]) -> Computation:
        """Say how the network is applied.

        Args:
            config: The bundle's inference configuration.

        Returns:
            The precision, the axes of flips and the maps.
        """
        return Computation(self.precision, find_flip_axes(config, self.tta), tuple(self.maps))


@overload
def segment(
    inputs: str | Path | Sequence[str | Path],
    bundle: str | Path | Bundle,
    output: str | Path,
    overrides: Mapping[str, Any] | None = None,
    device: str = "auto",
    stage: str | None = None,
    *,
    batch: Batch | None = None,
    overwrite: bool = False,
) -> Summary: ...


@overload
def segment(
    inputs: Any,
    bundle: str | Path | Bundle,
    output: None = None,
    overrides: Mapping[str, Any] | None = None,
    device: str = "auto",
    stage: str | None = None,
    *,
    batch: Batch | None = None,
) -> Any: ...


def segment(
    inputs: Any,
    bundle: str | Path | Bundle,
    output: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    device: str = "auto",
    stage: str | None = None,
    *,
    batch: Batch | None = None,
    overwrite: bool = False,
) -> Any:
    """Segment files and folders, or images in memory, each on its own grid.

    Of files, beside the masks stand ``manifest.jsonl``, one line a case, ``volumes.csv``,
    ``volumes.json``, ``report.html`` and ``run.json``. Of images in memory nothing is written.

    Args:
        inputs: Files, folders, patterns, lists and data sets of NIfTI, NRRD, MetaImage and DICOM.
            Or an image in memory: a pair of voxels, ``(X, Y, Z)``, and affine; an image of nibabel
            or SimpleITK; a `MetaTensor`; several channels of one, by name; or a list of images.
        bundle: A segmentation bundle: its name, its folder, or what `Bundle.find` gave.
        output: Folder of the masks; it mirrors the tree of each input folder. `None` for images in
            memory.
        overrides: Values of the bundle's ``inference.json`` to change, by key.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``; several, with commas between
            them, for a process on each.
        stage: What is known of the patients, ``preop``, ``postop`` or ``auto``, for a bundle with a
            guard; `None`: what the bundle says.
        batch: How the batch is read, held and written.
        overwrite: Whether masks that are there already may be replaced.

    Returns:
        What became of each image; ``is_complete`` tells whether all have a mask. Of an image in
        memory, its label map as an image of the same kind; of a list, a list.

    Raises:
        DataError: If there is nothing to segment.
    """
    found, how = Bundle.find(bundle), batch or Batch()
    options = {**(overrides or {}), **_with_stage(found, stage)}
    if is_in_memory(inputs):
        if output is not None or how.maps:
            what = "maps" if output is None else output
            raise DataError(f"of images in memory no files are written ({what}); use a Predictor")
        config = found.raw_config("inference", options)
        computation = replace(how, maps=()).computation(config)
        predictor = Loader(found, options, how.ceiling, computation).load(device)
        return segment_images(
            inputs,
            predictor,
            scanned(config.get("channels", ())),
            optional_channels=config.get("optional_channels") is True,
        )
    if output is None:
        raise DataError("no folder for the masks; give an output")
    given = [inputs] if isinstance(inputs, (str, Path)) else inputs
    plan = _plan(found, given, Path(output), options, how)
    return _segment_files(plan, device, overwrite=overwrite)


def _segment_files(plan: "_Plan", device: str, *, overwrite: bool) -> Summary:
    """Carry out a plan."""
    found, folder, how = plan.bundle, plan.folder, plan.how
    work = plan.work(overwrite=overwrite)
    require_writable(folder)
    crew = find_crew(plan.loader(), device, how.cluster)
    with recording(folder, "segment", plan.settings(), [found.weights()], crew.place) as record:
        terms = Terms(
            run_hash=plan.hash(),
            look=Look(plan.config.get("usual_ml", {}), how.report),
            overwrite=overwrite,
            resume=how.resume,
            progress=how.progress,
        )
        for image in work.left_out:
            append_line(folder, image)
        summary = replace(crew.segment(work.jobs, folder, terms), left_out=work.left_out)
        facts = {"Bundle": found.name, "volseg": __version__, "Device": crew.name}
        write_overview(summary, found.classes(), folder, facts, with_report=how.report)
        if how.layout == "bids":
            write_bids_description(folder, bids_root(Path(plan.inputs[0])))
        counts = {status: summary.count(status) for status in STATUSES}
        counts[LEFT_OUT] = len(summary.left_out)
        record["results"] = {"complete": summary.is_complete, **counts}
    return summary


def forecast_segment(
    inputs: Sequence[str | Path],
    bundle: str | Path | Bundle,
    output: str | Path,
    overrides: Mapping[str, Any] | None = None,
    device: str = "auto",
    *,
    batch: Batch | None = None,
    overwrite: bool = False,
) -> Forecasts:
    """Say what `segment` would read, write and take; nothing is written.

    Args:
        inputs: As for `segment`.
        bundle: A segmentation bundle: its name, its folder, or what `Bundle.find` gave.
        output: Folder of the masks.
        overrides: Values of the bundle's ``inference.json`` to change, by key.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        batch: How the batch is read, held and written.
        overwrite: Whether masks that are there already may be replaced.

    Returns:
        One forecast a case; times and memory are guesses.
    """
    how, found = batch or Batch(), Bundle.find(bundle)
    plan = _plan(found, inputs, Path(output), overrides or {}, how)
    predictor = plan.loader().load(device.split(",", maxsplit=1)[0])
    return forecast(plan.work(overwrite=overwrite).jobs, predictor, plan.config.get("spacing"))


@dataclass(frozen=True)
class _Plan:
    """What a run will do, before anything is loaded."""

    bundle: Bundle
    inputs: Sequence[str | Path]
    folder: Path
    overrides: Mapping[str, Any]
    how: Batch
    config: Mapping[str, Any]

    def work(self, *, overwrite: bool) -> WorkList:
        """List the cases; a line of the log names each image that is none."""
        how = self.how
        channels = scanned(self.config.get("channels", ()))
        is_optional = self.config.get("optional_channels") is True
        selection = Selection(
            channels, how.channel_map, how.layout, how.ending, is_optional, how.maps
        )
        work = find_work(
            self.inputs, self.folder, selection, overwrite=overwrite, resume=how.resume
        )
        for image in work.left_out:
            logger.warning("left out: %s: %s", image.source, image.reason)
        return work

    def loader(self) -> Loader:
        """Give what loads the network."""
        computation = self.how.computation(self.config)
        return Loader(self.bundle, self.overrides, self.how.ceiling, computation)

    def settings(self) -> dict[str, Any]:
        """Say what the run was asked to do."""
        return {
            "inputs": [str(path) for path in self.inputs],
            "bundle": str(self.bundle.root),
            "config": self.config,
            "batch": vars(self.how),
        }

    def hash(self) -> str:
        """Hash all that decides on a mask, save the image."""
        weights = hash_files([self.bundle.weights()])
        how = self.how.computation(self.config)
        decisive = [weights, self.config, self.how.ending, how, __version__]
        return hash_settings({"decisive": decisive})


def _plan(
    bundle: Bundle,
    inputs: Sequence[str | Path],
    folder: Path,
    overrides: Mapping[str, Any],
    how: Batch,
) -> _Plan:
    if not inputs:
        raise DataError("nothing to segment; give files or folders")
    config = bundle.raw_config("inference", overrides)
    return _Plan(bundle, inputs, folder, overrides, how, config)


def _with_stage(bundle: Bundle, stage: str | None) -> dict[str, str]:
    """Say the stage as a value of the bundle's configuration."""
    if stage is None:
        return {}
    if "guard" not in bundle.raw_config("inference"):
        raise BundleError(
            f"bundle {bundle.name} has no guard, so a stage ({stage}) means nothing to it; leave"
            " the stage out"
        )
    return {"guard::stage": stage}
