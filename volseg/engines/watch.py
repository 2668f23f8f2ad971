"""What watches over a pretraining, since its loss does not tell whether it goes well."""

from dataclasses import dataclass, field

from volseg.engines.few_shot import FewShotProbe
from volseg.pretext.collapse import CollapseGuard


@dataclass(frozen=True)
class Watch:
    """What watches over a pretraining.

    Args:
        guard: Warns or stops when features collapse.
        probe: Scores the encoder with a few labels, every ``val_interval`` epochs, and chooses the
            best weights; `None`: nobody does.
    """

    guard: CollapseGuard = field(default_factory=CollapseGuard)
    probe: FewShotProbe | None = None
