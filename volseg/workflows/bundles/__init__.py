"""Make, list, check, pack and export bundles."""
