"""What Prometheus may scrape. Labels are routes, states and guards: no id of anybody."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics"]

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """One registry for one application, so that two in one process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "hardrank_requests", "Requests answered.", ("route", "method", "status"),
            registry=self.registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "hardrank_request_seconds", "Time to the end of the answer.", ("route",),
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self.answers = Counter(
            "hardrank_answers", "Recommendations by who made them.", ("source",),
            registry=self.registry,
        )  # fmt: skip
        self.batches = Histogram(
            "hardrank_batch_size", "Requests in one pass of the model.",
            buckets=(1, 2, 4, 8, 16, 32, 64), registry=self.registry,
        )  # fmt: skip
        self.events = Counter(
            "hardrank_events", "Events: new, known before (no), or held.", ("new",),
            registry=self.registry,
        )  # fmt: skip
        self.reviews = Counter(
            "hardrank_reviews", "Reviews: kept, known before, or held.", ("what",),
            registry=self.registry,
        )  # fmt: skip
        self.items = Counter(
            "hardrank_items", "Listings by what became of them.", ("state", "guard"),
            registry=self.registry,
        )  # fmt: skip
        self.decisions = Counter(
            "hardrank_decisions", "Quarantine decisions.", ("action",), registry=self.registry
        )
        self.probes = Counter("hardrank_probing", "Keys found to probe.", registry=self.registry)
        self.swaps = Counter(
            "hardrank_swaps", "Bundle swaps by outcome.", ("outcome",), registry=self.registry
        )
        self.alarms = Counter(
            "hardrank_alarms", "Alarms of monitors that began.", ("kind",), registry=self.registry
        )
        self.standing = Gauge(
            "hardrank_standing_alarms", "Alarms that hold now.", registry=self.registry
        )
        self.in_flight = Gauge(
            "hardrank_in_flight", "Requests being answered.", registry=self.registry
        )
        self.ready = Gauge("hardrank_ready", "1 where the model answers.", registry=self.registry)
        self.live = Gauge(
            "hardrank_live_items", "Items that can be listed.", registry=self.registry
        )
        self._observed: dict[tuple[str, str, int], Callable[[float], None]] = {}

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        """One answered request; label look-ups are remembered, they cost more than counting."""
        key = (route, method, status)
        seen = self._observed.get(key)
        if seen is None:
            count = self.requests.labels(route, method, str(status)).inc
            time = self.seconds.labels(route).observe

            def seen(value: float) -> None:
                count()
                time(value)

            self._observed[key] = seen
        seen(seconds)

    def text(self) -> bytes:
        return generate_latest(self.registry)
