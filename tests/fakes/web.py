"""A web port that answers every path with one body: the server's certificate, until a test says otherwise."""

import http.server
import ssl
import threading
from pathlib import Path

from fakes.api import Certificate


class Web:
    """An HTTPS server that answers every path with one body."""

    def __init__(self, certificate: Certificate, folder: Path) -> None:
        self.body, self.status = certificate.pem, 200
        self.paths: list[str] = []
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.paths.append(self.path)
                self.send_response(web.status)
                self.end_headers()
                self.wfile.write(web.body)

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        (folder / "web.pem").write_bytes(certificate.pem + certificate.key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "web.pem")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self.address = f"127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
