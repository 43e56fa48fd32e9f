"""Audits: a trained recommender in, samples and findings out."""
