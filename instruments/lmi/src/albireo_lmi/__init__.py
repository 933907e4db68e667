"""The Large Monolithic Imager of the Lowell Discovery Telescope for Albireo."""
