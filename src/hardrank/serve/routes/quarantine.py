"""`/v1/quarantine`: what waits for a person."""

import re
from collections import Counter
from difflib import SequenceMatcher
from typing import Annotated, Any, Literal

from fastapi import Path, Query, Request

from hardrank.serve.answers import Json
from hardrank.serve.guarded_route import guarded, key_of
from hardrank.serve.records import QuarantineRow
from hardrank.serve.schemas import Decided, QuarantineList
from hardrank.serve.service import Service

__all__ = ["pieces", "router"]

router = guarded("review", "quarantine")

_TOKEN = re.compile(r"\s+|\w+|[^\w\s]")
_TOKENS = 400
"""Tokens compared of each side; texts beyond are shown as one piece."""
_PAIRS = 4_000
"""As `_TOKENS`, for texts that repeat themselves: a seller could make a reviewer wait."""


@router.get("/v1/quarantine", response_model=QuarantineList)
async def waiting(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    after: Annotated[int, Query(ge=0, le=1 << 53)] = 0,
) -> Json:
    """Cases that wait, oldest first, each with what would change."""
    service: Service = request.app.state.service

    def work() -> dict[str, Any]:  # texts are compared away from the event loop
        rows = service.store.quarantine(limit, after)
        last = rows[-1].id if len(rows) == limit else None
        return {"rows": [_told(row) for row in rows], "after": last}

    return Json(await service.on_store(work))


@router.post("/v1/quarantine/{case}/{action}", response_model=Decided)
async def decide(
    case: Annotated[int, Path(ge=1, le=1 << 53)],
    action: Literal["admit", "reject"],
    request: Request,
) -> Json:
    """Let the text stand, or refuse it; noted in the audit log under the key's id. 404: no
    such case; 409: closed already."""
    service: Service = request.app.state.service
    who = key_of(request).id
    state = await service.on_writer(service.ingest.decide, case, action, who)
    service.metrics.decisions.labels(action).inc()
    return Json({"id": case, "state": state})


def pieces(before: str, after: str) -> list[tuple[str, str]]:
    """(`same`, `removed` or `added`; text) by words; put together without the removed they
    are `after`, without the added `before`."""
    a, b = _TOKEN.findall(before), _TOKEN.findall(after)
    if len(a) > _TOKENS or len(b) > _TOKENS or _pairs(a, b) > _PAIRS:
        return [("removed", before), ("added", after)] if before != after else [("same", after)]
    out = list[tuple[str, str]]()
    for kind, a0, a1, b0, b1 in SequenceMatcher(str.isspace, a, b, autojunk=False).get_opcodes():
        if kind == "equal":
            out.append(("same", "".join(a[a0:a1])))
            continue
        if a1 > a0:
            out.append(("removed", "".join(a[a0:a1])))
        if b1 > b0:
            out.append(("added", "".join(b[b0:b1])))
    return out


def _pairs(a: list[str], b: list[str]) -> int:
    """Equal tokens, each with each: what the comparison has to go through again and again."""
    left, right = Counter(a), Counter(b)
    return sum(n * right[token] for token, n in left.items() if not token.isspace())


def _told(row: QuarantineRow) -> dict[str, Any]:
    before = row.before or {}
    names = dict.fromkeys([*before, *row.after])
    return {
        "id": row.id, "item_id": row.item_id, "before": row.before, "after": row.after,
        "diff": {
            name: pieces(before.get(name, ""), row.after.get(name, "")) for name in names
            if before.get(name, "") != row.after.get(name, "")
        },
        "guard": row.guard, "score": row.score, "reason": row.reason, "created": row.created,
        "spans": [list(span) for span in row.spans],
    }  # fmt: skip
