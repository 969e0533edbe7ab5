import stat
from pathlib import Path

import pytest
from homeport import config
from homeport.errors import Error, Invalid, Unauthenticated

PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOMEPORT_CONFIG": str(tmp_path / "deep" / "config.yml")}


def test_what_was_saved_is_what_is_loaded(environ: dict[str, str]) -> None:
    saved = config.Config("box:7400", "hp_secret", PEM)
    config.save(saved, environ)
    assert config.load(environ) == saved


def test_only_the_owner_can_read_the_file_and_its_new_folder(environ: dict[str, str]) -> None:
    file = config.save(config.Config("box:7400", "hp_secret", PEM), environ)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_saving_over_a_readable_file_takes_the_right_away_and_leaves_nothing_beside_it(environ: dict[str, str]) -> None:
    file = config.path(environ)
    file.parent.mkdir(parents=True)
    file.write_text("server: old:1\n")
    file.chmod(0o644)
    config.save(config.Config("box:7400", "hp_secret", PEM), environ)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [entry.name for entry in file.parent.iterdir()] == ["config.yml"]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Error, match=r"cannot write .*HOMEPORT_CONFIG"):
        config.save(config.Config("box:7400", "t", PEM), {"HOMEPORT_CONFIG": str(tmp_path / "file" / "config.yml")})


def test_each_variable_overrides_its_value_alone(environ: dict[str, str]) -> None:
    config.save(config.Config("box:7400", "hp_secret", PEM), environ)
    loaded = config.load({**environ, "HOMEPORT_TOKEN": "hp_other"})
    assert (loaded.server, loaded.token, loaded.token_is_from_environment) == ("box:7400", "hp_other", True)
    assert config.load({**environ, "HOMEPORT_SERVER": "far:1"}).server == "far:1"
    assert not config.load({**environ, "HOMEPORT_SERVER": "far:1"}).token_is_from_environment


def test_variables_alone_are_enough(environ: dict[str, str]) -> None:
    given = {"HOMEPORT_SERVER": "far", "HOMEPORT_TOKEN": "hp_other", "HOMEPORT_CA": PEM}
    assert config.load({**environ, **given}) == config.Config("far:7400", "hp_other", PEM, True)


def test_a_ca_by_path_is_relative_to_the_file_that_names_it(environ: dict[str, str]) -> None:
    file = config.path(environ)
    file.parent.mkdir(parents=True)
    (file.parent / "ca.pem").write_text(PEM)
    file.write_text("{server: box, token: hp_x, ca: ca.pem}")
    assert config.load(environ).ca_pem == PEM


def test_what_is_missing_is_named_with_what_to_do(environ: dict[str, str]) -> None:
    with pytest.raises(Unauthenticated, match=r"the server, the token, the CA not set.*homeport login"):
        config.load(environ)
    with pytest.raises(Unauthenticated, match=r"\(the token not set\)"):
        config.load({**environ, "HOMEPORT_SERVER": "far", "HOMEPORT_CA": PEM})


@pytest.mark.parametrize("text", ["token: [hp_secret", "- hp_secret", "hp_secret", "\t: hp_secret"])
def test_a_broken_file_is_one_line_without_the_secret_in_it(environ: dict[str, str], text: str) -> None:
    file = config.path(environ)
    file.parent.mkdir(parents=True)
    file.write_text(text)
    with pytest.raises(Error, match="homeport login") as caught:
        config.load(environ)
    assert "hp_secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ca", ["nowhere.pem", "."])
def test_a_ca_that_cannot_be_read_is_one_line(environ: dict[str, str], ca: str) -> None:
    given = {"HOMEPORT_SERVER": "far", "HOMEPORT_TOKEN": "hp_other", "HOMEPORT_CA": ca}
    with pytest.raises(Error, match="cannot read the CA certificate"):
        config.load({**environ, **given})


def test_a_file_that_is_no_certificate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("hello")
    with pytest.raises(Error, match="holds no PEM certificate"):
        config.read_ca("ca.pem", tmp_path)


def test_the_place_follows_the_habits_of_the_desktop(tmp_path: Path) -> None:
    assert config.path({"XDG_CONFIG_HOME": "/x"}) == Path("/x/homeport/config.yml")
    assert config.path({}) == Path.home() / ".config/homeport/config.yml"
    assert config.path({"HOMEPORT_CONFIG": "/y.yml", "XDG_CONFIG_HOME": "/x"}) == Path("/y.yml")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("box", "box:7400"),
        ("box:1", "box:1"),
        ("https://box:7400/", "box:7400"),
        ("10.0.0.5", "10.0.0.5:7400"),
        ("::1", "[::1]:7400"),
        ("[::1]", "[::1]:7400"),
        ("[::1]:99", "[::1]:99"),
    ],
)
def test_an_address_gets_the_default_port(text: str, found: str) -> None:
    assert config.address(text) == found


@pytest.mark.parametrize("text", ["", ":7400", "box:port", "box:0", "box:70000", "box/path:1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="HOST:PORT"):
        config.address(text)


def test_the_web_port_stands_beside_the_api_unless_it_was_chosen() -> None:
    assert config.web_address("box:7400") == "box:7402"
    assert config.web_address("[::1]:7400", 80) == "[::1]:80"


def test_the_secret_is_not_in_the_repr() -> None:
    assert "hp_secret" not in repr(config.Config("box:7400", "hp_secret", PEM))
