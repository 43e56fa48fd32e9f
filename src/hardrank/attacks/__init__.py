"""Attacks: frozen bags of hyperparameters that you can call. No torch at module level.

A new attack is one file and one member of `TextAttack`; the tests find it there.
"""

from typing import Annotated, get_args

from pydantic import Field

from hardrank.attacks.features import FEATURE_ATTACKS, FeatureAttack
from hardrank.attacks.history import HISTORY_ATTACKS, HistoryAttack, HistoryUnion
from hardrank.attacks.text import (
    AppendTitle,
    BertAttack,
    ChineseHomophone,
    Clickbait,
    Composed,
    Copycat,
    DeepWordBug,
    FrugalWords,
    Gbda,
    GeneticWords,
    GradientGuided,
    GradientWords,
    GreedyWords,
    Homoglyph,
    HotFlip,
    KeywordStuffing,
    LlmRewrite,
    NaturalNoise,
    PromptInjection,
    Pwws,
    RandomCharacters,
    RandomWords,
    TextBugger,
    TextFooler,
    ZeroWidth,
)

__all__ = [
    "ATTACKS",
    "EVERY_ATTACK",
    "FEATURE_ATTACKS",
    "HISTORY_ATTACKS",
    "AnyAttack",
    "AppendTitle",
    "BertAttack",
    "ChineseHomophone",
    "Clickbait",
    "Composed",
    "Copycat",
    "DeepWordBug",
    "FeatureAttack",
    "FrugalWords",
    "Gbda",
    "GeneticWords",
    "GradientGuided",
    "GradientWords",
    "GreedyWords",
    "HistoryAttack",
    "Homoglyph",
    "HotFlip",
    "KeywordStuffing",
    "LlmRewrite",
    "NaturalNoise",
    "PromptInjection",
    "Pwws",
    "RandomCharacters",
    "RandomWords",
    "TextAttack",
    "TextBugger",
    "TextFooler",
    "ZeroWidth",
]

TextUnion = (
    AppendTitle
    | BertAttack
    | ChineseHomophone
    | Clickbait
    | Composed
    | Copycat
    | DeepWordBug
    | FrugalWords
    | GeneticWords
    | Gbda
    | GradientGuided
    | GradientWords
    | GreedyWords
    | Homoglyph
    | HotFlip
    | KeywordStuffing
    | LlmRewrite
    | NaturalNoise
    | PromptInjection
    | Pwws
    | RandomCharacters
    | RandomWords
    | TextBugger
    | TextFooler
    | ZeroWidth
)
TextAttack = Annotated[TextUnion, Field(discriminator="kind")]
"""What `attacks = [{ kind = "..." }]` of an experiment file can spell."""

ATTACKS: tuple[type, ...] = get_args(TextUnion)
"""The same as a tuple of classes: what the tests are parametrised by."""

EVERY_ATTACK = (*ATTACKS, *HISTORY_ATTACKS, *FEATURE_ATTACKS)
AnyAttack = Annotated[TextUnion | HistoryUnion, Field(discriminator="kind")]
"""What a trial can name, whatever it writes."""
