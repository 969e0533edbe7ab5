"""xds/access_log: which fields there are. What Envoy makes of them: tests/envoy/test_access_log.py."""

from homeport_control.xds.access_log import ACCESS_LOG, FIELDS


def test_no_field_can_carry_a_secret() -> None:
    commands = " ".join(FIELDS.values()).upper()
    for word in ("AUTHORIZATION", "COOKIE", "REFERER", "WQ", "QUERY", "X-FORWARDED"):
        assert word not in commands


def test_the_file_is_in_envoys_own_folder_and_fields_stand_in_envoys_order() -> None:
    assert ACCESS_LOG["typed_config"]["path"] == "access.log"
    assert list(FIELDS) == sorted(FIELDS)
