"""Background and sources for Albireo by SEP (Source Extractor as a library)."""
