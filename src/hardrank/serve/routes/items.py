"""`/v1/items`: create, rewrite, delete, one or many."""

from collections.abc import Iterator
from typing import Annotated, Any

import orjson
from fastapi import Path, Request
from pydantic import ValidationError

from hardrank.errors import DataError
from hardrank.serve.answers import Json, Refused
from hardrank.serve.guarded_route import guarded, key_of
from hardrank.serve.ingest import Put
from hardrank.serve.records import KeyRow
from hardrank.serve.schemas import Id, ItemAck, ItemIn, ItemLine, ItemOut
from hardrank.serve.service import Service

__all__ = ["bulk", "router"]

router = guarded("ingest", "items")
bulk = guarded("ingest", "items", bulk=True)

_TOGETHER = 256
"""Lines that are judged and kept at once."""
_LINES = 20_000
ItemId = Annotated[Id, Path(description="May hold slashes.")]


@router.put("/v1/items/{item_id:path}", response_model=ItemAck)
async def put(item_id: ItemId, item: ItemIn, request: Request) -> Json:
    """Create the item, or rewrite the fields named. `quarantined`: the text waits for a
    person, and what stood before still stands."""
    service: Service = request.app.state.service
    _needs_a_catalogue(service)
    done = await _put(service, [(item_id, item.fields)], key_of(request))
    return Json(_told(done[0]))


@router.get("/v1/items/{item_id:path}", response_model=ItemOut)
async def get(item_id: ItemId, request: Request) -> Json:
    """The item as it stands."""
    service: Service = request.app.state.service
    kept = await service.on_store(service.store.item, item_id)
    if kept is not None:
        return Json({"item_id": item_id, "state": kept.state, "fields": kept.fields})
    fields = service.live.fields(item_id)
    if fields is None:
        raise Refused(404, "there is no such item")
    return Json({"item_id": item_id, "state": "live", "fields": fields})


@router.delete("/v1/items/{item_id:path}", response_model=ItemAck)
async def delete(item_id: ItemId, request: Request) -> Json:
    """Listed no more, from now on. 404 where nothing stood or waited."""
    service: Service = request.app.state.service
    _needs_a_catalogue(service)
    there = await service.on_writer(service.ingest.delete, item_id, key_of(request).id)
    if not there:
        raise Refused(404, "there is no such item")
    service.metrics.items.labels("deleted", "").inc()
    return Json(_gone(item_id))


@bulk.post(
    "/v1/items",
    response_description="NDJSON: one result for each line, in order.",
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": 'Lines of {"item_id": ..., "fields": {...}} or '
            '{"item_id": ..., "delete": true}.',
            "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
        }
    },
)
async def many(request: Request) -> Json:
    """Each line stands for itself: a bad one is refused, the others are done, in order. Each counts
    against the key's quota."""
    service: Service = request.app.state.service
    _needs_a_catalogue(service)
    body = await request.body()
    if body.count(b"\n") > _LINES:  # not to split 16 MB of empty lines
        raise Refused(422, f"give 1 to {_LINES} lines")
    lines = body.split(b"\n")
    if lines and not lines[-1].strip():
        lines.pop()
    if not 1 <= len(lines) <= _LINES:
        raise Refused(422, f"give 1 to {_LINES} lines")
    await service.door.charge(key_of(request), len(lines) - 1)
    out: list[dict[str, Any]] = [{} for _ in lines]
    for group in _groups(lines, out):
        await _do(service, group, out, key_of(request))
    answer = Json(b"\n".join(map(orjson.dumps, out)) + b"\n")
    answer.headers["content-type"] = "application/x-ndjson"
    return answer


def _needs_a_catalogue(service: Service) -> None:
    """Before the bundle is loaded no guard could compare a rewrite with what stands."""
    if not service.ready:
        raise Refused(503, "the catalogue is being loaded; try again", Retry_After="2")


def _groups(lines: list[bytes], out: list[dict[str, Any]]) -> Iterator[list[tuple[int, ItemLine]]]:
    """Good lines in runs that name an item once and hold either texts or deletions; bad
    ones are answered at once."""
    group, names, deletes = list[tuple[int, ItemLine]](), set[str](), False
    for n, raw in enumerate(lines):
        line = _read(raw)
        if isinstance(line, str):
            out[n] = {"line": n + 1, "state": "refused", "reason": line}
            continue
        if group and (line.item_id in names or line.delete != deletes or len(group) >= _TOGETHER):
            yield group
            group, names = [], set()
        deletes = line.delete
        group.append((n, line))
        names.add(line.item_id)
    if group:
        yield group


def _read(raw: bytes) -> ItemLine | str:
    """The line, or what is wrong with it, without what it says."""
    try:
        return ItemLine.model_validate(orjson.loads(raw))
    except orjson.JSONDecodeError:
        return "is not JSON"
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part)[:64] for part in first["loc"])
        return f"{where}: {first['msg']}" if where else first["msg"]


async def _do(
    service: Service, group: list[tuple[int, ItemLine]], out: list[dict[str, Any]], key: KeyRow
) -> None:
    if group[0][1].delete:
        for n, line in group:
            there = await service.on_writer(service.ingest.delete, line.item_id, key.id)
            state = _gone(line.item_id) if there else _gone(line.item_id, "missing")
            out[n] = {"line": n + 1, **state}
        return
    wanted = [(line.item_id, line.fields or {}) for _, line in group]
    try:
        done = await _put(service, wanted, key)
    except DataError as error:  # a text that the store does not take: each on its own
        if len(group) > 1:
            for one in group:
                await _do(service, [one], out, key)
            return
        out[group[0][0]] = {"line": group[0][0] + 1, "state": "refused", "reason": str(error)}
        return
    for (n, _), put in zip(group, done, strict=True):
        out[n] = {"line": n + 1, **_told(put)}


async def _put(
    service: Service, wanted: list[tuple[str, dict[str, str]]], key: KeyRow
) -> list[Put]:
    for item_id, fields in wanted:
        if service.probes.wrote(key.name, item_id, fields):
            service.metrics.probes.inc()
            await service.on_store(service.store.note, key.id, "probing", item_id)
    done = await service.on_writer(service.ingest.put, wanted)
    service.watching.wrote(wanted, done)
    for put in done:
        service.metrics.items.labels(put.state, put.verdict.guard).inc()
    return done


def _told(put: Put) -> dict[str, Any]:
    """Which guard objects, not by how much: scores and places are for reviewers, since they
    would lead whoever tunes a text."""
    guard = put.verdict.guard if put.verdict.action != "admit" else ""
    return {
        "item_id": put.item_id, "state": put.state, "reason": guard,
        "recommendable": put.recommendable,
    }  # fmt: skip


def _gone(item_id: str, state: str = "deleted") -> dict[str, Any]:
    return {"item_id": item_id, "state": state, "reason": "", "recommendable": False}
