"""`/v1/playground`: what an edit would do. Nothing is stored and no item changes."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import polars as pl
from fastapi import Query, Request

from hardrank.guards.base import Verdict
from hardrank.serve.answers import Json, Refused
from hardrank.serve.asks import Ask
from hardrank.serve.console_schemas import ItemChoices, PlaygroundIn, PlaygroundOut
from hardrank.serve.engine import Engine
from hardrank.serve.guarded_route import guarded
from hardrank.serve.playground import Person, Placed, TrialModel, Tried, sampled
from hardrank.serve.service import Service

__all__ = ["router"]

router = guarded("review", "playground")

_SHOWN, _CHOICES, _RECENT = 8, 20, 3
_WAITING = 4
"""Edits being tried at once; each takes the thread that writes items for a moment."""


@router.get("/v1/playground/items", response_model=ItemChoices)
async def choices(
    request: Request, q: Annotated[str, Query(max_length=200)] = ""
) -> Json:  # fmt: skip
    """Live items whose title or id holds `q`; the most popular ones for an empty `q`."""
    service: Service = request.app.state.service
    popular = service.live.popular
    if not q.strip():
        found = [(one.item_id, one.title) for one in popular.recommend(Ask(k=_CHOICES)).items]
    else:
        found = await service.on_store(_search, popular.frame, q.strip())
    return Json({"items": [{"item_id": i, "title": t} for i, t in found]})


@router.post("/v1/playground", response_model=PlaygroundOut)
async def play(asked: PlaygroundIn, request: Request) -> Json:
    """Ranks, scores and exposure of one item before and after an edit, on the live model and on
    an undefended one, and what the guards would say. 404: no such live item; 422: the item has
    no such text; 503: no model yet, or too many at once."""
    service: Service = request.app.state.service
    engine, standing = service.live.engine, service.live.fields(asked.item_id)
    if engine is None:
        raise Refused(503, "the model is being loaded; try again", Retry_After="2")
    if standing is None:
        raise Refused(404, "there is no such live item")
    columns = _text_columns(engine, standing)
    if not set(asked.fields) <= set(columns):
        raise Refused(422, f"texts of an item are: {', '.join(columns)}")
    if service.playground.trying >= _WAITING:
        raise Refused(503, "too many edits are being tried; try again", Retry_After="1")
    service.playground.trying += 1
    try:
        return Json(await _tried(service, engine, asked, standing, columns))
    finally:
        service.playground.trying -= 1


async def _tried(
    service: Service, engine: Engine, asked: PlaygroundIn, standing: dict[str, str],
    columns: list[str],
) -> dict[str, Any]:  # fmt: skip
    sample = await service.on_store(sampled, engine)
    chosen = sample[:_SHOWN] if asked.user_ids is None else [
        await _person(service, user) for user in dict.fromkeys(asked.user_ids)
    ]  # fmt: skip
    people, edited = [*sample, *chosen], {**standing, **asked.fields}
    gone = [engine.catalogue.ids[row] for row in set(engine.catalogue.dead)]
    question = (asked.item_id, standing, edited, people, gone)

    def on_live() -> tuple[Tried, Verdict | None]:
        said = service.ingest.judge(asked.item_id, asked.fields) if asked.fields else None
        return service.playground.live(engine).tried(*question), said

    # On the thread that writes items: there the guards ask the same model.
    live, control = await asyncio.gather(
        service.on_writer(on_live), _on_control(service, question)
    )  # fmt: skip
    tried, said = live
    state = service.playground.control_state
    if control is None and state == "ready":  # it came while the live model was asked
        state = "loading"
    titles = {name: _title(service, name) for p in chosen for name in p.history[-_RECENT:]}
    return {
        "item_id": asked.item_id, "standing": standing, "text_columns": columns,
        "live": _side(tried, len(sample), chosen, titles),
        "control": None if control is None else _side(control, len(sample), chosen, titles),
        "control_state": state,
        "verdict": _said(said, service.ingest.guarded), "sample": len(sample),
        "items": engine.live_items,
    }  # fmt: skip


async def _on_control(service: Service, question: tuple[Any, ...]) -> Tried | None:
    model = service.playground.control()
    if model is None:
        return None
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(service.playground.thread, _ask, model, question)


def _ask(model: TrialModel, question: tuple[Any, ...]) -> Tried:
    return model.tried(*question)


async def _person(service: Service, user_id: str) -> Person:
    known = await service.past(user_id)
    return Person(user_id, known.items, known.fresh)


def _side(
    tried: Tried, sample: int, chosen: Sequence[Person], titles: Mapping[str, str]
) -> dict[str, Any]:
    all_of_them, both = slice(0, sample), (tried.before, tried.after)
    return {
        "er10": [placed.exposure(10, all_of_them) for placed in both],
        "er50": [placed.exposure(50, all_of_them) for placed in both],
        "known": tried.known, "reads": list(tried.reads),
        "users": [
            {
                "user_id": person.user_id,
                "recent": [titles[name] for name in reversed(person.history[-_RECENT:])],
                "before": _spot(tried.before, n), "after": _spot(tried.after, n),
            } for n, person in enumerate(chosen, sample)
        ],
    }  # fmt: skip


def _spot(placed: Placed, n: int) -> dict[str, Any]:
    rank, score = int(placed.ranks[n]), float(placed.scores[n])
    return {"rank": rank or None, "score": score if np.isfinite(score) else None}


def _said(verdict: Verdict | None, guarded: bool) -> dict[str, Any]:
    if verdict is None:
        return {"action": "admit" if guarded else "none", "guard": "", "score": 0.0, "reason": "",
                "spans": [], "fields": None}  # fmt: skip
    return {
        "action": verdict.action, "guard": verdict.guard, "score": float(verdict.score),
        "reason": verdict.reason, "spans": [list(span) for span in verdict.spans],
        "fields": None if verdict.fields is None else dict(verdict.fields),
    }  # fmt: skip


def _text_columns(engine: Engine, standing: Mapping[str, str]) -> list[str]:
    """Columns of the item that hold words, the title first."""
    schema = engine.bundle.recommender.items.schema
    words = [name for name in standing if schema.get(name, pl.Utf8()) == pl.Utf8()]
    return sorted(words, key=lambda name: name != "title")


def _title(service: Service, item_id: str) -> str:
    fields = service.live.fields(item_id)
    return item_id if fields is None else fields.get("title") or item_id


def _search(frame: Any, q: str) -> list[tuple[str, str]]:
    items = frame()
    if "title" not in items.columns:
        items = items.with_columns(title=pl.lit(""))
    holds = pl.col("title").str.to_lowercase().str.contains(q.lower(), literal=True)
    found = items.filter(holds | (pl.col("item_id") == q)).head(_CHOICES)
    return list(found.select("item_id", "title").iter_rows())
