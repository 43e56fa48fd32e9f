"""Fake users in the training log: one attack per file."""
