"""Finding fake users, poisoned items and fake reviews in a log."""
