import dataclasses
import shutil
import stat
from pathlib import Path

import pytest
from homeport_agent.identity import Identity, IdentityStore, NotJoined

MADE = Identity("h", 7400, 7401, "s", "host-1", "gpu-1", 0.0, 90.0, "the key", "the certificate", "the ca")


@pytest.fixture
def store(tmp_path: Path) -> IdentityStore:
    return IdentityStore(tmp_path)


def test_what_is_saved_is_read_back(store: IdentityStore) -> None:
    store.save(MADE)
    assert store.read() == MADE


def test_the_key_is_for_its_owner_only_and_in_no_repr(store: IdentityStore) -> None:
    store.save(MADE)
    assert stat.S_IMODE(store.path("key.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    assert "the key" not in repr(MADE)


def test_a_replaced_identity_keeps_its_paths_and_leaves_nothing_of_the_old_one(store: IdentityStore) -> None:
    store.save(MADE)
    paths = [store.path(name) for name in ("key.pem", "certificate.pem", "ca.pem")]
    store.save(dataclasses.replace(MADE, key_pem="another key", certificate_pem="another certificate"))
    assert [path.read_text() for path in paths] == ["another key", "another certificate", "the ca"]
    assert "the key" not in "".join(path.read_text() for path in store.folder.rglob("*") if path.is_file())


def test_a_save_that_was_cut_off_changes_nothing(store: IdentityStore) -> None:
    store.save(MADE)
    half = store.folder / "version-2"
    half.mkdir()
    (half / "key.pem").write_text("half of it")
    assert store.read() == MADE
    store.save(MADE)
    assert store.read() == MADE


def test_without_an_identity_the_way_to_get_one_is_told(store: IdentityStore) -> None:
    with pytest.raises(NotJoined, match="homeport agent join"):
        store.read()


def test_what_another_process_saved_is_read_also_where_it_began_anew(store: IdentityStore) -> None:
    other = IdentityStore(store.folder.parent)
    store.save(MADE)
    assert store.read() == MADE
    for host_id in ("h2", "h3"):
        changed = dataclasses.replace(MADE, host_id=host_id)
        other.save(changed)
        assert store.read() == changed
    shutil.rmtree(store.folder)
    with pytest.raises(NotJoined):
        store.read()
    other.save(MADE)
    assert store.read() == MADE


def test_a_broken_identity_is_told(store: IdentityStore) -> None:
    store.save(MADE)
    store.path("server.json").write_text("{")
    with pytest.raises(NotJoined, match="cannot be read"):
        store.read()


def test_it_is_renewed_at_two_thirds_of_its_life() -> None:
    assert MADE.renew_at_s() == 60
    assert MADE.is_expired(90)
    assert not MADE.is_expired(89)


def test_an_ipv6_address_stands_in_brackets() -> None:
    assert dataclasses.replace(MADE, server_host="fd00::1").link_target == "[fd00::1]:7401"
