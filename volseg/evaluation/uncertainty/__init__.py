"""Whether a network is as right as it is sure, voxel by voxel and case by case."""
