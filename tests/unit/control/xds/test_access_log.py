"""xds/access_log: which fields there are. What Envoy makes of them: tests/envoy/test_access_log.py."""

from homeport_control.xds.access_log import ACCESS_LOGS, FIELDS


def test_no_field_can_carry_a_secret() -> None:
    commands = " ".join(FIELDS.values()).upper()
    for word in ("AUTHORIZATION", "COOKIE", "REFERER", "WQ", "QUERY", "X-FORWARDED"):
        assert word not in commands


def test_the_file_is_in_envoys_own_folder_and_fields_stand_in_envoys_order() -> None:
    assert {it["typed_config"]["path"] for it in ACCESS_LOGS} == {"access.log"}
    assert list(FIELDS) == sorted(FIELDS)


def test_each_request_has_one_line_with_all_fields() -> None:
    post, other = (it["filter"]["header_filter"]["header"] for it in ACCESS_LOGS)
    assert other == {**post, "invert_match": True}
    assert post["treat_missing_header_as_empty"]
    of_post, of_other = (it["typed_config"]["log_format"]["json_format"] for it in ACCESS_LOGS)
    assert of_post == FIELDS
    assert list(of_other) == list(FIELDS)
    assert {key for key in FIELDS if of_other[key] != FIELDS[key]} == {"model", "prompt_tokens", "completion_tokens"}
