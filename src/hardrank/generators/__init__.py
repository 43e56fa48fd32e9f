"""Networks that make profiles, interests and item vectors: adversarial generators."""
