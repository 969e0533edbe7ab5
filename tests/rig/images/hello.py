"""HTTP server of the end-to-end tests: says which replica answers, slowly or in pieces when asked to.

Runs as the first process of a container (and as a plain process), standard library only. It covers what the tests of
routing, draining and restarting need; it is no example of how to write a service.

  GET /             {"replica", "host", "pid", "path", "started"}; the environment names the replica and the host
  GET /slow?s=2     the same after s seconds
  GET /stream?n=5&ms=100   n lines of text, one each ms milliseconds, chunked; the last line is `end`
  GET /status?code=503     an empty answer with that status
  GET /env?name=X   the value of an environment variable, 404 when it is not set
  GET /healthz      200 `ok`; 503 after /sick, until /well
  POST /sick, /well, /exit?code=3     changes of health; /exit ends the process at once, without an answer
  anything else     the same as /; a POST's body length is in `body`

Settings by environment: PORT (8000), START_AFTER_S (0: wait that long before the port is opened), NAME.
SIGTERM: no new connections, requests that run are finished (no limit: the sender of SIGKILL sets it), then exit 0.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

REPLICA = os.environ.get("NAME") or os.environ.get("HOMEPORT_REPLICA") or "none"
HOST = os.environ.get("HOMEPORT_HOST") or os.uname().nodename
STARTED = time.time()
healthy = threading.Event()
healthy.set()
stopping = threading.Event()
connections: set["Handler"] = set()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    busy = False

    def setup(self) -> None:
        super().setup()
        connections.add(self)

    def finish(self) -> None:
        connections.discard(self)
        super().finish()

    def parse_request(self) -> bool:
        self.busy = True
        return super().parse_request()

    def handle_one_request(self) -> None:
        super().handle_one_request()
        self.busy = False
        if stopping.is_set():
            self.close_connection = True

    def hang_up_if_idle(self) -> None:
        """A gateway keeps idle connections open for minutes: the thread that waits on one would hold the exit."""
        if not self.busy:
            with contextlib.suppress(OSError):  # the client was faster
                self.connection.shutdown(socket.SHUT_RD)  # what has arrived is still read and answered

    def answer(self, status: int, body: bytes = b"", content_type: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Replica", REPLICA)
        if stopping.is_set():
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def say_who(self, **more: object) -> None:
        who = {"replica": REPLICA, "host": HOST, "pid": os.getpid(), "path": self.path, "started": STARTED, **more}
        self.answer(200, json.dumps(who).encode() + b"\n")

    def stream(self, pieces: int, pause_s: float) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("X-Replica", REPLICA)
        self.end_headers()
        for number in range(pieces):
            self.chunk(f"{number} {REPLICA}\n".encode())
            time.sleep(pause_s)
        self.chunk(b"end\n")
        self.chunk(b"")

    def chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        if url.path == "/slow":
            time.sleep(float(query.get("s", "1")))
            self.say_who()
        elif url.path == "/stream":
            self.stream(int(query.get("n", "5")), float(query.get("ms", "100")) / 1000)
        elif url.path == "/status":
            self.answer(int(query.get("code", "200")))
        elif url.path == "/env":
            value = os.environ.get(query.get("name", ""))
            self.answer(404) if value is None else self.answer(200, value.encode(), "text/plain")
        elif url.path == "/healthz":
            self.answer(*((200, b"ok\n") if healthy.is_set() else (503, b"sick\n")), "text/plain")
        else:
            self.say_who()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        if url.path == "/exit":
            os._exit(int(parse_qs(url.query).get("code", ["1"])[-1]))
        if url.path == "/sick":
            healthy.clear()
        elif url.path == "/well":
            healthy.set()
        self.say_who(body=len(body))

    def log_message(self, format: str, *args: object) -> None:
        print(f"{self.address_string()} {format % args}", flush=True)


class Server(ThreadingHTTPServer):
    daemon_threads = False  # server_close joins the threads: what runs is finished
    request_queue_size = 1024


def main() -> None:
    time.sleep(float(os.environ.get("START_AFTER_S", "0")))
    server = Server(("", int(os.environ.get("PORT", "8000"))), Handler)

    def stop(signum: int, frame: object) -> None:
        if not stopping.is_set():
            stopping.set()
            threading.Thread(target=server.shutdown, daemon=True).start()  # here it would wait for itself

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    print(f"hello: replica {REPLICA} listens on {server.server_address[1]}", flush=True)
    server.serve_forever(poll_interval=0.05)
    print("hello: stopping", flush=True)
    for connection in list(connections):
        connection.hang_up_if_idle()
    server.server_close()
    sys.exit(0)


if __name__ == "__main__":
    main()
