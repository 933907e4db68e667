"""Frame selection for Albireo: by level and saturation."""
