"""Cases made of a ball in a box, with names that a page could choke on."""

import numpy as np

from volseg.inference.gallery.case import ReportCase
from volseg.inference.gallery.picture import make_picture

CLASSES = {1: "anterior", 2: "posterior"}

UNICODE = "15_Zoë Müller \N{EN DASH} тест №1 (копия)"
SCRIPT = "<script>window.broken = 1</script>"
QUOTES = "\"><img src=x onerror='window.broken = 1'>"
FORMULA = '=HYPERLINK("x"), 1'
UNDECODABLE = "scan\udce9\x1b[31m"


def ball_picture(shape=(24, 20, 16), radius=5.0):
    """Draw a ball in two halves."""
    place = np.stack(np.indices(shape), axis=-1) - np.array(shape) / 2
    distance = np.linalg.norm(place, axis=-1)
    labels = np.where(distance < radius, 1 + (place[..., 1] < 0), 0).astype(np.uint8)
    values = 100 - 2 * distance + 60 * (labels > 0)
    return make_picture(values, labels, np.diag([2.0, 2, 2, 1]), classes=CLASSES)


def hostile_cases():
    """Give a done, flagged case with pictures, and cases with the worst of names."""
    picture = ball_picture()
    done = {"anterior": 1.5, "posterior": 12.25}
    return [
        ReportCase(UNICODE, f"in/{UNICODE}.nii.gz", "out/1.nii.gz", "done", None, 10.0, done,
                   ("touches the border",), picture),
        ReportCase("case 10", "in/10.nii.gz", "out/10.nii.gz", "done", None, 2.5,
                   {"anterior": 0.0, "posterior": 100.0}, ("empty", "low confidence"), picture),
        ReportCase("case 9", "in/9.nii.gz", "out/9.nii.gz", "done", None, 9.0,
                   {"anterior": 9.0, "posterior": 3.0}, (), picture),
        ReportCase(SCRIPT, f"in/{SCRIPT}", None, "failed", "is cut off </script><b>", 0.1),
        ReportCase(QUOTES, f"in/{QUOTES}", None, "failed", "two\nlines", 0.2),
        ReportCase(FORMULA, "in/formula", "out/formula", "skipped", "done before", 0.0),
        ReportCase(UNDECODABLE, f"in/{UNDECODABLE}", None, "failed", "4D", 0.3),
    ]  # fmt: skip
