"""Any camera for Albireo, described in a TOML file."""
