"""uv_install: what pip is told on a machine is said in uv's words, or pip is left to do it."""

import ensurepip
import subprocess
import sys
from pathlib import Path

import pytest
from homeport_agent.uv_install import NOT_UNDERSTOOD, NotUnderstood, command, pip_settings


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def settings(root: Path, **environment: str) -> dict[str, str]:
    return pip_settings({"HOME": str(root / "root"), **environment}, root)


def said(given: dict[str, str], wheels: str = "") -> tuple[list[str], dict[str, str]]:
    """Arguments, without those that are always there, and variables."""
    argv, variables = command(given, "uv", "python", "list", wheels)
    bare, _ = command({}, "uv", "python", "list")
    return [word for word in argv if word not in bare], variables


def test_the_stronger_file_counts_and_variables_are_stronger_than_all(tmp_path: Path) -> None:
    assert settings(tmp_path) == {}
    write(tmp_path / "etc/xdg/pip/pip.conf", "[global]\nindex-url = https://a/\ntimeout = 1\nretries = 1\ncert = /c\n")
    write(tmp_path / "etc/pip.conf", "[global]\nindex_url = https://b/\n[install]\nretries = 2\n")
    write(tmp_path / "root/.config/pip/pip.conf", "[global]\nretries = 3\ntimeout = 3\n[download]\ntimeout = 4\n")
    assert settings(tmp_path, PIP_TIMEOUT="5", PIP_RETRIES="", PATH="/bin") == {
        "index-url": "https://b/", "retries": "2", "timeout": "5", "cert": "/c",
    }  # fmt: skip


def test_a_file_that_a_variable_names_is_the_last_and_dev_null_is_none_at_all(tmp_path: Path) -> None:
    write(tmp_path / "etc/pip.conf", "[global]\nindex-url = https://b/\n")
    own = write(
        tmp_path / "own.conf", "[global]\nindex-url = https://own/\nextra-index-url =\n  https://x/\n  https://y/\n"
    )
    found = settings(tmp_path, PIP_CONFIG_FILE=str(own))
    assert found["index-url"] == "https://own/"
    assert said(found) == (["--no-config"], {"UV_DEFAULT_INDEX": "https://own/", "UV_INDEX": "https://x/ https://y/"})
    assert settings(tmp_path, PIP_CONFIG_FILE="/dev/null").keys() == {"config-file"}


def test_pips_own_reading_is_the_same(tmp_path: Path) -> None:
    write(tmp_path / "home/.pip/pip.conf", "[global]\nindex-url = https://old/\nproxy = http://p:1\n")
    write(tmp_path / "home/.config/pip/pip.conf", "[global]\nindex-url = https://new/\n[install]\nno-index = true\n")
    environment = {"HOME": str(tmp_path / "home"), "XDG_CONFIG_DIRS": str(tmp_path / "xdg"), "PIP_TRUSTED_HOST": "a b"}
    write(tmp_path / "xdg/pip/pip.conf", "[global]\ntrusted-host = c\nfind_links = /w /v\n")
    theirs: dict[str, str] = {}
    [wheel] = Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl")
    listed = subprocess.run(
        [sys.executable, f"{wheel}/pip", "config", "list"], env=environment, capture_output=True, text=True, check=True
    ).stdout
    for section in ("global", "install", ":env:"):
        for line in listed.splitlines():
            key, _, value = line.partition("=")
            if key.startswith(f"{section}."):
                theirs[key.removeprefix(f"{section}.")] = value.strip("'")
    ours = pip_settings(environment, tmp_path)
    outer = {key for key in theirs if key not in ours}  # of the machine that runs this test: /etc/pip.conf
    assert {key: value for key, value in theirs.items() if key not in outer} == ours


@pytest.mark.parametrize(
    ("given", "words", "variables"),
    [
        ({"trusted-host": "a\nb"}, [], {"UV_INSECURE_HOST": "a b"}),
        ({"find-links": "/w /v"}, ["--no-config"], {"UV_FIND_LINKS": "/w,/v"}),
        ({"no-index": "true"}, ["--no-config", "--no-index"], {}),
        ({"disable-pip-version-check": "1", "progress-bar": "off"}, [], {}),
        ({"cert": "/ca", "client-cert": "/me"}, [], {"SSL_CERT_FILE": "/ca", "SSL_CLIENT_CERT": "/me"}),
        ({"timeout": "9", "retries": "0"}, [], {"UV_HTTP_TIMEOUT": "9", "UV_HTTP_RETRIES": "0"}),
        (
            {"proxy": "http://p"},
            [],
            dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://p"),
        ),
    ],
)
def test_each_setting_has_its_words(given: dict[str, str], words: list[str], variables: dict[str, str]) -> None:
    assert said(given) == (words, variables)


def test_a_password_in_an_address_is_in_no_argument() -> None:
    secret = "https://me:hush@a/"
    argv, _ = command(
        {"index-url": secret, "extra-index-url": secret, "proxy": secret, "find-links": secret}, "uv", "p", "l"
    )
    assert not any("hush" in word for word in argv)


def test_wheels_that_were_brought_along_are_all_that_is_asked() -> None:
    given = {"index-url": "https://a/", "extra-index-url": "https://b/", "find-links": "/w"}
    assert said(given, "/wheels") == (["--no-config", "--no-index", "--find-links", "/wheels"], {})


def test_what_uv_cannot_be_told_is_left_to_pip(tmp_path: Path) -> None:
    with pytest.raises(NotUnderstood, match="pip is told constraint, which uv cannot be"):
        command({"constraint": "/c.txt"}, "uv", "python", "list")
    write(tmp_path / "etc/pip.conf", "index-url = https://a/\n")
    with pytest.raises(NotUnderstood, match=r"etc/pip\.conf: "):
        settings(tmp_path)
    (tmp_path / "etc/pip.conf").unlink()
    done = subprocess.run(
        [sys.executable, "-P", "-m", "homeport_agent.uv_install", "/nonexistent", "python", "list"],
        env={"PIP_CONSTRAINT": "/c.txt", "HOME": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == NOT_UNDERSTOOD
    assert done.stderr == "error: pip is told constraint, which uv cannot be\n"
