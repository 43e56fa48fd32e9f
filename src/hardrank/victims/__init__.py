"""Anyone's recommender as victim: a Python callable or an HTTP service, asked by contract.

The contract is in `docs/victims.md`. `connect` turns a spec into an `External`, which is a
`hardrank.recommender.Recommender` for every attack that needs ranks or scores. No torch here.
"""

from hardrank.victims.connect import Connection, connect
from hardrank.victims.external import External
from hardrank.victims.line import Line, Port
from hardrank.victims.question import Answers, Question, read_answer, read_rows
from hardrank.victims.specs import BundleVictim, CallableVictim, HttpVictim, Victim, named_victim

__all__ = [
    "Answers",
    "BundleVictim",
    "CallableVictim",
    "Connection",
    "External",
    "HttpVictim",
    "Line",
    "Port",
    "Question",
    "Victim",
    "connect",
    "named_victim",
    "read_answer",
    "read_rows",
]
