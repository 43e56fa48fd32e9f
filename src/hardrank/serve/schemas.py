"""What requests and answers may hold: strict types, bounded lengths, no NaN."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

__all__ = [
    "Answer",
    "Because",
    "Decided",
    "Erased",
    "Error",
    "EventAck",
    "EventIn",
    "Events",
    "EventsAck",
    "Health",
    "HeldDecided",
    "HeldDecision",
    "HeldGroup",
    "HeldList",
    "HeldReview",
    "HeldReviewList",
    "Id",
    "ItemAck",
    "ItemIn",
    "ItemOut",
    "Problem",
    "QuarantineList",
    "QuarantineRow",
    "Ranked",
    "RecommendIn",
    "ReviewAck",
    "ReviewIn",
    "Reviews",
    "ReviewsAck",
    "ReviewsDecided",
    "ReviewsDecision",
    "ScoreIn",
    "Scored",
    "SwapIn",
    "Swapped",
]  # fmt: skip

Id = Annotated[
    str,
    StringConstraints(strict=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$"),
]
Column = Annotated[
    str, StringConstraints(strict=True, min_length=1, max_length=64, pattern=r"^[A-Za-z_][\w .-]*$")
]
_PRINTED = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"
Value = Annotated[str, StringConstraints(strict=True, max_length=200, pattern=_PRINTED)]
Text = Annotated[str, StringConstraints(strict=True, max_length=10_000, pattern=_PRINTED)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Weight = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Seconds = Annotated[int, Field(strict=True, ge=0, le=1 << 40)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class RecommendIn(_Model):
    """Who asks: `user_id`, `history` or `text`, one at least."""

    user_id: Id | None = Field(None, description="A user by name: bundle and store know the rest.")
    history: Annotated[list[Id], Field(max_length=500)] | None = Field(
        None, description="Item ids, oldest first; after the user's own, where both are given."
    )
    text: Annotated[Text, Field(min_length=1, max_length=1_000)] | None = Field(
        None, description="What is wanted, in words. Refused where the model reads no text."
    )
    k: Annotated[int, Field(strict=True, ge=1, le=200)] = 10
    filters: Annotated[
        dict[Column, Annotated[list[Value], Field(min_length=1, max_length=100)]],
        Field(max_length=8),
    ] = Field(default_factory=dict, description="Column of the items -> values allowed there.")
    exclude: Annotated[list[Id], Field(max_length=1_000)] = Field(
        default_factory=list, description="Item ids that are not wanted."
    )
    exclude_seen: Annotated[bool, Field(strict=True)] = True
    diversity: Share = Field(
        0.0, description="0 ranks by score alone, 1 by how unlike the items of the list are."
    )
    per_provider: Annotated[int, Field(strict=True, ge=1, le=200)] | None = Field(
        None, description="Items of one seller in the list, at most."
    )
    explain: Annotated[bool, Field(strict=True)] = False

    @model_validator(mode="after")
    def _somebody_asks(self) -> "RecommendIn":
        if self.user_id is None and self.history is None and self.text is None:
            raise ValueError("give user_id, history or text")
        return self


class Because(_Model):
    item_id: str = Field(description="Of the history.")
    similarity: float = Field(description="Cosine of the two items' vectors; 0 without vectors.")
    words: list[str] = Field(description="Words that both texts hold.")


class Ranked(_Model):
    item_id: str
    title: str
    score: float
    because: list[Because] | None = None


class Answer(_Model):
    items: list[Ranked]
    source: Literal["model", "popularity"] = Field(
        description="`popularity` while the model is not ready, too late or failing."
    )
    bundle: str = Field(description="First digits of the digest of the bundle that answered.")


class ScoreIn(_Model):
    user_id: Id | None = None
    history: Annotated[list[Id], Field(max_length=500)] | None = None
    text: Annotated[Text, Field(min_length=1, max_length=1_000)] | None = None
    items: Annotated[list[Id], Field(min_length=1, max_length=1_000)]

    @model_validator(mode="after")
    def _somebody_asks(self) -> "ScoreIn":
        if self.user_id is None and self.history is None and self.text is None:
            raise ValueError("give user_id, history or text")
        return self


class Scored(_Model):
    scores: list[float | None] = Field(description="In the order asked; null: no such live item.")
    source: Literal["model", "popularity"]
    bundle: str


class ItemIn(_Model):
    """Texts and attributes of an item, by column."""

    fields: Annotated[dict[Column, Text], Field(min_length=1, max_length=32)]


class ItemLine(_Model):
    """One line of a bulk request."""

    item_id: Id
    fields: Annotated[dict[Column, Text], Field(min_length=1, max_length=32)] | None = None
    delete: Annotated[bool, Field(strict=True)] = False

    @model_validator(mode="after")
    def _one_of(self) -> "ItemLine":
        if (self.fields is None) != self.delete:
            raise ValueError("give fields, or delete: true")
        return self


class ItemAck(_Model):
    item_id: str
    state: Literal["live", "quarantined", "deleted", "missing"]
    reason: str = Field("", description="The guard that mended or holds it; see the quarantine.")
    recommendable: bool = Field(
        False, description="Live, and the model can rank it: from now on it may be listed."
    )


class ItemOut(_Model):
    item_id: str
    state: str
    fields: dict[str, str]


class EventIn(_Model):
    event_id: Id = Field(description="The same id twice is one event.")
    user_id: Id
    item_id: Id
    time: Seconds = Field(description="Unix seconds.")
    kind: Annotated[str, StringConstraints(strict=True, pattern=r"^[a-z][a-z_-]{0,31}$")] = "view"
    weight: Weight = 1.0


class Events(_Model):
    events: Annotated[list[EventIn], Field(min_length=1, max_length=5_000)]


class EventAck(_Model):
    event_id: str
    new: bool = Field(description="Kept now.")
    held: bool = Field(False, description="Held now: it counts when a person has admitted it.")


class EventsAck(_Model):
    added: int
    known: int
    held: int = Field(description="Events that wait for a person.")
    events: list[EventAck]


class QuarantineRow(_Model):
    id: int
    item_id: str
    before: dict[str, str] | None
    after: dict[str, str]
    diff: dict[str, list[tuple[str, str]]] = Field(
        description="Field -> pieces (`same`, `removed` or `added`; text)."
    )
    guard: str
    score: float
    reason: str
    created: float
    spans: list[tuple[str, int, int]] = Field(
        description="(field, start, end) in characters of `after`: where the guard looked."
    )


class QuarantineList(_Model):
    rows: list[QuarantineRow]
    after: int | None = Field(description="Where the next page begins; null: no more.")


class Decided(_Model):
    id: int
    state: str


class HeldGroup(_Model):
    name: str = Field(description="Id of the item or user.")
    events: int
    users: int
    items: int
    first: int = Field(description="Earliest unix second that the events claim.")
    last: int
    score: float = Field(description="The worst; a half at the limit, 1 for the impossible.")
    reason: str = Field(description="Of the latest.")
    until: int = Field(description="Number of the latest event; see HeldDecision.")


class HeldList(_Model):
    waiting: int = Field(description="All events that wait.")
    groups: list[HeldGroup]


class HeldDecision(_Model):
    """All events that wait of one item, or of one user."""

    by: Literal["item", "user"]
    name: Id
    until: Annotated[int, Field(strict=True, ge=0, le=1 << 53)] | None = Field(
        None, description="Of the list that was looked at: what came later waits on."
    )


class HeldDecided(_Model):
    action: Literal["admit", "reject"]
    events: int = Field(description="Decided now: 10,000 at most, ask again for more.")


class ReviewIn(_Model):
    review_id: Id = Field(description="The same id twice is one review.")
    user_id: Id
    item_id: Id
    text: Text
    time: Seconds = Field(description="Unix seconds.")
    rating: Annotated[float, Field(ge=-1e6, le=1e6)] | None = Field(
        None, description="In the shop's own stars or points."
    )


class Reviews(_Model):
    reviews: Annotated[list[ReviewIn], Field(min_length=1, max_length=500)]


class ReviewAck(_Model):
    review_id: str
    new: bool = Field(description="Kept now.")
    held: bool = Field(False, description="Held now, until a person has decided.")


class ReviewsAck(_Model):
    added: int
    known: int
    held: int = Field(description="Reviews that wait for a person.")
    reviews: list[ReviewAck]


class HeldReview(_Model):
    id: int
    review_id: str
    user_id: str
    item_id: str
    text: str
    rating: float | None
    time: int
    received: int
    score: float = Field(description="A half at the limit.")
    reason: str


class HeldReviewList(_Model):
    waiting: int = Field(description="All reviews that wait.")
    rows: list[HeldReview]
    after: int | None = Field(description="Where the next page begins; null: no more.")


class ReviewsDecision(_Model):
    ids: Annotated[
        list[Annotated[int, Field(strict=True, ge=1, le=1 << 53)]],
        Field(min_length=1, max_length=500),
    ] = Field(description="Numbers out of the list of those that wait.")


class ReviewsDecided(_Model):
    action: Literal["admit", "reject"]
    ids: list[int] = Field(description="Decided now; the others did not wait.")


class SwapIn(_Model):
    bundle: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=200,
                                             pattern=r"^[^\x00-\x1f\x7f]+$")]  # fmt: skip


class Swapped(_Model):
    bundle: str
    seconds: float


class Erased(_Model):
    user_id: str
    removed: dict[str, int]


class Health(_Model):
    status: Literal["live", "ready", "not ready"]
    bundle: str = ""


class Problem(_Model):
    where: str
    what: str


class Error(_Model):
    """Every refusal looks like this."""

    error: str
    problems: list[Problem] = Field(default_factory=list)
