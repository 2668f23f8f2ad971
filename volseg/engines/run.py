"""A training run as a MONAI handler: it resumes, logs, draws, saves."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from ignite.engine import Engine, Events
from tqdm import tqdm

from volseg.engines import distributed
from volseg.engines.checkpoint import load_state, require_equal, save_state
from volseg.engines.forecast import forecast
from volseg.engines.learner import Learner
from volseg.engines.log import EpochMeans, MetricsFile
from volseg.engines.loop import Batches, Loop
from volseg.engines.panels import save_panels
from volseg.errors import VolsegError
from volseg.pretext.collapse import CollapseGuard

logger = logging.getLogger(__name__)

Save = Callable[[str, int], None]
"""Saves the module's weights under a name (``last`` or ``best``) after a number of steps."""


class Run:
    """Everything that a trainer does beside learning.

    Args:
        learner: What learns.
        batches: Where the batches come from.
        loop: Where, on what and from which seed it runs.
        settings: What a resumed run must have in common with this one.
        save: Writes the weights; the module holds the averaged ones meanwhile, if there are.
        evaluator: Validates the network; its key metric chooses the best weights.
        guard: Judges the monitors after every epoch; `None`: nobody does.
    """

    def __init__(
        self,
        learner: Learner,
        batches: Batches,
        loop: Loop,
        settings: Mapping[str, Any],
        save: Save,
        evaluator: Any = None,
        guard: CollapseGuard | None = None,
    ) -> None:
        self.guard = guard
        self.learner = learner
        self.batches = batches
        self.loop = loop
        self.settings = dict(settings)
        self.save = save
        self.evaluator = evaluator
        self.means = EpochMeans()
        self.metrics = MetricsFile(loop.train_dir / "metrics.jsonl")
        self.state_path = loop.train_dir / "resume.pt"
        self.best = {"metric": float("-inf"), "epoch": 0}
        self.bar: tqdm[Any] | None = None
        self.started = 0.0

    def attach(self, engine: Engine) -> None:
        """Listen to a trainer.

        Args:
            engine: The trainer.
        """
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.EPOCH_STARTED, self.start_epoch)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.complete_epoch)
        engine.add_event_handler(Events.COMPLETED | Events.EXCEPTION_RAISED, self.close)

    def start(self, engine: Engine) -> None:
        """Resume, or begin with an empty log.

        Args:
            engine: The trainer.
        """
        self.learner.begin()
        if self.loop.resume and self.state_path.exists():
            self._restore(engine)
        elif self.loop.resume:
            logger.info("%s is not there: starting at step 0", self.state_path)
        self.batches.start_step = self.learner.step
        if distributed.is_main() and self.learner.step < self.learner.total:
            logger.info("plan: %s", forecast(self.learner, self.batches))
        self.learner.join()
        if distributed.is_main():
            self.metrics.truncate(self.learner.step)
            self._draw_bar()

    def _restore(self, engine: Engine) -> None:
        state = load_state(self.state_path)
        require_equal(self.state_path, state["settings"], self.settings)
        self.learner.load_state_dict(state["learner"])
        self.best = state["best"]
        engine.state.iteration = self.learner.step
        engine.state.epoch = state["epoch"]
        logger.info("resuming %s at step %d", self.state_path, self.learner.step)

    def _draw_bar(self) -> None:
        self.bar = tqdm(
            total=self.learner.total,
            initial=self.learner.step,
            unit="step",
            disable=not self.loop.progress,
        )

    def start_epoch(self, engine: Engine) -> None:  # noqa: ARG002 - ignite passes it
        """Start the clock.

        Args:
            engine: The trainer.
        """
        self.started = time.perf_counter()

    def step(self, engine: Engine, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Do one step: the trainer's ``iteration_update``.

        Args:
            engine: The trainer.
            batch: The step's batch.

        Returns:
            ``loss``.
        """
        is_last = engine.state.iteration % self.loop.epoch_length == 0
        result = self.learner.learn(batch, panels=is_last)
        self.means.add(result)
        if result.panels and distributed.is_main():
            name = f"panels/step_{self.learner.step:07d}.png"
            save_panels(self.loop.train_dir / name, result.panels)
        if self.bar is not None:
            self.bar.update()
        return {"loss": result.loss}

    def complete_epoch(self, engine: Engine) -> None:
        """Validate, log, save the weights, and last of all the state to resume from.

        Args:
            engine: The trainer.
        """
        record = {
            "epoch": engine.state.epoch,
            "step": self.learner.step,
            **self.means.take(),
            "lr": self.learner.rates(self.learner.step - 1),
        }
        with self.learner.averaged():
            validation = self._validate(engine)
            is_best = self._is_best(engine.state.epoch, validation)
            if distributed.is_main():
                self.save("last", self.learner.step)
                if is_best:
                    self.save("best", self.learner.step)
        record["validation"] = validation
        record["seconds"] = round(time.perf_counter() - self.started, 3)
        if distributed.is_main():
            self.metrics.append(record)
            self._save_state(engine.state.epoch)
            self._show(record)
        self._judge(record)

    def _judge(self, record: Mapping[str, Any]) -> None:
        """Warn of a collapse or stop; every process has the same means and does the same."""
        found = [] if self.guard is None else self.guard.complaints(record["monitors"])
        if self.guard is None or not found:
            return
        message = (
            f"the features have collapsed by step {record['step']}: {'; '.join(found)}; use"
            " another seed, a lower learning rate, larger batches, or another objective or task"
        )
        if self.guard.action == "stop":
            raise VolsegError(message)
        logger.warning("%s", message)

    def _save_state(self, epoch: int) -> None:
        state = {
            "settings": self.settings,
            "learner": self.learner.state_dict(),
            "best": self.best,
            "epoch": epoch,
        }
        save_state(self.state_path, state)

    def _show(self, record: Mapping[str, Any]) -> None:
        shown = {"loss": f"{record['loss']:.4f}", **_percent(record["validation"])}
        logger.info("epoch %d, step %d: %s", record["epoch"], record["step"], shown)
        if self.bar is not None:
            self.bar.set_postfix(shown)

    def _validate(self, engine: Engine) -> dict[str, float]:
        is_due = engine.state.epoch % self.loop.val_interval == 0
        if self.evaluator is None or not (is_due or engine.state.epoch == engine.state.max_epochs):
            return {}
        self.evaluator.run(engine.state.epoch)
        return {name: float(value) for name, value in self.evaluator.state.metrics.items()}

    def _is_best(self, epoch: int, validation: Mapping[str, float]) -> bool:
        if not validation:
            return False
        metric = validation[self.evaluator.state.key_metric_name]
        if not metric > self.best["metric"]:
            return False
        self.best = {"metric": metric, "epoch": epoch}
        return True

    def close(self, engine: Engine, error: BaseException | None = None) -> None:  # noqa: ARG002
        """Leave the other processes, close the bar, and let an error pass.

        Args:
            engine: The trainer.
            error: What ended the run, if anything did.

        Raises:
            error: What ended the run.
        """
        self.learner.part()
        if error is None:
            distributed.wait()  # a next run must not read what the main process still writes
        if self.bar is not None:
            self.bar.close()
        if error is not None:
            raise error


def _percent(validation: Mapping[str, float]) -> dict[str, str]:
    return {name: f"{100 * value:.1f}" for name, value in validation.items()}
