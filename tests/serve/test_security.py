"""What must hold for every route and every file, also those that come later."""

import ast
import hmac
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

import hardrank
from hardrank.models import Tfidf
from hardrank.serve.guarded_route import GuardedRoute
from hardrank.serve.store import Store
from hardrank.testing.process import ROLES, Process
from hardrank.testing.service import Served, served, toy_bundle

_SOURCES = sorted(Path(hardrank.__file__).parent.rglob("*.py"))
_OPEN = ("/v1/health", "/v1/health/live", "/v1/health/ready")
"""Routes without a key, beside the files of the console."""
_CONSOLE = "/console"
_MARK = "reflect-me-7c1"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_bundle(tmp_path_factory.mktemp("bundles") / "live", Tfidf())


@pytest.fixture(scope="module")
def shop(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    store = tmp_path_factory.mktemp("store") / "s.db"
    with served(bundle, store, rate=1e6, burst=10**6, refusals=10**6) as made:
        yield made


def _routes(shop: Served) -> list[BaseRoute]:
    """All of them, however deep they are mounted."""
    found, waiting = list[BaseRoute](), list(shop.app.routes)
    while waiting:
        route = waiting.pop()
        inside = getattr(route, "original_router", None) or route
        inner = list(getattr(inside, "routes", None) or [])
        waiting += inner
        found += [] if inner else [route]
    return found


def _calls(route: Any) -> Iterator[tuple[str, str]]:
    """(method, a path of the route)."""
    values = {"action": "admit", "case": "1", "by": "item"}
    path = re.sub(r"\{(\w+)(:\w+)?\}", lambda m: values.get(m[1], "x"), route.path)
    for method in sorted((route.methods or set()) - {"HEAD"}):
        yield method, path


def _guarded(shop: Served) -> list[GuardedRoute]:
    return [route for route in _routes(shop) if isinstance(route, GuardedRoute)]


def _ask(shop: Served, key: str | None, method: str, path: str, **more: Any) -> Any:
    head = {} if key is None else {"Authorization": f"Bearer {key}"}
    return shop.client.request(method, path, headers={**head, **more.pop("headers", {})}, **more)


def test_every_route_has_a_role_or_is_known_to_be_open(shop: Served) -> None:
    routes = _routes(shop)
    assert len(_guarded(shop)) >= 14
    for route in routes:
        if isinstance(route, GuardedRoute):
            assert route.role in ROLES
            continue
        path = str(getattr(route, "path", "?"))
        assert path in _OPEN or path == _CONSOLE or path.startswith(f"{_CONSOLE}/"), route
        assert not isinstance(route, APIRoute) or route.methods <= {"GET", "HEAD"}, route


def test_only_the_role_of_a_route_and_admins_come_in(shop: Served) -> None:
    for route in _guarded(shop):
        for method, path in _calls(route):
            for none in (None, "", "x", "hr_000000000000_" + "a" * 43):
                assert _ask(shop, none, method, path).status_code == 401, (method, path)
            for role in ROLES:
                status = _ask(shop, shop.keys[role], method, path, content=b"?").status_code
                allowed = role in (route.role, "admin")
                assert (status != 403) is allowed and status != 401, (method, path, role, status)


def test_no_body_is_read_before_the_key(shop: Served) -> None:
    """Endless bodies of strangers cost nothing."""

    def endless() -> Iterator[bytes]:
        raise AssertionError("somebody read it")
        yield b""

    for route in _guarded(shop):
        for method, path in _calls(route):
            if method in ("POST", "PUT"):
                said = {"Content-Length": "999999999999"}
                assert _ask(shop, None, method, path, headers=said).status_code == 401


def test_every_answer_says_that_it_is_not_to_be_guessed_or_kept(shop: Served) -> None:
    for route in _routes(shop):
        for method, path in _calls(route):
            for key in (None, shop.keys["read"]):
                answer = _ask(shop, key, method, path)
                assert answer.headers["x-content-type-options"] == "nosniff", path
                if path.startswith(_CONSOLE):
                    continue
                assert answer.headers["cache-control"] == "no-store", path
    assert _ask(shop, None, "GET", "/nowhere").headers["x-content-type-options"] == "nosniff"


def test_no_refusal_says_back_what_was_sent(shop: Served) -> None:
    inner = {"a": _MARK, _MARK: 1, "user_id": {"b": _MARK}, "items": _MARK, "fields": {_MARK: 1}}
    bodies: list[bytes] = [json.dumps(inner).encode(), _MARK.encode(), f'{{"{_MARK}'.encode()]
    bodies += [json.dumps({"filters": {_MARK: [_MARK]}, "bundle": f"/{_MARK}"}).encode()]
    refused = 0
    for route in _guarded(shop):
        for method, path in _calls(route):
            path = path.replace("/x", f"/{_MARK}").replace("/1/", f"/{_MARK}/")
            for body in bodies:
                head = {"Content-Type": "application/json", "X-Other": _MARK}
                answer = _ask(shop, shop.keys["admin"], method, f"{path}?limit={_MARK}",
                              content=body, headers=head)  # fmt: skip
                if answer.status_code >= 400:
                    refused += 1
                    assert _MARK not in answer.text, (method, path, answer.text)
                    assert _MARK not in str(answer.headers)
    assert refused > 30
    for key in (_MARK, f"hr_{_MARK}"):
        assert _MARK not in _ask(shop, key, "GET", f"/{_MARK}").text
        assert _MARK not in _ask(shop, key, "GET", "/metrics").text


def test_a_key_is_compared_in_constant_time_known_id_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One comparison of full length by `hmac.compare_digest`, whatever is wrong."""
    with Store.open(tmp_path / "s.db") as store:
        key = store.add_key("k", "read")
        revoked = store.add_key("r", "read")
        store.revoke_key(revoked.split("_")[1], who="test")
        compared, real = list[tuple[str, str]](), hmac.compare_digest

        def watched(a: str, b: str) -> bool:
            compared.append((a, b))
            return real(a, b)

        monkeypatch.setattr(hmac, "compare_digest", watched)
        id = key.split("_")[1]
        for asked in (key, revoked, f"hr_{id}_{'a' * 43}", f"hr_{'0' * 12}_{'a' * 43}"):
            assert (store.key_of(asked) is not None) is (asked == key)
        assert len(compared) == 4 and all(len(a) == len(b) == 64 for a, b in compared)
    tree = ast.parse((Path(hardrank.__file__).parent / "serve" / "keys.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and any(isinstance(o, ast.Eq) for o in node.ops):
            assert "digest" not in ast.unparse(node)


def _name(node: ast.AST) -> str:
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


_FORBIDDEN = ("pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal")


def _unsafe(node: ast.AST) -> str:
    """What reads as code that somebody else may have written."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        names = [node.module or ""]
    else:
        names = []
    if bad := [name for name in names if name.split(".")[0] in _FORBIDDEN]:
        return f"imports {bad[0]}"
    if not isinstance(node, ast.Call):
        return ""
    name = _name(node.func)
    said = {k.arg: ast.unparse(k.value) for k in node.keywords}
    if name in ("eval", "exec", "os.system", "os.popen", "__import__"):
        return name
    if name == "compile":
        return name
    if name.startswith("subprocess.") and said.get("shell", "False") != "False":
        return "shell=True"
    if name.endswith("torch.load") or name == "torch.load":
        return "" if said.get("weights_only") == "True" else "torch.load without weights_only"
    if name.startswith(("np.", "numpy.")) and said.get("allow_pickle", "False") != "False":
        return "allow_pickle"
    if name in ("yaml.load", "yaml.unsafe_load", "yaml.full_load", "pd.read_pickle"):
        return name
    return "trust_remote_code" if said.get("trust_remote_code", "False") != "False" else ""


def test_nothing_that_is_read_is_run() -> None:
    assert len(_SOURCES) > 300
    found = [
        f"{file.name}:{getattr(node, 'lineno', 0)}: {what}"
        for file in _SOURCES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if (what := _unsafe(node))
    ]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle", "from joblib import load", "eval(x)", "exec(x)", "torch.load(p)",
        "torch.load(p, weights_only=False)", "np.load(p, allow_pickle=True)", "yaml.load(x)",
        "subprocess.run(x, shell=True)", "os.system(x)", "AutoModel.of(x, trust_remote_code=True)",
    ],
)  # fmt: skip
def test_the_look_at_the_code_sees(code: str) -> None:
    assert any(_unsafe(node) for node in ast.walk(ast.parse(code)))


def test_an_erased_user_is_in_no_memory_of_answers(bundle: Path, tmp_path: Path) -> None:
    """Remembered answers, histories and the bundle's log: nothing of the user is used, and the
    lists are those of a stranger."""
    with served(bundle, tmp_path / "s.db") as shop:
        service = shop.app.state.service
        asked = {"user_id": "u1", "k": 5}
        before = shop.ask("read", "POST", "/v1/recommend", json=asked).json()
        stranger = shop.ask("read", "POST", "/v1/recommend", json={**asked, "user_id": "new"})
        assert before["items"] != stranger.json()["items"]
        assert service._remembered.user_of(json.dumps(asked, separators=(",", ":")).encode())[0]
        assert shop.ask("admin", "DELETE", "/v1/users/u1").json()["removed"]["bundled"] > 0
        assert service.histories.get("u1") is None and service.histories.stale("u1") is None
        assert service.live.engine.bundled_history("u1") == []
        assert not service._remembered._kept
        after = shop.ask("read", "POST", "/v1/recommend", json=asked).json()
        assert after["items"] == stranger.json()["items"]


@pytest.mark.slow
def test_no_secret_and_no_person_is_in_the_log(bundle: Path, tmp_path: Path, postgres: Any) -> None:
    """With --verbose: keys, the password of the database, address and secret of the webhook,
    user ids, texts; also while the database is away."""
    word, token, sign = "pass-word-of-the-db", "token-in-the-address", "secret-of-the-webhook"
    url = postgres.new_database().replace("postgres:@", f"postgres:{word}@")
    assert word in url
    more = {
        "webhook": f"http://127.0.0.1:9/{token}", "webhook_secret": sign, "key_seconds": 0.2,
        "history_seconds": 0.2,
    }  # fmt: skip
    user, text = "person-4711", "words-of-a-listing"
    with Process(bundle, url, tmp_path, **more) as process:
        process.start(arguments=("--verbose",))
        event = {"event_id": "e-4711", "user_id": user, "item_id": "i1", "time": 1}
        for _ in range(2):
            process.ask("ingest", "POST", "/v1/events", {"events": [event]})
            process.ask("ingest", "PUT", f"/v1/items/{text}", {"fields": {"title": text}})
            process.ask("read", "POST", "/v1/recommend", {"user_id": user})
            process.ask("read", "POST", "/v1/recommend", {"user_id": {"x": text}})
            process.ask("read", "GET", f"/v1/{text}?key={process.keys['admin']}")
            process.ask("admin", "DELETE", f"/v1/users/{user}")
            process.ask("admin", "POST", "/v1/bundle", {"bundle": text})
            postgres.stop()
        postgres.start()
        log = process.log.read_text()
    assert '"event":"request"' in log and "recommend" in log
    for secret in (word, token, sign, user, text, "e-4711", *process.keys.values()):
        assert secret not in log, secret
    for key in process.keys.values():
        assert key.split("_", 2)[2] not in log
