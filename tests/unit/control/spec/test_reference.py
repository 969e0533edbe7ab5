"""The reference's table of a service, row by row: what a fragment of a document becomes, or exactly what is said of it.

ROWS and REFUSED are read beside the page. A fragment is laid over a service that is in order; `path` leads to the value that
it becomes. How single values are spelt has tables of its own (test_scalars, test_ranges, test_gpu).
"""

import re
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import yaml
from homeport_control.spec.base_image import DEFAULT_TEMPLATE, image_of
from homeport_control.spec.document import parse
from homeport_control.spec.gpu import GpuSpec
from homeport_control.spec.probes import Header, Probe
from homeport_control.spec.problems import BadDocument
from homeport_control.spec.ranges import Range
from homeport_control.spec.routing import LoadBalancing, Timeouts
from homeport_control.spec.service import ServiceSpec
from homeport_control.spec.support import unsupported
from homeport_control.spec.traffic import ModelRoute, RateLimit, Scaling
from homeport_control.spec.volumes import FileMapping, Volume

BASE: dict[str, Any] = {"type": "service", "image": "busybox", "port": 8000}
NAME = "2 to 41 lower-case letters, digits and `-`, starting with a letter"
DURATION = "Write whole seconds, or `30s`, `5m`, `2h`, `3d`, `1w`"
MEMORY = "Write it like `512MB`, `16GB` or `1TB`; a bare number is GB"
GPU = "Write it like `24GB`, `A100:80GB:2`, `24GB..40GB:2` or `nvidia:1..8`"

# (fragment in YAML, path of the value, the value)
ROWS: list[tuple[str, str, Any]] = [
    # name
    ("{}", "name", None),
    ("{name: llama31-service}", "name", "llama31-service"),
    # image, python, nvcc, registry_auth
    ("{image: 'registry.example:5000/team/app:1.2'}", "always_pull", False),
    ("{image: nginx}", "always_pull", True),
    ("{image: 'nginx:latest'}", "always_pull", True),
    ("{image: null, python: 3.10, commands: [a]}", "python", "3.10"),
    ("{image: null, python: '3.10', commands: [a]}", "python", "3.10"),
    ("{image: null, python: 3.14, commands: [a]}", "python", "3.14"),
    ("{image: null, nvcc: true, commands: [a]}", "nvcc", True),
    ("{image: null, commands: [a]}", "image", None),
    ("{env: ['P=x'], registry_auth: {username: u, password: '${{ env.P }}'}}", "registry_auth", True),
    # entrypoint, commands, shell, working_dir, user, home_dir
    ("{}", "run_entrypoint", ()),
    ("{}", "run_command", ()),
    ("{commands: [cd /x, ./go]}", "run_entrypoint", ("sh", "-c")),
    ("{commands: [cd /x, ./go]}", "run_command", ("cd /x && ./go",)),
    ("{commands: [a], shell: bash}", "run_entrypoint", ("bash", "-c")),
    ("{entrypoint: tini --}", "run_entrypoint", ("tini", "--")),
    ("{working_dir: src}", "working_dir", "src"),
    ("{user: 1000}", "user", "1000"),
    ("{home_dir: /home/me/}", "home_dir", "/home/me"),
    # env
    ("{env: [A=1, B=x=y]}", "env", ("A", "B")),
    ("{env: {A: 1, B: null}}", "env", ("A", "B")),
    # port
    ("{port: 8000}", "port", 8000),
    ("{port: '80:8000'}", "port", 8000),
    # resources
    ("{}", "resources.cpu", None),
    ("{resources: {cpu: 2..}}", "resources.cpu", Range(2, None)),
    ("{resources: {cpu: 4}}", "resources.cpu", Range(4, 4)),
    ("{resources: {memory: 16GB..}}", "resources.memory_mib", Range(16384, None)),
    ("{resources: {memory: {min: 8, max: 1TB}}}", "resources.memory_mib", Range(8192, 1048576)),
    ("{resources: {disk: 100GB..}}", "resources.disk_mib", Range(102400, None)),
    ("{resources: {disk: {size: 100GB}}}", "resources.disk_mib", Range(102400, 102400)),
    ("{resources: {shm_size: 512 mb}}", "resources.shm_size_mib", 512),
    # resources.gpu
    ("{resources: {gpu: 0}}", "resources.gpu", None),
    ("{resources: {gpu: 2}}", "resources.gpu", GpuSpec(count=Range(2, 2))),
    ("{resources: {gpu: 24GB}}", "resources.gpu", GpuSpec(memory_mib=Range(24576, 24576))),
    (
        "{resources: {gpu: 'A100:80GB:2'}}",
        "resources.gpu",
        GpuSpec(names=("A100",), memory_mib=Range(81920, 81920), count=Range(2, 2)),
    ),
    (
        "{resources: {gpu: '24GB..40GB:2'}}",
        "resources.gpu",
        GpuSpec(memory_mib=Range(24576, 40960), count=Range(2, 2)),
    ),
    ("{resources: {gpu: 'A10G,A100'}}", "resources.gpu", GpuSpec(names=("A10G", "A100"))),
    ("{resources: {gpu: nvidia}}", "resources.gpu", GpuSpec(vendor="nvidia")),
    ("{resources: {gpu: '80GB:1..8'}}", "resources.gpu", GpuSpec(memory_mib=Range(81920, 81920), count=Range(1, 8))),
    (
        "{resources: {gpu: {vendor: nvidia, name: H100, count: 2, total_memory: 160GB.., compute_capability: 9.0..}}}",
        "resources.gpu",
        GpuSpec(
            vendor="nvidia",
            names=("H100",),
            count=Range(2, 2),
            total_memory_mib=Range(163840, None),
            compute_capability=Range(9.0, None),
        ),
    ),
    # model
    ("{}", "model", None),
    ("{model: llama}", "model", ModelRoute(name="llama")),
    ("{model: llama}", "model.prefix", "/v1"),
    (
        "{model: {type: chat, name: llama, format: openai, prefix: /api}}",
        "model",
        ModelRoute(type="chat", name="llama", format="openai", prefix="/api"),
    ),
    ("{model: {type: embeddings, name: e5}}", "model.type", "embeddings"),
    ("{model: {type: completions, name: base}}", "model.type", "completions"),
    ("{model: {name: [llama, best], weight: 10}}", "model", ModelRoute(name=("llama", "best"), weight=10)),
    (
        "{model: {name: m, format: tgi, chat_template: t, eos_token: e}}",
        "model",
        ModelRoute(name="m", format="tgi", chat_template="t", eos_token="e"),
    ),
    # auth, https
    ("{}", "auth", True),
    ("{auth: false}", "auth", False),
    ("{}", "forward_token", False),
    ("{forward_token: true}", "forward_token", True),
    ("{}", "https", "auto"),
    ("{https: false}", "https", False),
    # replicas, scaling
    ("{}", "replicas", Range(1, 1)),
    ("{replicas: 3}", "replicas", Range(3, 3)),
    ("{replicas: 0..4, scaling: {metric: rps, target: 10}}", "replicas", Range(0, 4)),
    (
        "{replicas: 1..4, scaling: {metric: rps, target: 10}}",
        "scaling",
        Scaling(metric="rps", target=10, scale_up_delay_s=300, scale_down_delay_s=600),
    ),
    ("{replicas: 1..4, scaling: {metric: concurrency, target: 2, window: 30s}}", "scaling.window_s", 30),
    # probes
    ("{}", "probes", ()),
    (
        "{probes: [{type: http, url: /h, method: POST, headers: [{name: A, value: 1}], body: b, timeout: 2s, interval: 3s,"
        " ready_after: 4}]}",
        "probes",
        (
            Probe(
                type="http",
                url="/h",
                method="post",
                headers=(Header(name="A", value="1"),),
                body="b",
                timeout_s=2,
                interval_s=3,
                ready_after=4,
            ),
        ),
    ),
    # max_duration, stop_duration
    ("{}", "max_duration_s", None),
    ("{max_duration: off}", "max_duration_s", None),
    ("{max_duration: 2h}", "max_duration_s", 7200),
    ("{}", "stop_duration_s", 300),
    ("{stop_duration: 0}", "stop_duration_s", 0),
    ("{}", "start_timeout_s", None),
    ("{start_timeout: off}", "start_timeout_s", None),
    ("{start_timeout: 30m}", "start_timeout_s", 1800),
    # rollout
    ("{}", "rollout.max_surge", 1),
    ("{rollout: {max_surge: 0, max_unavailable: 1}}", "rollout.max_unavailable", 1),
    ("{rollout: {min_ready_duration: 1m}}", "rollout.min_ready_duration_s", 60),
    # retry
    ("{}", "retry", True),
    ("{retry: false}", "retry", False),
    ("{retry: {on_events: [no-capacity, interruption, error]}}", "retry", True),
    ("{retry: {on_events: [no-capacity]}}", "retry", False),
    # creation_policy, idle_duration
    ("{}", "creation_policy", "reuse-or-create"),
    ("{creation_policy: reuse_or_create}", "creation_policy", "reuse-or-create"),
    ("{creation_policy: reuse}", "creation_policy", "reuse"),
    ("{}", "idle_duration_s", 300),
    ("{idle_duration: 3d}", "idle_duration_s", 259200),
    ("{termination_idle_time: 5min}", "idle_duration_s", 300),
    ("{idle_duration: off}", "idle_duration_s", None),
    # filters
    ("{}", "spot_policy", None),
    ("{spot_policy: auto}", "spot_policy", "auto"),
    ("{max_price: 1.5}", "max_price", 1.5),
    ("{backends: [ssh]}", "backends", ("ssh",)),
    ("{regions: [remote]}", "regions", ("remote",)),
    ("{instance_types: [x]}", "instance_types", ("x",)),
    ("{fleets: [lab, lab]}", "fleets", ("lab",)),
    ("{hosts: [gpu-1]}", "hosts", ("gpu-1",)),
    ("{host_labels: {rack: a, tier: 2}}", "host_labels", ("rack=a", "tier=2")),
    ("{host_labels: [tier=2, rack=a]}", "host_labels", ("rack=a", "tier=2")),
    # volumes, files, repo
    ("{volumes: ['/srv/data:/data']}", "volumes", (Volume(instance_path="/srv/data", path="/data"),)),
    (
        "{volumes: [{instance_path: /srv, path: /data, optional: true}]}",
        "volumes",
        (Volume(instance_path="/srv", path="/data", optional=True),),
    ),
    ("{volumes: ['models:/models']}", "volumes", (Volume(name="models", path="/models"),)),
    ("{files: ['conf.ini:/etc/conf.ini']}", "files", (FileMapping(local_path="conf.ini", path="/etc/conf.ini"),)),
    ("{repo: false}", "repo", False),
    # load_balancing, timeouts, protocol
    ("{}", "load_balancing", LoadBalancing()),
    ("{load_balancing: least_request}", "load_balancing", LoadBalancing()),
    ("{load_balancing: cookie}", "load_balancing.affinity", "cookie"),
    ("{load_balancing: {affinity: header, name: X-Who}}", "load_balancing.name", "X-Who"),
    ("{load_balancing: {affinity: prefix, prefix_bytes: 4096}}", "load_balancing.prefix_bytes", 4096),
    ("{}", "timeouts", Timeouts(response_s=None, idle_s=3600)),
    ("{timeouts: {response: 5m, idle: off}}", "timeouts", Timeouts(response_s=300, idle_s=None)),
    ("{}", "max_body_size_mib", None),
    ("{max_body_size: off}", "max_body_size_mib", None),
    ("{max_body_size: 100MB}", "max_body_size_mib", 100),
    ("{}", "protocol", "http"),
    ("{protocol: h2c}", "protocol", "h2c"),
    # rate_limits, privileged
    ("{rate_limits: [{rps: 5, burst: 2}]}", "rate_limits", (RateLimit(prefix="/", rps=5, burst=2, key="ip"),)),
    (
        "{rate_limits: [{prefix: /v1, rps: 1, key: header, header: X-Who}]}",
        "rate_limits",
        (RateLimit(prefix="/v1", rps=1, key="header", header="X-Who"),),
    ),
    ("{}", "privileged", False),
    ("{privileged: true}", "privileged", True),
]

# (fragment in YAML, every problem as a user reads it)
REFUSED: list[tuple[str, list[str]]] = [
    # section 1: keys, durations, memory, ranges
    ("{prot: 1}", ["prot: unknown key `prot`. Did you mean `port`?"]),
    ("{resources: {gpu: {memry: 1}}}", ["resources.gpu.memry: unknown key `memry`. Did you mean `memory`?"]),
    ("{max_duration: 5x}", [f"max_duration: `5x` is not a duration. {DURATION}"]),
    ("{start_timeout: 0}", ["start_timeout: must be at least 1s"]),
    ("{stop_duration: off}", [f"stop_duration: must be a duration; it cannot be off. {DURATION}"]),
    ("{resources: {shm_size: 16GiB}}", [f"resources.shm_size: `16GiB` is not an amount of memory. {MEMORY}"]),
    (
        "{resources: {cpu: ..}}",
        ["resources.cpu: `..` is an empty range of cpus. Give at least one end: `a..` or `..b`"],
    ),
    (
        "{resources: {cpu: 3..1}}",
        ["resources.cpu: `3..1` is an empty range of cpus. The first end must not be larger than the second"],
    ),
    (
        "{resources: {cpu: 1...3}}",
        ["resources.cpu: `1...3` is not a range of cpus. Write `a..b`, `a..` or `..b`, with two dots"],
    ),
    ("{port: 0, auth: maybe}", [
        "port: `0` is not a port. A number from 1 to 65535, or `80:8000`",
        "auth: must be true or false, not `maybe`",
    ]),
    # section 2, by its rows
    ("{name: Llama}", [f"name: `Llama` cannot be a name. {NAME}"]),
    ("{name: a}", [f"name: `a` cannot be a name. {NAME}"]),
    (
        "{python: 3.12}",
        ["python: `image` and `python` exclude one another. `python` is for the default image; remove one"],
    ),
    ("{nvcc: true}", ["nvcc: `image` and `nvcc` exclude one another. `nvcc` is for the default image; remove one"]),
    (
        "{image: null, commands: [a], python: 3.8}",
        ["python: `3.8` is not a version of Python that can be used. 3.9 to 3.14, like `3.12`"],
    ),
    ("{image: null}", ["either `commands` or `image` must be set. Say what to run: `image: NAME` or `commands:`"]),
    ("{image: 'a b'}", ["image: `a b` is not the name of an image. Write it like `registry/name:tag`"]),
    ("{registry_auth: {username: u}}", ["registry_auth.password: is missing. Put it in quotes"]),
    (
        "{registry_auth: {username: u, password: '${{ env.P }}'}}",
        ["registry_auth.password: Environment variable P is not set. Add `- P` to `env`"],
    ),
    ("{commands: run}", ["commands: must be a list, not text. Put each item on a line of its own, after `- `"]),
    ("{working_dir: ' '}", ["working_dir: must not be empty"]),
    ("{home_dir: me}", ["home_dir: `me` is not an absolute path. It starts with `/` and holds no `:`"]),
    (
        "{env: [TOKEN]}",
        [
            "env[0]: Environment variable TOKEN is not set. "
            "Pass it with `-e TOKEN=VALUE`, or set it where you run the command"
        ],
    ),
    ("{env: [C=1, C=2]}", ["env[1]: duplicate environment variable C. Keep one of them"]),
    ("{port: null}", ["port: is missing"]),
    (
        "{resources: {gpu: '24GB:40GB'}}",
        ["resources.gpu: GPU spec memory conflict: 24GB:40GB. Give one memory; names may be joined by `,`"],
    ),
    ("{resources: {gpu: 'A100::2'}}", [f"resources.gpu: GPU spec contains empty token: A100::2. {GPU}"]),
    (
        "{resources: {gpu: {shared: true}}}",
        ["resources.gpu: `shared` needs `memory`. Say how much of one GPU's memory to reserve: `memory: 8GB`"],
    ),
    ("{model: {name: m, eos_token: e}}", ["model: `chat_template` and `eos_token` belong to `format: tgi`"]),
    ("{https: maybe}", ["https: must be true or false, not `maybe`"]),
    (
        "{replicas: 1..4}",
        ["replicas: a range needs `scaling`. Write `scaling: {metric: rps, target: 10}`, or one number"],
    ),
    ("{scaling: {metric: rps, target: 1}}", ["scaling: needs a range of replicas. Write `replicas: 1..4`"]),
    ("{replicas: 2.., scaling: {metric: rps, target: 1}}", ["replicas: needs an upper end. Write `2..3`"]),
    (
        "{replicas: 0}",
        [
            "replicas: must be at least 1. "
            "`homeport stop` stops a service; `0..1` with `scaling` scales it to zero"
        ],
    ),
    ("{probes: [{type: http, body: x}]}", ["probes[0]: `get` has no `body`. Set `method: post`"]),
    (
        "{retry: {on_events: [error], duration: 1h}}",
        [
            "retry.duration: a limit for retries is not supported: Homeport retries with a back-off (1 s to 5 min) and no"
            " end. Leave `duration` out; `max_duration` ends a run after a time, `retry: false` at its first failure"
        ],
    ),
    ("{spot_policy: cheap}", ["spot_policy: `cheap` is not known here. Known: `auto`, `on-demand`, `spot`"]),
    ("{max_price: -1}", ["max_price: must be at least 0"]),
    ("{fleets: lab}", ["fleets: must be a list, not text. Put each item on a line of its own, after `- `"]),
    ("{volumes: ['/a:/x', '/b:/x']}", ["volumes[1]: mounts `/x` again. Keep one of them"]),
    (
        "{volumes: ['/data']}",
        [
            "volumes[0]: `/data` is not a volume. "
            "Write `/host/path:/container/path`, `name:/container/path` or `{instance_path, path}`"
        ],
    ),
    ("{rate_limits: [{rps: 1, key: header}]}", ["rate_limits[0]: `key: header` and `header: NAME` need one another"]),
]  # fmt: skip

TYPES = [
    ("type: volume", "type: `volume` cannot be applied: Homeport runs services. Use `type: service`"),
    ("type: task", "type: `task` cannot be applied: Homeport runs services. Use `type: service`"),
    ("type: dev-environment", "type: `dev-environment` cannot be applied: Homeport runs services. Use `type: service`"),
    ("type: servce", "type: `servce` is not known here. Did you mean `service`?"),
    ("port: 1", "type: is missing. Add `type: service`, `fleet` or `gateway`"),
    ("[]", "is not a configuration: it must be a map of keys and values"),
    ("{}", "is empty. Start with `type: service`"),
]


def service(fragment: str) -> ServiceSpec:
    found = parse({**BASE, **yaml.safe_load(fragment)}, env={"B": "2"} if "B: null" in fragment else {}).spec
    assert isinstance(found, ServiceSpec)
    return found


@pytest.mark.parametrize(("fragment", "path", "value"), ROWS)
def test_a_row_becomes_this_value(fragment: str, path: str, value: Any) -> None:
    assert reduce(getattr, path.split("."), service(fragment)) == value


@pytest.mark.parametrize(("fragment", "problems"), REFUSED)
def test_a_mistake_is_told_in_these_words(fragment: str, problems: list[str]) -> None:
    with pytest.raises(BadDocument) as caught:
        service(fragment)
    assert [str(problem) for problem in caught.value.problems] == problems


@pytest.mark.parametrize(("text", "problem"), TYPES)
def test_what_is_no_document_of_ours_is_refused_by_name(text: str, problem: str) -> None:
    with pytest.raises(BadDocument) as caught:
        parse(yaml.safe_load(text))
    assert [str(it) for it in caught.value.problems] == [problem]


def test_every_key_of_a_service_has_a_row() -> None:
    shown = " ".join([*(f"{fragment} {path}" for fragment, path, _ in ROWS), *(fragment for fragment, _ in REFUSED)])
    keys = {field.alias or name for name, field in ServiceSpec.model_fields.items()}
    assert {key for key in keys - {"type", "gateway"} if not re.search(rf"\b{key}\b", shown)} == set()


PAGE = Path(__file__).with_name("page.dstack.yml")


def test_the_example_of_the_page_runs_unchanged() -> None:
    document = yaml.safe_load(PAGE.read_text())
    spec = parse(document, env={"HUGGING_FACE_HUB_TOKEN": "hf"}).spec
    assert isinstance(spec, ServiceSpec)
    assert unsupported(spec) == ()
    assert (spec.name, spec.python, spec.port) == ("llama31-service", "3.10", 8000)
    assert image_of(spec, DEFAULT_TEMPLATE) == "homeport/base:py3.10-cuda"
    assert spec.env == ("HUGGING_FACE_HUB_TOKEN",)
    assert spec.resources.gpu == GpuSpec(memory_mib=Range(24576, 24576))
    assert spec.model == ModelRoute(type="chat", name="meta-llama/Meta-Llama-3.1-8B-Instruct", format="openai")
    with pytest.raises(BadDocument, match="Environment variable HUGGING_FACE_HUB_TOKEN is not set"):
        parse(document)
