"""Files of a segmentation: each is read back and compared before it gets its name."""
