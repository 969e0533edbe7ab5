"""Requests that go on all the while: a few clients that keep their connections, check each answer, and count.

Bounded: `threads` clients, at most `rps` requests per second in all, until the block ends.

As a program, for requests from inside another machine: `python3 traffic.py HOST:PORT…`, with the token as the first line of
its input; until its input ends. Then a JSON object a target: {"answers", "failures"}.
"""

import http.client
import json
import sys
import threading
import time
from collections import Counter
from types import TracebackType


def get(
    port: int, host: str, path: str = "/", token: str = "", timeout_s: float = 10
) -> tuple[int, dict[str, str], bytes]:
    """One request through the gateway: status, headers in lower case, body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        headers = {"Host": f"{host}.localhost"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
    finally:
        connection.close()


class Traffic:
    """`with Traffic(port, "hello", token) as traffic: …; assert traffic.failures == []`."""

    def __init__(self, port: int, host: str, token: str, *, threads: int = 4, rps: float = 80) -> None:
        self._port, self._host, self._token = port, host, token
        self._pause_s = threads / rps
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._requests, daemon=True) for _ in range(threads)]
        self.answers: Counter[str] = Counter()  # by what /env?name=… or the replica says
        self.failures: list[str] = []

    @property
    def total(self) -> int:
        with self._lock:
            return sum(self.answers.values()) + len(self.failures)

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(15)

    def _requests(self) -> None:
        connection: http.client.HTTPConnection | None = None
        number = 0
        while not self._stop.is_set():
            number += 1
            path = f"/n/{threading.get_ident()}/{number}"
            try:
                if connection is None:
                    connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
                headers = {"Host": f"{self._host}.localhost", "Authorization": f"Bearer {self._token}"}
                connection.request("GET", path, headers=headers)
                response = connection.getresponse()
                body = response.read()
                self._count(path, response.status, body)
            except (OSError, http.client.HTTPException) as error:
                with self._lock:
                    self.failures.append(f"{time.time():.3f} {path}: {error!r}")
                if connection is not None:
                    connection.close()
                connection = None
            self._stop.wait(self._pause_s)

    def _count(self, path: str, status: int, body: bytes) -> None:
        wrong = f"{time.time():.3f} {path}: {status} {body[:200]!r}"
        try:
            answer = json.loads(body)
        except ValueError:
            answer = {}
        with self._lock:
            if status == 200 and answer.get("path") == path:
                self.answers[f"{answer['replica']}/{answer['started']}"] += 1
            else:
                self.failures.append(wrong)


def main(targets: list[str]) -> None:
    token = sys.stdin.readline().strip()
    started = [Traffic(int(target.partition(":")[2]), target.partition(":")[0], token, rps=40) for target in targets]
    for traffic in started:
        traffic.__enter__()
    sys.stdin.read()
    for traffic in started:
        traffic.__exit__(None, None, None)
        print(json.dumps({"answers": traffic.answers, "failures": traffic.failures[:20]}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
