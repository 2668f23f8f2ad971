"""Self-supervised pretraining and segmentation of 3D medical images on MONAI."""

__version__ = "0.1.0"
