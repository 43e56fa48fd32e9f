"""Guards of the live service: what stands between a seller's texts and the catalogue."""

from hardrank.guards.base import Action, Guard, Listing, Shop, Verdict, admit, worst

__all__ = ["Action", "Guard", "Listing", "Shop", "Verdict", "admit", "worst"]
