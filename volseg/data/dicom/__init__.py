"""Finding and reading DICOM series by where their slices lie, never by their names or numbers."""
