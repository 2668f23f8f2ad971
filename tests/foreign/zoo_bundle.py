"""A bundle as in MONAI's model zoo: nothing of volseg in it, a U-Net with random weights."""

import json
from pathlib import Path
from typing import Any

import torch
from monai.networks.nets import UNet

NETWORK = {
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 3,
    "channels": [4, 8],
    "strides": [2],
    "norm": "batch",
}

INFERENCE: dict[str, Any] = {
    "bundle_root": ".",
    "output_dir": "$@bundle_root + '/eval'",
    "dataset_dir": "scans",
    "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
    "network_def": {"_target_": "UNet", **NETWORK},
    "network": "$@network_def.to(@device)",
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
            {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
            {"_target_": "Spacingd", "keys": "image", "pixdim": [1, 1, 1], "mode": "bilinear"},
            {
                "_target_": "ScaleIntensityRanged",
                "keys": "image",
                **{"a_min": 250, "a_max": 550, "b_min": -1, "b_max": 1, "clip": True},
            },
            {"_target_": "EnsureTyped", "keys": "image"},
        ],
    },
    "dataset": {
        "_target_": "Dataset",
        "data": "$[{'image': @dataset_dir}]",
        "transform": "@preprocessing",
    },
    "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1},
    "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16], "sw_batch_size": 2},
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "Activationsd", "keys": "pred", "softmax": True},
            {
                "_target_": "Invertd",
                "keys": "pred",
                "transform": "@preprocessing",
                "orig_keys": "image",
                "nearest_interp": False,
                "to_tensor": True,
            },
            {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
            {
                "_target_": "SaveImaged",
                "keys": "pred",
                "output_dir": "@output_dir",
                "output_postfix": "",
                "separate_folder": False,
                "resample": False,
            },
        ],
    },
    "handlers": [
        {
            "_target_": "CheckpointLoader",
            "load_path": "$@bundle_root + '/models/model.pt'",
            "load_dict": {"model": "@network"},
        }
    ],
    "evaluator": {
        "_target_": "SupervisedEvaluator",
        "device": "@device",
        "val_data_loader": "@dataloader",
        "network": "@network",
        "inferer": "@inferer",
        "postprocessing": "@postprocessing",
        "val_handlers": "@handlers",
    },
    "run": ["$@evaluator.run()"],
}


def write_zoo_bundle(root: Path, **changes: Any) -> Path:
    """Write the bundle; ``changes`` replace values of its ``inference.json``."""
    tensor = {"type": "image", "spatial_shape": [16, 16, 16], "dtype": "float32", "value_range": []}
    classes = {"0": "background", "1": "spleen", "2": "liver"}
    image = {**tensor, "format": "hounsfield", "num_channels": 1, "channel_def": {"0": "image"}}
    pred = {**tensor, "format": "segmentation", "num_channels": 3, "channel_def": classes}
    metadata = {
        **{"schema": "meta_schema_20240725.json", "version": "0.1.0"},
        **{"changelog": {"0.1.0": "first"}, "monai_version": "1.6.1", "pytorch_version": "2.13.0"},
        **{"numpy_version": "2.4.6", "required_packages_version": {}},
        **{"task": "organs", "description": "organs", "authors": "A", "copyright": "A"},
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": pred}},
    }
    (root / "configs").mkdir(parents=True)
    (root / "models").mkdir()
    for kind, content in (("metadata", metadata), ("inference", {**INFERENCE, **changes})):
        (root / "configs" / f"{kind}.json").write_text(json.dumps(content, indent=2))
    torch.manual_seed(0)
    torch.save(UNet(**NETWORK).state_dict(), root / "models" / "model.pt")
    return root


def with_step(last: dict[str, Any]) -> dict[str, Any]:
    """Give the postprocessing with another step before the file is written."""
    *steps, save = INFERENCE["postprocessing"]["transforms"]
    return {"_target_": "Compose", "transforms": [*steps, last, save]}
