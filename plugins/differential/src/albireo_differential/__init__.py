"""Differential light curves for Albireo with automatic comparison stars."""
