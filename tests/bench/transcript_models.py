"""What a caller of a model sees: curl and the official openai client against a whole Homeport, as a transcript.

    .venv/bin/python -P tests/bench/transcript_models.py > transcript.txt

A small model server (it answers with the words that it got) is applied as the service `llm`, called streamed and not, for
embeddings and the list of models, and in the ways that end in 401, 403 and 404. Needs Docker and the image of
tests/rig/images/build.py. Not a test: the answers are printed, not looked at.
"""

import re
import subprocess
import sys
from pathlib import Path

import openai

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rig.stack import Stack, stack, wait_for

MODEL, WRONG = "org/llama", "hp_wrong"
SERVER = r"""
import http.server, json, time
class Server(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        words = [m["content"] for m in asked.get("messages", [])][-1:] or [asked.get("input", "")]
        words = str(words[0]).split()
        usage = {"prompt_tokens": len(words), "completion_tokens": len(words), "total_tokens": 2 * len(words)}
        head = {"id": "chatcmpl-1", "created": int(time.time()), "model": asked["model"]}
        if self.path.endswith("/embeddings"):
            vector = [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5, 1.0]}]
            self.answer({"object": "list", "model": asked["model"], "data": vector, "usage": usage})
        elif not asked.get("stream"):
            message = {"role": "assistant", "content": " ".join(words)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self.answer({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
        else:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            head["object"] = "chat.completion.chunk"
            for word in words:
                self.event({**head, "choices": [{"index": 0, "delta": {"content": word + " "}, "finish_reason": None}]})
                time.sleep(0.05)
            self.event({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
            if asked.get("stream_options", {}).get("include_usage"):
                self.event({**head, "choices": [], "usage": usage})
            self.chunk(b"data: [DONE]\n\n")
            self.chunk(b"")
    def do_GET(self):
        self.answer({"ok": True})
    def event(self, value):
        self.chunk(b"data: " + json.dumps(value).encode() + b"\n\n")
    def chunk(self, data):
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
    def answer(self, value):
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
http.server.ThreadingHTTPServer(("0.0.0.0", 8000), Server).serve_forever()
"""
LLM = f"""
type: service
name: llm
image: homeport-test/hello:1
commands:
  - |
    cat > /tmp/model.py <<'END'
{"".join(f"    {line}" for line in SERVER.strip().splitlines(keepends=True))}
    END
    exec python3 /tmp/model.py
port: 8000
model: {{name: [{MODEL}, llama]}}
"""
HELLO = """
type: service
name: hello
image: homeport-test/hello:1
commands: [exec python3 /hello.py]
port: 8000
"""


def curl(homeport: Stack, path: str, token: str | None, body: str = "", name: str = "gateway") -> None:
    """Run and print; the tokens that are right are not shown."""
    url = f"http://{name}.localhost:{homeport.gateway_port}/{path}"
    command = ["curl", "-sS", "-N", "-m", "20", "-w", r"\n[%{http_code} %{content_type}]\n", url]
    shown = f"$ curl -N {url}"
    if token:
        command += ["-H", f"Authorization: Bearer {token}"]
        shown += f' -H "Authorization: Bearer {said_as(homeport, token)}"'
    if body:
        command += ["-d", body]
        shown += f" -d '{body}'"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(shown, done.stdout + done.stderr, sep="\n", flush=True)


def said_as(homeport: Stack, token: str) -> str:
    return "$TOKEN" if token == homeport.token else token if token == WRONG else "$OTHER"


def by_curl(homeport: Stack, other: str) -> None:
    said = f'"model": "{MODEL}", "messages": [{{"role": "user", "content": "one two three"}}]'
    curl(homeport, "v1/chat/completions", homeport.token, f"{{{said}}}")
    streamed = f'{{{said}, "stream": true, "stream_options": {{"include_usage": true}}}}'
    curl(homeport, "v1/chat/completions", homeport.token, streamed)
    curl(homeport, "v1/embeddings", homeport.token, f'{{"model": "{MODEL}", "input": "one two three"}}')
    curl(homeport, "v1/models", homeport.token)
    for token, why in ((None, "no token"), (WRONG, "a token that is none"), (other, "a token for `hello` alone")):
        print(f"# {why}")
        curl(homeport, "v1/chat/completions", token, f"{{{said}}}")
    print("# … at the service's own address")
    curl(homeport, "v1/chat/completions", other, f"{{{said}}}", "llm")
    print("# a model that nobody serves, and a body that names none")
    curl(homeport, "v1/chat/completions", homeport.token, '{"model": "gpt-4", "messages": []}')
    curl(homeport, "v1/chat/completions", homeport.token, '{"messages": []}')


def by_openai(homeport: Stack, other: str) -> None:
    url = f"http://127.0.0.1:{homeport.gateway_port}/v1"
    host = {"Host": f"gateway.localhost:{homeport.gateway_port}"}  # Python does not resolve *.localhost

    def client(token: str) -> openai.OpenAI:
        return openai.OpenAI(base_url=url, api_key=token, default_headers=host, max_retries=0)

    ours, said = client(homeport.token), [{"role": "user", "content": "one two three"}]
    print(f"# openai {openai.__version__}, base_url=http://gateway.localhost:{homeport.gateway_port}/v1")
    print(">>> client.chat.completions.create(model='org/llama', messages=…)")
    whole = ours.chat.completions.create(model=MODEL, messages=said)  # type: ignore[arg-type,call-overload]
    print(repr(whole.choices[0].message.content), whole.usage)
    print(">>> … stream=True, stream_options={'include_usage': True}, model='llama' (its other name)")
    events = ours.chat.completions.create(  # type: ignore[call-overload]
        model="llama", messages=said, stream=True, stream_options={"include_usage": True}
    )
    for event in events:
        print(" ", event.choices[0].delta.content if event.choices else event.usage)
    print(">>> client.embeddings.create(model='org/llama', input='one two three', encoding_format='float')")
    print(ours.embeddings.create(model=MODEL, input="one two three", encoding_format="float").data[0].embedding)
    print(">>> [model.id for model in client.models.list()]")
    print([model.id for model in ours.models.list()])
    for token, model in ((WRONG, MODEL), (other, MODEL), (homeport.token, "gpt-4")):
        print(f">>> OpenAI(api_key={said_as(homeport, token)!r}).chat.completions.create(model={model!r}, messages=…)")
        try:
            client(token).chat.completions.create(model=model, messages=said)  # type: ignore[arg-type,call-overload]
        except openai.APIStatusError as error:
            print(f"{type(error).__name__}: {error}")


def main() -> int:
    with stack() as homeport:
        for document in (HELLO, LLM):
            done = homeport.apply(document)
            print(done.stdout + done.stderr)
            if done.returncode:
                return 1
        made = homeport.homeport("token", "create", "other", "--role", "service", "--service", "hello")
        other = made.stdout.split()[-1]
        by_curl(homeport, other)
        by_openai(homeport, other)
        counted = r"(?m)^llm +6 "  # the server reads the access log a moment later
        wait_for("6 are counted", lambda: re.search(counted, homeport.homeport("usage", "--by", "service").stdout))
        print("$ homeport usage --by model\n" + homeport.homeport("usage", "--by", "model").stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
