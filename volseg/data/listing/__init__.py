"""Which images make a case, from files, folders, patterns, lists and data sets; nothing is read."""
