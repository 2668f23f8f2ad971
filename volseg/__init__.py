"""Self-supervised pretraining and segmentation of 3D medical images on MONAI."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from volseg.bundle import Bundle
    from volseg.errors import VolsegError
    from volseg.inference.predictor import Predictor
    from volseg.networks.segmenter import Segmenter
    from volseg.networks.weights import load_encoder, load_segmenter
    from volseg.transforms.resection.rand import RandResectiond
    from volseg.transforms.tumour.rand import RandTumord
    from volseg.workflows.anomaly_evaluate import evaluate_anomaly
    from volseg.workflows.anomaly_map import map_anomaly
    from volseg.workflows.anomaly_train import train_anomaly
    from volseg.workflows.bundles.check import check_bundle
    from volseg.workflows.bundles.compress import compress_bundle
    from volseg.workflows.bundles.export import export_bundle
    from volseg.workflows.bundles.listing import list_bundles
    from volseg.workflows.bundles.new import new_bundle
    from volseg.workflows.bundles.pack import pack_bundle
    from volseg.workflows.calibrate import calibrate
    from volseg.workflows.demo import demo
    from volseg.workflows.detect import detect
    from volseg.workflows.doctor import doctor
    from volseg.workflows.evaluate import evaluate
    from volseg.workflows.extent import extent
    from volseg.workflows.finetune import finetune
    from volseg.workflows.grade import grade
    from volseg.workflows.inspect import inspect
    from volseg.workflows.pretrain import pretrain
    from volseg.workflows.probe import probe
    from volseg.workflows.resect import resect
    from volseg.workflows.review import review
    from volseg.workflows.robustness import robustness
    from volseg.workflows.segment import segment
    from volseg.workflows.training import TrainingOptions

__version__ = "0.1.0"

__all__ = [
    "Bundle",
    "Predictor",
    "RandResectiond",
    "RandTumord",
    "Segmenter",
    "TrainingOptions",
    "VolsegError",
    "calibrate",
    "check_bundle",
    "compress_bundle",
    "demo",
    "detect",
    "doctor",
    "evaluate",
    "evaluate_anomaly",
    "export_bundle",
    "extent",
    "finetune",
    "grade",
    "inspect",
    "list_bundles",
    "load_encoder",
    "load_segmenter",
    "map_anomaly",
    "new_bundle",
    "pack_bundle",
    "pretrain",
    "probe",
    "resect",
    "review",
    "robustness",
    "segment",
    "train_anomaly",
]

_HOMES = {
    "Bundle": "volseg.bundle",
    "Predictor": "volseg.inference.predictor",
    "RandResectiond": "volseg.transforms.resection.rand",
    "RandTumord": "volseg.transforms.tumour.rand",
    "Segmenter": "volseg.networks.segmenter",
    "TrainingOptions": "volseg.workflows.training",
    "VolsegError": "volseg.errors",
    "evaluate_anomaly": "volseg.workflows.anomaly_evaluate",
    "map_anomaly": "volseg.workflows.anomaly_map",
    "train_anomaly": "volseg.workflows.anomaly_train",
    "check_bundle": "volseg.workflows.bundles.check",
    "compress_bundle": "volseg.workflows.bundles.compress",
    "export_bundle": "volseg.workflows.bundles.export",
    "list_bundles": "volseg.workflows.bundles.listing",
    "load_encoder": "volseg.networks.weights",
    "load_segmenter": "volseg.networks.weights",
    "new_bundle": "volseg.workflows.bundles.new",
    "pack_bundle": "volseg.workflows.bundles.pack",
}
"""Where a public name is defined; the verbs are at home in the module of their name."""


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that importing volseg loads nothing heavy."""
    if name not in __all__:
        raise AttributeError(f"module 'volseg' has no attribute {name!r}")
    home = import_module(_HOMES.get(name, f"volseg.workflows.{name}"))
    value = globals()[name] = getattr(home, name)
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})
