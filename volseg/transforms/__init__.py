"""Transforms that MONAI lacks: each is a draw and a pure function."""
