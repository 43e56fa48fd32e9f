"""Serve-time guards: what a new text or event has to pass before it goes live."""
