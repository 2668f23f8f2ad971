"""The page that shows what became of a batch: one HTML file, to be opened without a network."""
