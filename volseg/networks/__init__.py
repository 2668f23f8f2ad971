"""Encoders, decoders and segmenters, and their weights."""
