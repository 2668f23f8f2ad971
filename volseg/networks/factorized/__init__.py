"""Convolutions and linear layers as chains of small ones."""
