"""cli/accesstable: tokens, users, the line with which a host joins."""

from fakes.text import lines
from google.protobuf.timestamp_pb2 import Timestamp
from homeport_cli import accesstable
from homeport_protos.api.v1 import api_pb2

NOW_S = 1_800_000_000.0


def at(ago_s: float) -> Timestamp:
    return Timestamp(seconds=int(NOW_S - ago_s))


def test_token_list_shows_what_is_valid_and_never_a_secret() -> None:
    tokens = [
        api_pb2.Token(id="a", name="me", role="admin", created_at=at(60)),
        api_pb2.Token(id="b", name="svc", role="service", services=["web"], created_at=at(60), expires_at=at(1)),
        api_pb2.Token(id="c", name="all", role="service", created_at=at(60), expires_at=at(-7200)),
        api_pb2.Token(id="d", name="old", role="user", created_at=at(60), revoked_at=at(1)),
    ]
    shown = [line.split() for line in lines(accesstable.tokens(tokens, NOW_S))]
    assert shown[1] == ["me", "a", "admin", "valid", "never", "1", "min", "ago"]
    assert shown[2] == ["svc", "b", "service", "web", "expired", "1", "sec", "ago", "1", "min", "ago"]
    assert shown[3] == ["all", "c", "service", "all", "valid", "in", "2", "hours", "1", "min", "ago"]
    assert shown[4][3] == "revoked"


def test_the_join_hint_warns_of_an_address_that_only_this_machine_knows() -> None:
    def hint(server: str, bind: str) -> str:
        joining = api_pb2.Joining(bind=bind, script_sha256="5eb7")
        return "\n".join(accesstable.join_hint(server, joining, at(-3600), NOW_S))

    assert "Only this machine" in hint("127.0.0.1:7400", "::")
    assert "listens on 127.0.0.1 only" in hint("127.0.0.1:7400", "127.0.0.1")
    assert hint("box:7400", "::").endswith(
        "expires in 1 hour.\nIt pins this server's key; the script has the SHA-256 5eb7"
    )


def test_the_join_line_pins_the_key_and_says_what_differs() -> None:
    joining = api_pb2.Joining(web_port=7402, public_key_pin="a+b/c=")
    line = accesstable.join_command("box:7400", joining, "hpj_x_y", ["rack=a"])
    assert line == (
        "curl -fsSLk --pinnedpubkey sha256//a+b/c= https://box:7402/install.sh | "
        "sudo sh -s -- --server box:7400 --join hpj_x_y --label rack=a"
    )
    joining.web_port = 9000
    assert "https://[fd00::1]:9000/install.sh" in accesstable.join_command("[fd00::1]:7400", joining, "hpj_x_y")
    assert accesstable.join_command("box:7400", joining, "hpj_x_y").endswith("--web-port 9000")
