"""A model by its name, end to end: applied from a file, called at the gateway's own address, listed, shown, refused."""

import http.client
import json
import re
from typing import Any

import pytest
from rig.stack import Stack

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow]

LLM = """
type: service
name: %s
image: homeport-test/hello:1
commands: [exec python3 /hello.py]
port: 8000
model: {name: %s, prefix: /openai/v1}
"""


def call(homeport: Stack, method: str, path: str, body: str = "", token: str | None = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", homeport.gateway_port, timeout=10)
    try:
        host = f"gateway.localhost:{homeport.gateway_port}"
        headers = {"Host": host, "Authorization": f"Bearer {token or homeport.token}"}
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_a_model_is_applied_called_listed_and_shown(homeport: Stack) -> None:
    done = homeport.apply(LLM % ("llm", "org/llama"))
    assert done.returncode == 0, done.stderr
    url = f"http://gateway.localhost:{homeport.gateway_port}/v1"
    assert f"Model org/llama is published at {url}" in done.stdout
    assert re.search(r"curl .*/v1/chat/completions -d '\{\"model\": \"org/llama\"", done.stdout)
    assert f"llm: model org/llama at {url}" in homeport.homeport("ps", "-v").stdout
    status, answer = call(homeport, "POST", "/v1/chat/completions?x=1", '{"messages": [], "model": "org/llama"}')
    assert (status, answer["path"]) == (200, "/openai/v1/chat/completions?x=1")
    status, listed = call(homeport, "GET", "/v1/models")
    assert (status, [model["id"] for model in listed["data"]]) == (200, ["org/llama"])
    status, unknown = call(homeport, "POST", "/v1/embeddings", '{"model": "nothing"}')
    assert (status, unknown["error"]["code"]) == (404, "model_not_found")
    assert "org/llama" in unknown["error"]["message"]
    assert call(homeport, "GET", "/v1/models", token="hp_wrong")[0] == 403


def test_a_models_name_is_had_once(homeport: Stack) -> None:
    done = homeport.apply(LLM % ("other", "org/llama"))
    assert done.returncode == 2
    assert "the model `org/llama` is published by the service `llm` already" in done.stderr
    assert "other" not in {run["name"] for run in homeport.runs(everything=True)}
    assert homeport.apply(LLM % ("gateway", "x")).returncode == 2
