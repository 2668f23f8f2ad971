"""From a case to a label map on its own grid, one case or a folder."""
