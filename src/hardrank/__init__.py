"""Train, attack, harden and audit recommenders that read item text.

Names below are loaded on first use (PEP 562), so that `import hardrank` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from hardrank.context import RunContext
    from hardrank.data import Dataset, Patch, Queries, Slate
    from hardrank.errors import HardrankError
    from hardrank.findings import Finding
    from hardrank.recommender import Recommender

_HOMES = {
    "Dataset": "hardrank.data",
    "Finding": "hardrank.findings",
    "HardrankError": "hardrank.errors",
    "Patch": "hardrank.data",
    "Queries": "hardrank.data",
    "Recommender": "hardrank.recommender",
    "RunContext": "hardrank.context",
    "Slate": "hardrank.data",
}

__all__ = [
    "Dataset",
    "Finding",
    "HardrankError",
    "Patch",
    "Queries",
    "Recommender",
    "RunContext",
    "Slate",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hardrank' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
