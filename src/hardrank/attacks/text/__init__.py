"""Attacks that rewrite the text of items: one attack per file."""

from hardrank.attacks.text.append_title import AppendTitle
from hardrank.attacks.text.bert_attack import BertAttack
from hardrank.attacks.text.chinese_homophone import ChineseHomophone
from hardrank.attacks.text.clickbait import Clickbait
from hardrank.attacks.text.composed import Composed
from hardrank.attacks.text.copycat import Copycat
from hardrank.attacks.text.deepwordbug import DeepWordBug
from hardrank.attacks.text.frugal_words import FrugalWords
from hardrank.attacks.text.gbda import Gbda
from hardrank.attacks.text.genetic_words import GeneticWords
from hardrank.attacks.text.gradient_guided import GradientGuided
from hardrank.attacks.text.gradient_words import GradientWords
from hardrank.attacks.text.greedy_words import GreedyWords
from hardrank.attacks.text.homoglyph import Homoglyph
from hardrank.attacks.text.hotflip import HotFlip
from hardrank.attacks.text.keyword_stuffing import KeywordStuffing
from hardrank.attacks.text.llm_rewrite import LlmRewrite
from hardrank.attacks.text.natural_noise import NaturalNoise
from hardrank.attacks.text.prompt_injection import PromptInjection
from hardrank.attacks.text.pwws import Pwws
from hardrank.attacks.text.random_characters import RandomCharacters
from hardrank.attacks.text.random_words import RandomWords
from hardrank.attacks.text.textbugger import TextBugger
from hardrank.attacks.text.textfooler import TextFooler
from hardrank.attacks.text.zero_width import ZeroWidth

__all__ = [
    "AppendTitle",
    "BertAttack",
    "ChineseHomophone",
    "Clickbait",
    "Composed",
    "Copycat",
    "DeepWordBug",
    "FrugalWords",
    "Gbda",
    "GeneticWords",
    "GradientGuided",
    "GradientWords",
    "GreedyWords",
    "Homoglyph",
    "HotFlip",
    "KeywordStuffing",
    "LlmRewrite",
    "NaturalNoise",
    "PromptInjection",
    "Pwws",
    "RandomCharacters",
    "RandomWords",
    "TextBugger",
    "TextFooler",
    "ZeroWidth",
]
