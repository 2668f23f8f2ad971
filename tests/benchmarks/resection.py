"""How long one simulated resection takes, beside resector on the same heads.

Usage: ``python -m tests.benchmarks.resection FOLDER``, after ``resection_crossing prepare FOLDER``
and ``peer_resector.py FOLDER --seconds --draws 5``, all on one thread. Both times are CPU seconds
of one draw on a head that is prepared and in memory: sampling, a copy of the volume, and the
resection. Ours is *basic* with fluid alone, as resector's; *rich* with clot, septa, rim, gliosis, a
shift of the brain and a bone flap, against resector with its white-matter lesion and clot.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import process_time

import nibabel as nib
import numpy as np
import torch

from tests.benchmarks.resection_crossing import SHARED, read_labels
from volseg.transforms.anatomy.from_labels import anatomy_from_labels
from volseg.transforms.resection.cavity import Cavity, Content, Shift
from volseg.transforms.resection.prior import Prior
from volseg.transforms.resection.resect import resect
from volseg.transforms.resection.sample import sample_cavity
from volseg.transforms.resection.statistics import measure_statistics

RICH = Content(
    protein=0.3, layering=0.5, clot=0.15, septa=0.05, rim=1.0, gliosis=8.0, gliosis_strength=0.6
)

DRAWS = 10


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table of ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, default=SHARED)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    peers = json.loads((args.folder / "seconds.json").read_text())
    print("| head | voxels | basic | resector | ratio | rich | resector | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    for peer in peers:
        image = nib.load(args.folder / "heads" / peer["head"])
        ours = measure(image, peer["head"], args.data)
        size = "x".join(map(str, image.shape))
        cells = [peer["head"].removesuffix("_image.nii.gz"), size]
        for kind in ("basic", "rich"):
            theirs = peer[kind]["cpu"]
            ratio = theirs / ours[kind]
            cells += [f"{1000 * ours[kind]:.0f} ms", f"{1000 * theirs:.0f} ms", f"{ratio:.1f}"]
        print("|", " | ".join(cells), "|")


def measure(image: nib.Nifti1Image, name: str, data: Path) -> dict[str, float]:
    """Measure ours on one head."""
    number = int(name.split("_", maxsplit=1)[0].removeprefix("labelmap"))
    labels, affine = read_labels(data, number)
    anatomy = anatomy_from_labels(torch.from_numpy(labels), affine)
    volume = torch.from_numpy(image.get_fdata(dtype=np.float32))[None]
    statistics = [measure_statistics(volume[0], anatomy)]
    prior = Prior(modes={"lesionectomy": 1.0}, min_ml=0.844, max_ml=83.757)
    result = {}
    for kind in ("basic", "rich"):
        seconds = []
        for draw in range(DRAWS):
            began = process_time()
            cavity = sample_cavity(anatomy, np.random.RandomState(draw), prior)
            resect(volume, anatomy, make(cavity, kind), ["T1"], statistics)
            seconds.append(process_time() - began)
        result[kind] = median(seconds)
    return result


def make(cavity: Cavity, kind: str) -> Cavity:
    """Give a drawn cavity the content that is compared."""
    if kind == "basic":
        return replace(cavity, content=Content(), shift=Shift(), flap=None)
    return replace(cavity, content=RICH, shift=replace(cavity.shift, collapse=2.0, sag=3.0))


if __name__ == "__main__":
    main()
