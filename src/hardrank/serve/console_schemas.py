"""What the console asks and is told."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from hardrank.serve.schemas import Column, Id, Text

__all__ = [
    "AuditEntry",
    "AuditList",
    "ItemChoice",
    "ItemChoices",
    "Overview",
    "PlaygroundIn",
    "PlaygroundOut",
    "ReportLink",
]

Edited = Annotated[Text, StringConstraints(max_length=5_000)]


class _Out(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class PlaygroundIn(BaseModel):
    """An edit that nobody makes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    item_id: Id
    fields: Annotated[dict[Column, Edited], Field(max_length=8)] = Field(
        default_factory=dict, description="Texts as they would read; the others stay."
    )
    user_ids: Annotated[list[Id], Field(max_length=50)] | None = Field(
        None, description="Whose ranks to tell, one by one; null: some of the sample."
    )


class Spot(_Out):
    rank: int | None = Field(description="From 1; null where the user has had the item.")
    score: float | None


class Seen(_Out):
    user_id: str
    recent: list[str] = Field(description="Titles of the newest items of the history.")
    before: Spot
    after: Spot


class Side(_Out):
    """One model. Exposures are (before, after), null where every user has had the item."""

    er10: tuple[float | None, float | None]
    er50: tuple[float | None, float | None]
    users: list[Seen]
    known: bool = Field(description="Whether the model was trained with the item.")
    reads: list[str] = Field(description="Columns of text that the model reads.")


class Said(_Out):
    action: Literal["none", "admit", "mend", "quarantine"] = Field(
        description="`none`: no guard stands at the door."
    )
    guard: str = ""
    score: float = 0.0
    reason: str = ""
    spans: list[tuple[str, int, int]] = Field(default_factory=list)
    fields: dict[str, str] | None = Field(None, description="All texts, where it would mend them.")


class PlaygroundOut(_Out):
    item_id: str
    standing: dict[str, str] = Field(description="What the item says now.")
    text_columns: list[str]
    live: Side
    control: Side | None
    control_state: Literal["none", "loading", "ready", "failed"]
    verdict: Said
    sample: int = Field(description="Users behind the exposures.")
    items: int = Field(description="Live items.")


class ItemChoice(_Out):
    item_id: str
    title: str


class ItemChoices(_Out):
    items: list[ItemChoice]


class RouteLoad(_Out):
    route: str
    requests: int
    refused: int = Field(description="Answers with status 400 to 499.")
    failed: int = Field(description="Answers with status 500 and above.")
    p50_ms: float | None
    p99_ms: float | None


class Bucket(_Out):
    le_ms: float | None = Field(description="Upper end; null for the open one.")
    count: int = Field(description="Requests in it, not below it.")


class Stored(_Out):
    events: int
    users: int
    reviews: int
    live: int
    waiting: int
    erased: int


class Overview(_Out):
    """Health and load since the process started."""

    ready: bool
    bundle: str
    model: str
    version: str
    uptime: float = Field(description="Seconds.")
    guarded: bool
    standing: dict[str, int] = Field(
        description="Texts of the bundle itself when it was loaded: looked at, held for a person, "
        "left as they are though doubtful or not looked at. See the setting `authentic`."
    )
    control: Literal["none", "loading", "ready", "failed"]
    live_items: int
    in_flight: int
    store: bool = Field(description="Whether the store answers.")
    stored: Stored | None = Field(description="Counted once a minute; null while that goes on.")
    answers: dict[str, int] = Field(description="By source: model, popularity, remembered.")
    requests: int
    recommend: list[Bucket] = Field(description="Times of `POST /v1/recommend`.")
    routes: list[RouteLoad]
    listings: list[tuple[str, str, int]] = Field(description="(state, guard, how many)")
    decisions: dict[str, int]
    probing: int
    swaps: dict[str, int]


class AuditEntry(_Out):
    id: int
    time: int
    who: str
    name: str = Field(description="Of the key, as it is now; empty where there is none.")
    action: str
    subject: str
    detail: dict[str, str]


class AuditList(_Out):
    rows: list[AuditEntry]
    before: int | None = Field(description="Where the next page begins; null: no more.")


class ReportLink(_Out):
    there: bool
    href: str = Field("", description="Opens the report for a minute, without a key.")
