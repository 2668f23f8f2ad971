"""Simulated resections: what is drawn, carved out and painted."""
