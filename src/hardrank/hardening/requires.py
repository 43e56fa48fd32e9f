"""What an objective needs of a network, asked before training."""

from hardrank.errors import Unsupported
from hardrank.training.objective import PredictiveNetwork, TrainableNetwork
from hardrank.types import Site

__all__ = ["require_predictions", "require_site"]


def require_site(network: TrainableNetwork, site: Site, kind: str) -> None:
    """Raises `Unsupported` that names the sites there are."""
    if site not in network.sites:
        have = ", ".join(network.sites) or "none"
        raise Unsupported(f"'{kind}': this model has no site '{site}'; it has: {have}")


def require_predictions(network: TrainableNetwork, kind: str) -> None:
    """Raises `Unsupported` for a network without rows of logits."""
    if not isinstance(network, PredictiveNetwork):
        raise Unsupported(
            f"'{kind}' compares whole rankings, and this model scores pairs only; "
            "use 'adversarial' or 'apr', or a sequence model"
        )
