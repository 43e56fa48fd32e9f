"""The service: a bundle online, its store, its guards, its life."""
