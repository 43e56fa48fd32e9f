"""Pure functions of arrays: no torch, no models, no files."""
