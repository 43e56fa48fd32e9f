"""What could stand in a slot instead: one transformation per file."""

from typing import Annotated

from pydantic import Field

from hardrank.attacks.transformations.change_case import ChangeCase
from hardrank.attacks.transformations.chinese_characters import ChineseCharacters
from hardrank.attacks.transformations.confuse_characters import ConfuseCharacters
from hardrank.attacks.transformations.delete_character import DeleteCharacter
from hardrank.attacks.transformations.delete_words import DeleteWords
from hardrank.attacks.transformations.insert_character import InsertCharacter
from hardrank.attacks.transformations.insert_words import InsertWords
from hardrank.attacks.transformations.masked_lm import MaskedLMInsert, MaskedLMReplace
from hardrank.attacks.transformations.neighbours import NearWords
from hardrank.attacks.transformations.space_letters import SpaceLetters
from hardrank.attacks.transformations.substitute_characters import SubstituteCharacters
from hardrank.attacks.transformations.substitute_words import SubstituteWords
from hardrank.attacks.transformations.swap_characters import SwapCharacters
from hardrank.attacks.transformations.synonyms import Synonyms
from hardrank.attacks.transformations.zero_width import InsertZeroWidth

__all__ = [
    "TRANSFORMATIONS",
    "AnyTransformation",
    "ChangeCase",
    "ChineseCharacters",
    "ConfuseCharacters",
    "DeleteCharacter",
    "DeleteWords",
    "InsertCharacter",
    "InsertWords",
    "InsertZeroWidth",
    "MaskedLMInsert",
    "MaskedLMReplace",
    "NearWords",
    "SpaceLetters",
    "SubstituteCharacters",
    "SubstituteWords",
    "SwapCharacters",
    "Synonyms",
]

AnyTransformation = Annotated[
    ChangeCase
    | ChineseCharacters
    | ConfuseCharacters
    | DeleteCharacter
    | DeleteWords
    | InsertCharacter
    | InsertWords
    | InsertZeroWidth
    | MaskedLMInsert
    | MaskedLMReplace
    | NearWords
    | SpaceLetters
    | SubstituteCharacters
    | SubstituteWords
    | SwapCharacters
    | Synonyms,
    Field(discriminator="kind"),
]
"""What `transformations = [{ kind = "..." }]` can spell."""
TRANSFORMATIONS = (
    ChangeCase,
    ChineseCharacters,
    ConfuseCharacters,
    DeleteCharacter,
    DeleteWords,
    InsertCharacter,
    InsertWords,
    InsertZeroWidth,
    MaskedLMInsert,
    MaskedLMReplace,
    NearWords,
    SpaceLetters,
    SubstituteCharacters,
    SubstituteWords,
    SwapCharacters,
    Synonyms,
)
