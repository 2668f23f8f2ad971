"""Segmenting end to end: volseg beside the steps of MONAI's bundles, same network, same windows.

``python -m tests.benchmarks.segmentation VOLUME --classes 2 14 118`` runs each side in a process of
its own on one thread. For each number of classes it prints the CPU seconds and the memory of
reading, preprocessing, windows, labels on the image's own grid and writing, without importing, and
how many voxels agree. ``--synthetic Z`` makes a CT of 512 x 512 x Z instead of taking a volume.
The network is one convolution of 1 x 1 x 1, so that everything but a network is compared;
``--network`` takes a residual encoder with a convolutional decoder. Take a volume that is larger
than a window, 144 mm, along each axis: smaller ones are padded differently, and voxels then differ.

The peer: `LoadImaged`, `Orientationd`, `Spacingd`, `SlidingWindowInferer` (Gaussian, overlap 0.5),
`Activationsd`, `Invertd`, `AsDiscreted`, `SaveImaged`, as in the bundles of MONAI's model zoo.

``--nnunet PYTHON`` adds nnU-Net's predictor, from another environment that has ``nnunetv2`` beside
what volseg needs: the same network, spacing, window, overlap and weights of a window, linear
resampling, and no mirroring. It sees the axes in another order, so that only the network of one
voxel can be expected to give it the same labels.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from scipy import ndimage

SPACING = (1.5, 1.5, 1.5)

ROI = (96, 96, 96)

RANGE = (-1024.0, 1024.0)

NNUNET_RESAMPLING = ("resampling_fn_seg", "resampling_fn_probabilities")


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, or be one side of the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("volume", nargs="?", type=Path)
    parser.add_argument("--synthetic", metavar="Z", type=int)
    parser.add_argument("--classes", nargs="+", type=int, default=[2, 14])
    parser.add_argument("--network", action="store_true")
    parser.add_argument("--max-memory", metavar="SIZE", help="ceiling of volseg's side")
    parser.add_argument("--precision", default="float32", help="of volseg's side")
    parser.add_argument("--at-most", metavar="SIZE", help="address space of every side")
    parser.add_argument("--sides", nargs="+", default=["volseg", "monai"])
    parser.add_argument("--nnunet", metavar="PYTHON", help="interpreter that has nnunetv2")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if args.side:
        run_side(args)
        return
    with tempfile.TemporaryDirectory() as folder:
        volume = args.volume or make_ct(Path(folder) / "ct.nii.gz", args.synthetic)
        for classes in args.classes:
            print(json.dumps(compare(volume, classes, args, Path(folder))), flush=True)


def make_ct(path: Path, depth: int) -> Path:
    """Write a volume of smooth blobs in Hounsfield units."""
    noise = np.random.default_rng(0).normal(size=(64, 64, max(2, depth // 8)))
    smooth = ndimage.gaussian_filter(noise, 2) * 8000
    values = ndimage.zoom(smooth, [512 / 64, 512 / 64, depth / noise.shape[2]], order=1)
    affine = np.diag([-0.8, -0.8, 1.5, 1])
    nib.save(nib.Nifti1Image(values.clip(*RANGE).astype(np.int16), affine), path)
    return path


def compare(volume: Path, classes: int, args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run the sides one after the other."""
    found: dict[str, Any] = {"volume": volume.name, "classes": classes}
    found |= {"precision": args.precision, "network": args.network}
    masks = {}
    for side in [*args.sides, *(["nnunet"] if args.nnunet else [])]:
        output = folder / f"{side}_{classes}"
        python = args.nnunet if side == "nnunet" else sys.executable
        command = [python, "-W", "ignore", "-m", "tests.benchmarks.segmentation", str(volume)]
        command += ["--classes", str(classes), "--side", side, "--output", str(output)]
        command += ["--network"] if args.network else []
        command += ["--max-memory", args.max_memory] if args.max_memory else []
        command += ["--precision", args.precision]
        command += ["--at-most", args.at_most] if args.at_most else []
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            found[side] = {"failed": done.stderr.strip().splitlines()[-1:]}
            continue
        found[side] = json.loads(done.stdout.splitlines()[-1])
        (mask,) = output.rglob("*.nii.gz")
        masks[side] = np.asanyarray(nib.load(mask).dataobj).squeeze()
    ours = found["volseg"] if "volseg" in masks else None
    for side, mask in masks.items():
        if ours is None or side == "volseg":
            continue
        theirs = found[side]
        theirs["agreement"] = float((masks["volseg"] == mask).mean())
        theirs["times_as_fast"] = round(theirs["cpu_seconds"] / ours["cpu_seconds"], 2)
        theirs["memory_ratio"] = round(theirs["extra_mib"] / ours["extra_mib"], 2)
    return found


def run_side(args: argparse.Namespace) -> None:
    """Segment once and say what it took."""
    if args.at_most:
        from volseg.inference.memory import parse_bytes

        resource.setrlimit(resource.RLIMIT_AS, (parse_bytes(args.at_most),) * 2)
    classes, args.output = args.classes[0], args.output
    args.output.mkdir(parents=True)
    network = make_network(classes, is_real=args.network).eval()
    sides = {"volseg": prepare_volseg, "monai": prepare_monai, "nnunet": prepare_nnunet}
    go = sides[args.side](network, classes, args)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    with torch.inference_mode():
        go()
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = {
        "cpu_seconds": round(seconds, 2),
        "peak_mib": peak // 1024,
        "extra_mib": max(1, (peak - before) // 1024),
    }
    print(json.dumps(result))


def make_network(classes: int, *, is_real: bool) -> torch.nn.Module:
    """Build the network of both sides, with the same random weights."""
    torch.manual_seed(0)
    if is_real:
        from volseg.networks.residual import ResidualEncoder
        from volseg.networks.segmenter import Segmenter

        return Segmenter(ResidualEncoder(1, (8, 16, 32, 64)), classes)
    layer = torch.nn.Conv3d(1, classes, kernel_size=1)
    layer.weight.data *= 20
    return layer


def prepare_volseg(network: torch.nn.Module, classes: int, args: argparse.Namespace) -> Any:
    """Set up volseg."""
    from monai.transforms import ScaleIntensityRanged

    from volseg.data.pipelines import preprocessing
    from volseg.inference.computation import Computation
    from volseg.inference.memory import Ceiling, parse_bytes
    from volseg.inference.predictor import Predictor
    from volseg.inference.sliding_window import SlidingWindow

    scale = ScaleIntensityRanged("image", *RANGE, 0, 1, clip=True)
    ceiling = Ceiling(host=parse_bytes(args.max_memory)) if args.max_memory else None
    predictor = Predictor(
        network,
        preprocessing(("image",), SPACING, scale),
        SlidingWindow(ROI, 0.5),
        {value: f"class {value}" for value in range(classes)},
        ceiling=ceiling,
        computation=Computation(args.precision),
    )

    def go() -> None:
        predictor.save(predictor.predict(args.volume), args.output / "mask.nii.gz")

    return go


def prepare_monai(network: torch.nn.Module, classes: int, args: argparse.Namespace) -> Any:
    """Set up the steps of a bundle of MONAI's model zoo."""
    from monai import transforms
    from monai.inferers import SlidingWindowInferer

    before = transforms.Compose(
        [
            transforms.LoadImaged("image"),
            transforms.EnsureChannelFirstd("image"),
            transforms.Orientationd("image", axcodes="RAS"),
            transforms.Spacingd("image", SPACING, mode="bilinear"),
            transforms.ScaleIntensityRanged("image", *RANGE, 0, 1, clip=True),
            transforms.EnsureTyped("image"),
        ]
    )
    after = transforms.Compose(
        [
            transforms.Activationsd("pred", softmax=True),
            transforms.Invertd("pred", before, "image", nearest_interp=False, to_tensor=True),
            transforms.AsDiscreted("pred", argmax=True),
            transforms.SaveImaged(
                "pred", output_dir=str(args.output), output_dtype=np.uint8, print_log=False
            ),
        ]
    )
    inferer = SlidingWindowInferer(ROI, sw_batch_size=1, overlap=0.5, mode="gaussian")

    def go() -> None:
        case = before({"image": str(args.volume)})
        case["pred"] = inferer(case["image"][None], network)[0]
        after(case)

    return go


def prepare_nnunet(network: torch.nn.Module, classes: int, args: argparse.Namespace) -> Any:
    """Set up nnU-Net's predictor on a network that it did not train."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    resampling = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": False}
    resample = {"resampling_fn_data": "resample_data_or_seg_to_shape"}
    resample |= dict.fromkeys(NNUNET_RESAMPLING, resample["resampling_fn_data"])
    kwargs = {f"{name}_kwargs": resampling for name in resample}
    intensities = {"mean": RANGE[0], "std": RANGE[1] - RANGE[0]}
    intensities |= {"percentile_00_5": RANGE[0], "percentile_99_5": RANGE[1]}
    configuration = {
        "data_identifier": "benchmark",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 1,
        "patch_size": list(ROI),
        "spacing": list(SPACING),
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "batch_dice": False,
        "architecture": {},
        **resample,
        **kwargs,
    }
    plans = PlansManager(
        {
            "dataset_name": "benchmark",
            "plans_name": "benchmark",
            "transpose_forward": [0, 1, 2],
            "transpose_backward": [0, 1, 2],
            "image_reader_writer": "SimpleITKIO",
            "label_manager": "LabelManager",
            "foreground_intensity_properties_per_channel": {"0": intensities},
            "configurations": {"3d_fullres": configuration},
        }
    )
    names = {f"class {value}": value for value in range(1, classes)}
    description = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, **names},
        "file_ending": ".nii.gz",
    }
    predictor = nnUNetPredictor(
        use_mirroring=False,
        perform_everything_on_device=False,
        device=torch.device("cpu"),
        allow_tqdm=False,
    )
    predictor.manual_initialization(
        network,
        plans,
        plans.get_configuration("3d_fullres"),
        [network.state_dict()],
        description,
        "benchmark",
        None,
    )

    def go() -> None:
        predictor.predict_from_files_sequential([[str(args.volume)]], [str(args.output / "mask")])

    return go


if __name__ == "__main__":
    main()
