"""Which server, which token, which CA: the configuration file that `homeport login` writes, and its overrides.

File: `HOMEPORT_CONFIG`, else `$XDG_CONFIG_HOME/homeport/config.yml`, else `~/.config/homeport/config.yml`, YAML with the keys
`server` ("host:7400"), `token` and `ca` (a path or the PEM itself). HOMEPORT_SERVER, HOMEPORT_TOKEN and HOMEPORT_CA
override its values one by one. It holds a secret: it is written whole or not at all, with mode 0600.
"""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from homeport.errors import Error, Invalid, Unauthenticated

DEFAULT_PORT = 7400
WEB_PORT_OFFSET = 2  # the web port (CA, health) stands beside the API's: 7400 and 7402


@dataclass(frozen=True)
class Config:
    server: str  # "host:port"
    token: str = field(repr=False)
    ca_pem: str = field(repr=False)
    token_is_from_environment: bool = False


def path(environ: Mapping[str, str]) -> Path:
    """Where the file is, or will be."""
    if named := environ.get("HOMEPORT_CONFIG"):
        return Path(named).expanduser()
    base = environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "homeport" / "config.yml"


def load(environ: Mapping[str, str]) -> Config:
    """Read the file and the overrides. Raises Unauthenticated when a value is missing, Error when the file is broken."""
    file = path(environ)
    given = {key: environ.get(f"HOMEPORT_{key.upper()}", "") for key in ("server", "token", "ca")}
    if not all(given.values()):
        kept = _read(file)
        given = {key: value or str(kept.get(key) or "") for key, value in given.items()}
    missing = [key for key, value in given.items() if not value]
    if missing:
        names = ", ".join(f"the {'CA' if key == 'ca' else key}" for key in missing)
        raise Unauthenticated(f"not logged in ({names} not set): run `homeport login --server HOST:PORT --token TOKEN`")
    # A relative path in the file is meant relative to the file, one in the environment to where the caller stands.
    folder = Path.cwd() if environ.get("HOMEPORT_CA") else file.parent
    return Config(
        server=address(given["server"]),
        token=given["token"].strip(),
        ca_pem=read_ca(given["ca"], folder),
        token_is_from_environment=bool(environ.get("HOMEPORT_TOKEN")),
    )


def save(config: Config, environ: Mapping[str, str]) -> Path:
    """Write the file (mode 0600, its folder 0700 when new), replacing it in one step. Raises Error."""
    file = path(environ)
    text = yaml.safe_dump(
        {"server": config.server, "token": config.token, "ca": config.ca_pem}, sort_keys=False, default_style=None
    )
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # mkstemp makes the file 0600 from its first byte on.
        handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=".config-")
        try:
            with os.fdopen(handle, "w") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, file)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise Error(
            f"cannot write {file}: {error.strerror}; set HOMEPORT_CONFIG to a file that you may write"
        ) from None
    return file


def address(text: str) -> str:
    """ "host" or "host:port" with the port filled in. Raises Invalid."""
    text = text.strip().removeprefix("https://").rstrip("/")
    host, separator, port = text.rpartition(":")
    if not separator or (text.startswith("[") and text.endswith("]")):
        host, port = text, str(DEFAULT_PORT)
    elif ":" in host and not host.startswith("["):
        host, port = f"[{text}]", str(DEFAULT_PORT)  # a bare IPv6 address
    if not host or "/" in text or not (port.isascii() and port.isdecimal()) or not 0 < int(port) < 65536:
        raise Invalid(f"`{text}` is not an address of a server; write HOST or HOST:PORT, such as 10.0.0.5:7400")
    return f"{host}:{port}"


def web_address(server: str, web_port: int | None = None) -> str:
    """Where the CA's certificate is served: the port beside the API's, unless it was chosen otherwise."""
    host, _, port = server.rpartition(":")
    return f"{host}:{web_port or int(port) + WEB_PORT_OFFSET}"


def read_ca(value: str, folder: Path) -> str:
    """The PEM itself, from a PEM or a path. Raises Error."""
    if value.lstrip().startswith("-----BEGIN"):
        return value.strip() + "\n"
    file = folder / Path(value).expanduser()
    try:
        pem = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise Error(f"cannot read the CA certificate {file}: {why}; run `homeport login` again") from None
    if "-----BEGIN CERTIFICATE-----" not in pem:
        raise Error(f"{file} holds no PEM certificate; run `homeport login` again with the server's CA")
    return pem


def _read(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise Error(f"cannot read {file}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        # Not the parser's words: they quote the file, and the file holds a token.
        raise Error(f"{file} is not valid YAML; run `homeport login` to write it anew") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise Error(f"{file} must be a map with the keys server, token and ca; run `homeport login` to write it anew")
    return content
