"""Which characters look, sound or lie alike: facts that character edits read."""
