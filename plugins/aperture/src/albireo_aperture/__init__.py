"""Aperture photometry for Albireo."""
