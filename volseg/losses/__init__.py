"""Losses that MONAI lacks, one a file."""
