"""The HTML report of Albireo."""
