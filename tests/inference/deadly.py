"""A predictor that kills its own process, as the system does when memory runs out."""

import os
import signal
import time
from pathlib import Path

from tests.inference.threshold import CLASSES, threshold_predictor
from volseg.inference.predictor import Predictor


class Deadly(Predictor):
    """A predictor that kills its process with SIGKILL.

    It does so whenever it segments an image whose name is in ``always``, and the first time that it
    segments one whose name is in ``once``. A line in ``log`` says who has begun what. No case ends
    before ``crowd`` processes have begun one, and one whose name is in ``hang`` takes ten minutes.
    """

    log = Path()
    always = ""
    once = ""
    crowd = 1
    hang = ""

    def infer(self, case):
        name = case.readings[0].files[0].name[0]
        is_first = name not in names_in(self.log)
        with self.log.open("a") as stream:
            stream.write(f"{name}:{os.getpid()}\n")
        if name in self.always or (name in self.once and is_first):
            os.kill(os.getpid(), signal.SIGKILL)
        end = time.monotonic() + 60
        while len(processes_in(self.log)) < self.crowd and time.monotonic() < end:
            time.sleep(0.02)
        if name in self.hang:
            time.sleep(600)
        return super().infer(case)


def deadly_predictor(log, always="", once="", crowd=1, hang=""):
    """Build the predictor."""
    plain = threshold_predictor()
    predictor = Deadly(plain.network, plain.preprocessing, plain.inferer, CLASSES)
    predictor.log, predictor.crowd, predictor.hang = log, crowd, hang
    predictor.always, predictor.once = always, once
    return predictor


def names_in(log):
    """List what was begun."""
    return [line.split(":")[0] for line in log.read_text().split()] if log.exists() else []


def processes_in(log):
    """Tell who has begun anything."""
    return {line.split(":")[1] for line in log.read_text().split()}
