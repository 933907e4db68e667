"""Master bias, dark and flat frames for Albireo, by compiled strip kernels."""
