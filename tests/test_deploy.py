"""The deployment files agree with the code: settings, routes, metrics, extras and paths."""

import re
import shlex
import shutil
import subprocess
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from hardrank.serve.metrics import Metrics
from hardrank.serve.routes import ROUTERS
from hardrank.serve.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
SETTINGS = {PREFIX + f.name.upper() for f in fields(Settings)}


def _compose() -> dict[str, Any]:
    found = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def _instructions() -> list[tuple[str, str]]:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines]


def _rules() -> list[dict[str, Any]]:
    found = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text(encoding="utf-8"))
    return [rule for group in found["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("name", ["Dockerfile", "compose.yaml", "example.env", "hardrank.service"])
def test_every_setting_that_is_named_exists(name: str) -> None:
    text = (DEPLOY / name).read_text(encoding="utf-8")
    assert set(re.findall(rf"{PREFIX}[A-Z_]+", text)) <= SETTINGS


def test_the_image_does_not_run_as_root_and_ends_by_itself() -> None:
    instructions = _instructions()
    users = [n for n, (kind, _) in enumerate(instructions) if kind == "USER"]
    starts = [n for n, (kind, _) in enumerate(instructions) if kind in ("ENTRYPOINT", "CMD")]
    assert users and users[-1] < min(starts)
    assert instructions[users[-1]][1].split(":")[0] == "10001"
    assert ("STOPSIGNAL", "SIGTERM") in instructions


def test_the_image_copies_what_is_there_and_what_the_ignore_file_lets_through() -> None:
    ignore = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    let_through = {line[1:] for line in ignore if line.startswith("!")}
    copied = {
        source
        for kind, what in _instructions()
        if kind == "COPY" and "--from" not in what
        for source in what.split()[:-1]
    }
    assert ignore[0] == "*" and copied == let_through
    assert all((ROOT / source).exists() for source in copied)


def test_the_image_installs_extras_that_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (asked,) = re.findall(r"'/src\[([a-z,]+)\]'", (DEPLOY / "Dockerfile").read_text("utf-8"))
    assert set(asked.split(",")) <= set(project["optional-dependencies"])
    assert "dev" not in asked


def test_the_health_check_asks_a_route_that_needs_no_key() -> None:
    open_routes = {
        getattr(route, "path", "")
        for router in ROUTERS
        for route in router.routes
        if not hasattr(route, "role")
    }
    (path,) = re.findall(r"127\.0\.0\.1:8000(/[\w/]+)'", (DEPLOY / "Dockerfile").read_text("utf-8"))
    assert path in open_routes


def test_every_variable_of_compose_is_in_the_example() -> None:
    asked = set(re.findall(r"\$\{([A-Z_]+)", (DEPLOY / "compose.yaml").read_text("utf-8")))
    given = {
        line.split("=")[0]
        for line in (DEPLOY / "example.env").read_text("utf-8").splitlines()
        if "=" in line and not line.startswith("#")
    }
    assert asked == given


def test_compose_publishes_on_this_machine_alone_and_asks_for_a_password() -> None:
    services = _compose()["services"]
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)
    assert "ports" not in services["postgres"]
    assert services["postgres"]["environment"]["POSTGRES_PASSWORD"].startswith("${POSTGRES_PASSW")
    assert services["service"]["read_only"] is True and services["service"]["cap_drop"] == ["ALL"]


def test_compose_mounts_what_is_there_or_what_its_text_says_to_make() -> None:
    mounts = _compose()["services"]["prometheus"]["volumes"]
    files = [mount.split(":")[0] for mount in mounts if mount.startswith("./")]
    made = "./prometheus/key"
    assert made in files and "> prometheus/key" in (DEPLOY / "compose.yaml").read_text("utf-8")
    assert all((DEPLOY / name).exists() for name in files if name != made)
    ignored = (ROOT / ".gitignore").read_text("utf-8").split()
    assert {"deploy/.env", "deploy/prometheus/key"} <= set(ignored)


def test_alerts_ask_for_metrics_that_the_service_has() -> None:
    known = set()
    for family in Metrics().registry.collect():
        known.add(family.name)
        known |= {family.name + end for end in ("_total", "_bucket", "_count", "_sum")}
    for rule in _rules():
        asked = set(re.findall(r"\bhardrank_\w+", rule["expr"]))
        assert asked <= known, rule["alert"]
        assert rule["annotations"]["summary"] and rule["labels"]["severity"] in ("page", "ticket")


def test_the_unit_starts_a_command_that_exists_and_has_no_rights() -> None:
    text = (DEPLOY / "hardrank.service").read_text(encoding="utf-8")
    (start,) = re.findall(r"^ExecStart=(.+)$", text, re.MULTILINE)
    assert shlex.split(start)[1:] == ["serve"]
    assert {"User=hardrank", "NoNewPrivileges=yes", "CapabilityBoundingSet="} <= set(text.split())


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool here")
def test_prometheus_reads_its_files() -> None:
    folder = DEPLOY / "prometheus"
    for command in (["config", "--syntax-only", "prometheus.yml"], ["rules", "alerts.yml"]):
        done = subprocess.run(
            ["promtool", "check", *command], cwd=folder, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
