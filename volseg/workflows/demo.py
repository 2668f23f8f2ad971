"""The whole path on a real MRI in minutes: pretrain, fine-tune twice, segment, report."""

import logging
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from volseg.errors import DataError, VolsegError
from volseg.workflows.demo_report import dice_table, write_page
from volseg.workflows.demo_settings import DemoSettings
from volseg.workflows.page import Section, Table

if TYPE_CHECKING:
    from volseg.workflows.demo_training import Finetuning, Pretraining

logger = logging.getLogger(__name__)

PRETRAINED, SCRATCH = "pretrained", "from scratch"
FOLDERS = ("data", "pretraining", "pretrained", "from_scratch", "masks")


@dataclass(frozen=True)
class DemoResult:
    """What the demo found.

    Args:
        page: The page that shows everything.
        scores: Dice on the back by class by arm.
        pretraining_losses: Mean loss of each epoch of pretraining.
        seconds: Time of each part.
    """

    page: Path
    scores: Mapping[str, Mapping[str, float]]
    pretraining_losses: list[float]
    seconds: Mapping[str, float]

    def to_json(self) -> dict[str, object]:
        """Give plain values.

        Returns:
            What can be written as JSON.
        """
        return {
            "page": str(self.page),
            "dice": {arm: dict(dice) for arm, dice in self.scores.items()},
            "pretraining_losses": self.pretraining_losses,
            "seconds": dict(self.seconds),
        }

    def __str__(self) -> str:
        """Write the Dice table and where to look."""
        first, last = self.pretraining_losses[0], self.pretraining_losses[-1]
        return (
            f"pretraining loss {first:.3f} -> {last:.3f}\n\n"
            f"{dice_table(self.scores).to_text()}\n\n"
            f"One template, not evidence. {sum(self.seconds.values()):.0f} s. Open {self.page}"
        )


@dataclass
class Clock:
    """Takes the time of each part.

    Args:
        seconds: Seconds by part.
    """

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Announce a part and take its time.

        Args:
            name: What is done.

        Yields:
            Nothing.
        """
        logger.info("%s", name)
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 1)


def demo(
    output: str | Path, settings: DemoSettings | None = None, *, overwrite: bool = False
) -> DemoResult:
    """Pretrain, fine-tune twice, segment, and report, on the template that nilearn ships.

    Args:
        output: Folder of everything that is written; ``index.html`` in it shows it.
        settings: How long and on what; `None` takes minutes on two cores.
        overwrite: Whether the output of an earlier demo may be replaced.

    Returns:
        The Dice of both arms, and where the page is.
    """
    output, clock, settings = Path(output), Clock(), settings or DemoSettings()
    _require_extras()
    _make_room(output, overwrite=overwrite)
    with clock.part("loading PyTorch and MONAI"):
        from volseg.engines.distributed import device
        from volseg.workflows.record import recording

        place = device(settings.device)
    with recording(output, "demo", asdict(settings), device=place) as record:
        result = _run(output, settings, clock)
        record["results"] = result.to_json()
    return result


def _run(output: Path, settings: DemoSettings, clock: Clock) -> DemoResult:
    from volseg.workflows import demo_data, demo_segmentation, demo_training

    with clock.part("unpacking the template"):
        data = demo_data.write_data(output / "data")
    with clock.part("pretraining, no labels"):
        pretraining = demo_training.pretrain_encoder(data, output / "pretraining", settings)
    arms = {}
    for arm, weights in ((PRETRAINED, pretraining.weights), (SCRATCH, None)):
        with clock.part(f"fine-tuning, {arm}"):
            folder = output / arm.replace(" ", "_")
            arms[arm] = demo_training.finetune_segmenter(data, folder, settings, weights)
    with clock.part("segmenting the template with both"):
        networks = {arm: result.network for arm, result in arms.items()}
        masks = demo_segmentation.segment_volume(data, networks, output / "masks", settings)
    with clock.part("comparing and drawing"):
        scores = demo_segmentation.score_back(data, masks)
        demo_segmentation.draw_masks(output / "overlay.png", data, masks)
        _draw_training(output, pretraining, arms, settings)
    result = DemoResult(output / "index.html", scores, pretraining.losses, clock.seconds)
    write_page(result.page, _sections(result, arms[PRETRAINED]))
    return result


def _require_extras() -> None:
    missing = [name for name in ("matplotlib", "nilearn") if find_spec(name) is None]
    if missing:
        raise VolsegError(
            f"the demo needs {' and '.join(missing)}; install them: pip install 'volseg[demo]'"
        )


def _make_room(output: Path, *, overwrite: bool) -> None:
    if output.is_dir() and any(output.iterdir()):
        if not overwrite:
            raise DataError(f"{output} is not empty; choose another folder or add --overwrite")
        for name in FOLDERS:
            shutil.rmtree(output / name, ignore_errors=True)
    output.mkdir(parents=True, exist_ok=True)


def _draw_training(
    output: Path,
    pretraining: "Pretraining",
    arms: Mapping[str, "Finetuning"],
    settings: DemoSettings,
) -> None:
    from volseg.workflows import demo_pictures

    losses = {arm: result.losses for arm, result in arms.items()}
    steps = settings.epoch_length
    demo_pictures.draw_curves(output / "curves.png", pretraining.losses, losses, steps)
    demo_pictures.draw_panels(output / "reconstruction.png", pretraining.panels)


def _sections(result: DemoResult, pretrained: "Finetuning") -> list[Section]:
    page = result.page.parent
    losses = result.pretraining_losses
    times = [[part, f"{seconds:.1f} s"] for part, seconds in result.seconds.items()]
    return [
        Section(
            "Result",
            "Dice on the back of the head, which no training crop showed, at 1 mm. The two arms"
            " differ only in where the weights of encoder and decoder started. One template, one"
            " seed: this shows that the path works, and is not evidence about any method.",
            table=dice_table(result.scores),
        ),
        Section(
            "Masks",
            picture=page / "overlay.png",
            caption="Grey matter orange, white matter blue. Trained in front of the dashed line,"
            " tested behind it.",
        ),
        Section(
            "Training",
            f"Loss of pretraining: {losses[0]:.3f} in the first epoch, {losses[-1]:.3f} in the"
            f" last. Loaded before fine-tuning: {pretrained.receipt}",
            picture=page / "curves.png",
            caption="Mean loss of each epoch.",
        ),
        Section(
            "Filling in hidden blocks",
            picture=page / "reconstruction.png",
            caption="A crop, what the network saw of it, and what it made of that.",
        ),
        Section("Time", table=Table(["Part", "Time"], times)),
    ]
