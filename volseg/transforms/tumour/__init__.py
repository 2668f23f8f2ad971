"""Simulated tumours: drawn once as a record, then grown into any number of sequences."""
