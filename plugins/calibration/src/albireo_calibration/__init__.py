"""Corrections for Albireo: overscan, trim, bias, dark, gain, flat."""
