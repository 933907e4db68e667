"""Alignment for Albireo by matching triangles of stars (astroalign)."""
