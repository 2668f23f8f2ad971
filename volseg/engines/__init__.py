"""Builders of MONAI trainers and evaluators."""
