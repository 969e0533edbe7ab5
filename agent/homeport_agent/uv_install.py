"""Installs a list of packages by uv, from where this machine's owner has told pip to take packages.

Run by install.sh out of the agent's wheel, before anything of it is installed: the standard library only. pip's files and
PIP_* are read as pip reads them (https://pip.pypa.io/en/stable/topics/configuration/) and said in uv's words. A setting that
has no words there ends with NOT_UNDERSTOOD, and pip must do it: no host goes around its owner's registry. uv's own files
and UV_* count too, unless pip has been told of an index. Every file's hash is in the list, so that which of several
indexes gave it does not matter.

    python -m homeport_agent.uv_install UV PYTHON REQUIREMENTS [WHEELS]     WHEELS: a folder that has all; no index is asked
"""

import configparser
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

NOT_UNDERSTOOD = 3
_SECTIONS = ("global", "install")  # the later one counts
# By variables, since addresses may hold a password and arguments can be read by every user of the machine.
_LISTS = {
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "trusted-host": ("UV_INSECURE_HOST", " "),
}
_VARIABLES = {
    "index-url": ("UV_DEFAULT_INDEX",),
    "cert": ("SSL_CERT_FILE",),
    "client-cert": ("SSL_CLIENT_CERT",),
    "proxy": ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"),
    "retries": ("UV_HTTP_RETRIES",),
    "timeout": ("UV_HTTP_TIMEOUT",),
    "default-timeout": ("UV_HTTP_TIMEOUT",),
}
# What they change is how pip looks, or is fixed by our own arguments.
_WITHOUT_EFFECT = {
    *("disable-pip-version-check", "no-cache-dir", "cache-dir", "quiet", "verbose", "progress-bar", "no-color", "log"),
    *("no-input", "root-user-action", "break-system-packages", "require-virtualenv", "no-python-version-warning"),
    *("no-warn-script-location", "only-binary", "prefer-binary", "require-hashes", "compile", "no-compile"),
    "config-file",
}


class NotUnderstood(Exception):
    """pip is told what uv cannot be."""


def pip_settings(environment: Mapping[str, str], root: Path = Path("/")) -> dict[str, str]:
    """What `pip install` would go by, under its long names. Raises NotUnderstood for a file that is none of pip's."""
    parser = configparser.RawConfigParser()
    found: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for path in _files(environment, root):
        parser.clear()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            raise NotUnderstood(f"{path}: {error}") from None
        for section in _SECTIONS:
            if parser.has_section(section):
                found[section] |= {_name(key): value for key, value in parser.items(section)}
    given = {_name(key[4:]): value for key, value in environment.items() if key.startswith("PIP_") and value}
    return {key: value for key, value in {**found["global"], **found["install"], **given}.items() if value}


def command(
    settings: Mapping[str, str], uv: str, python: str, requirements: str, wheels: str = ""
) -> tuple[list[str], dict[str, str]]:
    """What to call, and the variables to set for it. Raises NotUnderstood."""
    argv = [
        uv,
        "pip",
        "install",
        "--quiet",
        "--python",
        python,
        "--no-deps",
        "--require-hashes",
        "--only-binary",
        ":all:",
    ]
    # An index that a machine trusts as a machine counts for pip of a distribution too.
    argv += ["--system-certs", "--index-strategy", "unsafe-best-match"]
    if {"index-url", "extra-index-url", "no-index", "find-links"} & set(settings) or wheels:
        argv.append("--no-config")
    variables: dict[str, str] = {}
    for key, value in settings.items():
        if key in _WITHOUT_EFFECT or (wheels and key in (*_LISTS, "index-url", "no-index")):
            continue
        if key in _VARIABLES:
            variables |= dict.fromkeys(_VARIABLES[key], value)
        elif key in _LISTS:
            name, between = _LISTS[key]
            variables[name] = between.join(value.split())
        elif key == "no-index":
            argv += ["--no-index"] if value.lower() in ("1", "true", "yes", "on", "y", "t") else []
        else:
            raise NotUnderstood(f"pip is told {key}, which uv cannot be")
    if wheels:
        argv += ["--no-index", "--find-links", wheels]
    return [*argv, "-r", requirements], variables


def _files(environment: Mapping[str, str], root: Path) -> list[Path]:
    """From the weakest to the strongest."""
    own = environment.get("PIP_CONFIG_FILE", "")
    if own == os.devnull:
        return []
    home = Path(environment.get("HOME", "/root"))
    everybody = [
        root / folder.lstrip("/") for folder in environment.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":") if folder
    ]
    user = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    files = [*(folder / "pip" / "pip.conf" for folder in everybody), root / "etc" / "pip.conf"]
    return [*files, home / ".pip" / "pip.conf", user / "pip" / "pip.conf", *([Path(own)] if own else [])]


def _name(key: str) -> str:
    return key.lower().replace("_", "-").removeprefix("--")


def main(arguments: Sequence[str]) -> int:
    """Only comes back when uv was not called."""
    try:
        argv, variables = command(pip_settings(os.environ), *arguments)
    except NotUnderstood as error:
        sys.stderr.write(f"error: {error}\n")
        return NOT_UNDERSTOOD
    os.execve(argv[0], argv, {**os.environ, **variables})  # noqa: S606 (the very point: no shell, no second process)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
