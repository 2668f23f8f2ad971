"""The public verbs as functions, one a file."""
