"""Attacks that rewrite the text of items: one attack per file."""

from hardrank.attacks.text.composed import Composed
from hardrank.attacks.text.copycat import Copycat
from hardrank.attacks.text.greedy_words import GreedyWords
from hardrank.attacks.text.random_words import RandomWords

__all__ = ["Composed", "Copycat", "GreedyWords", "RandomWords"]
