"""Letters that look alike: what `hardrank.language.confusables` knows, for who writes them."""

from hardrank.language.confusables import SCRIPTS, Script, alike

__all__ = ["SCRIPTS", "Script", "alike"]
