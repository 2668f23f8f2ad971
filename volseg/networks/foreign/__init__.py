"""Weights of other projects, one layout a file; `volseg.networks.foreign.opening` lists them."""
