"""Train, attack, harden and audit recommenders that read item text.

Names below are loaded on first use (PEP 562), so that `import hardrank` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from hardrank.attacks import Copycat, GreedyWords, RandomWords
    from hardrank.bundle import load_bundle, save_bundle
    from hardrank.context import RunContext
    from hardrank.data import Dataset, Patch, Queries, Slate
    from hardrank.data.sources import Marketplace, Table
    from hardrank.data.splits import GlobalTemporal, LeaveOneOut
    from hardrank.errors import HardrankError
    from hardrank.experiment import load_experiment, run_experiment
    from hardrank.findings import Finding
    from hardrank.hardening import Adversarial
    from hardrank.models import Hybrid, Sasrec, TextSequence
    from hardrank.recommender import Recommender
    from hardrank.threats import Budget, Promote, ThreatModel, mount
    from hardrank.training import Training

_HOMES = {
    "Adversarial": "hardrank.hardening",
    "Budget": "hardrank.threats",
    "Copycat": "hardrank.attacks",
    "Dataset": "hardrank.data",
    "Finding": "hardrank.findings",
    "GlobalTemporal": "hardrank.data.splits",
    "GreedyWords": "hardrank.attacks",
    "HardrankError": "hardrank.errors",
    "Hybrid": "hardrank.models",
    "LeaveOneOut": "hardrank.data.splits",
    "Marketplace": "hardrank.data.sources",
    "Patch": "hardrank.data",
    "Promote": "hardrank.threats",
    "Queries": "hardrank.data",
    "RandomWords": "hardrank.attacks",
    "Recommender": "hardrank.recommender",
    "RunContext": "hardrank.context",
    "Sasrec": "hardrank.models",
    "Slate": "hardrank.data",
    "Table": "hardrank.data.sources",
    "TextSequence": "hardrank.models",
    "ThreatModel": "hardrank.threats",
    "Training": "hardrank.training",
    "load_bundle": "hardrank.bundle",
    "load_experiment": "hardrank.experiment",
    "mount": "hardrank.threats",
    "run_experiment": "hardrank.experiment",
    "save_bundle": "hardrank.bundle",
}

__all__ = [
    "Adversarial",
    "Budget",
    "Copycat",
    "Dataset",
    "Finding",
    "GlobalTemporal",
    "GreedyWords",
    "HardrankError",
    "Hybrid",
    "LeaveOneOut",
    "Marketplace",
    "Patch",
    "Promote",
    "Queries",
    "RandomWords",
    "Recommender",
    "RunContext",
    "Sasrec",
    "Slate",
    "Table",
    "TextSequence",
    "ThreatModel",
    "Training",
    "__version__",
    "load_bundle",
    "load_experiment",
    "mount",
    "run_experiment",
    "save_bundle",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hardrank' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
