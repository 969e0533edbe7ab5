"""examples/observability with a real Prometheus: it scrapes the server, an alert fires, nothing is named that is not there."""

import json
import re
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from rig.lone_server import LoneServer, lone_server
from rig.ports import free_port
from rig.stack import Process, wait_for

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "observability"
RULES_TEST = """
rule_files: [alerts.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {series: 'homeport_gpu_health{UUID="GPU-1", modelName="A100", Hostname="h1"}', values: "0 0 2"}
      - {series: 'homeport_host_up{Hostname="h1", fleet="lab"}', values: "1 0 0 0"}
      - {series: 'homeport_service_answers_total{run="web", code_class="2xx", gateway="a"}', values: "0+60x20"}
      - {series: 'homeport_service_answers_total{run="web", code_class="5xx", gateway="a"}', values: "0+20x20"}
    alert_rule_test:
      - {eval_time: 1m, alertname: HomeportGpuFailing, exp_alerts: []}
      - eval_time: 2m
        alertname: HomeportGpuFailing
        exp_alerts:
          - exp_labels: {severity: critical, UUID: GPU-1, modelName: A100, Hostname: h1}
            exp_annotations:
              summary: GPU GPU-1 (A100) of h1 is failing; it gets nothing new.
              action: homeport fleet get h1
      - {eval_time: 1m, alertname: HomeportHostUnreachable, exp_alerts: []}
      - eval_time: 3m
        alertname: HomeportHostUnreachable
        exp_alerts:
          - exp_labels: {severity: warning, Hostname: h1, fleet: lab}
            exp_annotations:
              summary: Host h1 of the fleet lab has not reported for a minute.
              action: homeport fleet get h1
      - eval_time: 15m
        alertname: HomeportServiceErrors
        exp_alerts:
          - exp_labels: {severity: warning, run: web}
            exp_annotations:
              summary: web answers 25% of its requests with an error of its own.
              action: homeport logs web
"""


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def server() -> Iterator[LoneServer]:
    with lone_server() as server:
        yield server


@pytest.fixture
def example(server: LoneServer, tmp_path: Path) -> Path:
    """As its README says, with quick scrapes, and alerts that wait for a second only."""
    for file in EXAMPLE.iterdir():
        shutil.copy(file, tmp_path)
    shutil.copy(server.folder / "server" / "ca.pem", tmp_path)
    made = server.homeport("token", "create", tmp_path.name, "--role", "metrics")
    (tmp_path / "token").write_text(made.stdout)
    text = (EXAMPLE / "prometheus.yml").read_text()
    (tmp_path / "prometheus.yml").write_text(text.replace("15s", "1s").replace(":7402", f":{server.api_port + 2}"))
    (tmp_path / "alerts.yml").write_text(re.sub(r"for: \w+", "for: 1s", (EXAMPLE / "alerts.yml").read_text()))
    return tmp_path


def test_the_files_are_right_and_the_rules_fire_when_they_should(tmp_path: Path, example: Path) -> None:
    run("promtool", "check", "config", "prometheus.yml", cwd=example)
    run(sys.executable, "make_dashboard.py", "--check", cwd=example)
    shutil.copy(EXAMPLE / "alerts.yml", tmp_path)
    (tmp_path / "test.yml").write_text(RULES_TEST)
    run("promtool", "test", "rules", "test.yml", cwd=tmp_path)


def test_nothing_is_named_that_the_page_does_not_have(server: LoneServer, example: Path) -> None:
    rules = yaml.safe_load((EXAMPLE / "alerts.yml").read_text())["groups"][0]["rules"]
    panels = json.loads((EXAMPLE / "dashboard.json").read_text())["panels"]
    expressions = [rule["expr"] for rule in rules] + [it["expr"] for panel in panels for it in panel.get("targets", ())]
    named = {name for text in expressions for name in re.findall(r"homeport_\w+", text)}
    page = run(
        "curl", "-sS", "--fail", "--cacert", "ca.pem", "-H", f"Authorization: Bearer {(example / 'token').read_text().strip()}",
        f"https://localhost:{server.api_port + 2}/metrics", cwd=example,
    )  # fmt: skip
    there = set(re.findall(r"^# TYPE (\w+)", page, re.MULTILINE))
    assert len(named) > 15
    assert {name.removesuffix("_bucket") for name in named} <= there
    # Prometheus' own reading of it, with its advice on names.
    checked = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_prometheus_scrapes_it_and_an_alert_fires(example: Path) -> None:
    port = free_port()
    command = [
        "prometheus",
        "--config.file",
        str(example / "prometheus.yml"),
        "--storage.tsdb.path",
        str(example / "data"),
    ]
    command.append(f"--web.listen-address=127.0.0.1:{port}")
    prometheus = Process("prometheus", command, example / "prometheus.log", {"PATH": "/usr/bin"})

    def asked(path: str, **query: str) -> Any:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{port}{path}?{urllib.parse.urlencode(query)}", timeout=5
            ) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None  # it does not listen yet

    prometheus.start()
    try:
        wait_for("it scrapes", lambda: (asked("/api/v1/query", query='up{job="homeport"} == 1') or {}).get("result"))
        loops = asked("/api/v1/query", query="homeport_loop_turns_total")["result"]
        assert {"runs", "placement", "gateway"} <= {it["metric"]["loop"] for it in loops}

        def firing() -> list[str]:
            known = (asked("/api/v1/alerts") or {}).get("alerts", [])
            return [it["labels"]["gateway"] for it in known if it["state"] == "firing" and "gateway" in it["labels"]]

        # This server has no agent beside it, so nobody runs the gateway.
        assert wait_for("the alert of a gateway that is down", firing) == ["local"]
    except BaseException:
        print((example / "prometheus.log").read_text()[-4000:])
        raise
    finally:
        prometheus.stop()
