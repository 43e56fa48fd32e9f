"""Which bundle is live: promoted with its decision, or back to the former one."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from hardrank.bundle import load_bundle
from hardrank.context import RunContext
from hardrank.errors import BundleError, HardrankError
from hardrank.experiment.retrain_decision import decided
from hardrank.files import digest_file
from hardrank.serve.errors import Conflict

if TYPE_CHECKING:
    from hardrank.serve.store import Store

__all__ = ["Refused", "promote_bundle"]


class Refused(HardrankError):
    """A bundle may not go live; says why, and how it may all the same."""


def promote_bundle(
    folder: Path, store: "Store", *, who: str, force: str | None = None, live: str | None = None
) -> str:
    """The digest of the bundle, which running services load from now on.

    It must load whole, have been decided for against the bundle that is live, and the first
    one of a store needs no decision. force: the reason to promote it without; it is written
    into the audit log. live: digest of a bundle that serves though no promotion said so; it
    becomes the one to go back to, as does, of a store without a live one, the bundle that this
    one was compared with. What was live when it was decided must be live still when it is
    written down, or somebody else promoted meanwhile. Raises `Refused`, `BundleError`,
    `StoreError`.
    """
    about = load_bundle(folder, RunContext()).about
    digest = digest_file(folder / "SHA256SUMS")
    standing = store.bundles()[0]
    try:
        if standing is None and live is not None:
            store.promote(live, who=who, expected=None)
            standing = live
        if digest == standing:
            return digest
        why = _against(folder, about, standing)
        if why and not force:
            raise Refused(
                f"{folder} stays as it is: {why}; --force REASON promotes it all the same"
            )
        verdict = decided(about, folder)
        store.promote(
            digest, who=who, expected=standing,
            before=None if verdict is None else verdict.champion,
            forced={"reason": force, "against": why or "nothing"} if force else None,
        )  # fmt: skip
    except Conflict as error:
        raise Refused(f"{folder} stays as it is: {error}; look at that one, then retry") from error
    return digest


def _against(folder: Path, about: object, standing: str | None) -> str | None:
    if beyond := _beyond(folder):
        return beyond
    verdict = decided(about, folder)
    if verdict is None:
        return None if standing is None else "no retraining compared it with the live bundle"
    if not verdict.decision.promote:
        return "; ".join(verdict.decision.reasons)
    if standing is not None and verdict.champion != standing:
        return (
            f"it was compared with {verdict.champion[:12]}, and {standing[:12]} is live: "
            "retrain against that one"
        )
    return None


def _beyond(folder: Path) -> str | None:
    """A compressed bundle keeps the decision on the one that it was made from, which says
    nothing of one that lost more than `hardrank compress` allows."""
    path = folder / "compression.json"
    if not path.is_file():
        return None
    try:
        wrong = [str(reason) for reason in json.loads(path.read_bytes())["refusals"]]
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path}: cannot be read ({error!r})") from error
    return f"it was compressed beyond the limits: {'; '.join(wrong)}" if wrong else None
