"""Recommenders that an attacker trains for himself, to see what a fake profile would do."""
