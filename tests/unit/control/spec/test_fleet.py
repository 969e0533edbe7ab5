from typing import Any

import pytest
from homeport_control.spec.document import parse
from homeport_control.spec.fleet import FleetHost, FleetSpec, Wake
from homeport_control.spec.problems import BadDocument

REFERENCE: dict[str, Any] = {
    "type": "fleet",
    "name": "lab",
    "ssh_config": {
        "user": "ubuntu",
        "identity_file": "~/.ssh/id_ed25519",
        "proxy_jump": {"hostname": "bastion", "user": "me", "identity_file": "~/.ssh/jump"},
        "hosts": [
            "192.168.1.11",
            {"hostname": "192.168.1.12", "port": 2222, "user": "root", "identity_file": "~/.ssh/other"},
        ],
    },
    "provision": "always",
    "idle_duration": "3d",
    "labels": {"rack": "a", "row": 5},
    "region": "basement",
}


def told(document: dict[str, Any]) -> list[str]:
    with pytest.raises(BadDocument) as caught:
        parse({"type": "fleet", **document})
    return [problem.path for problem in caught.value.problems]


def test_the_fleet_of_the_reference_is_read() -> None:
    spec = parse(REFERENCE).spec
    assert isinstance(spec, FleetSpec)
    assert spec.idle_duration_s == 259200
    assert spec.labels == {"rack": "a", "row": "5"}
    assert spec.ssh_config is not None
    assert spec.ssh_config.hosts == (
        FleetHost(hostname="192.168.1.11"),
        FleetHost(hostname="192.168.1.12", port=2222, user="root", identity_file="~/.ssh/other"),
    )
    assert FleetSpec.model_validate_json(spec.model_dump_json()) == spec


def test_a_fleet_needs_no_hosts_because_hosts_can_join() -> None:
    assert parse({"type": "fleet", "name": "lab"}).spec == FleetSpec(name="lab")


@pytest.mark.parametrize(
    ("ssh", "path"),
    [
        ({"user": "u", "hosts": []}, "ssh_config.hosts"),
        ({"user": "u"}, "ssh_config.hosts"),
        ({"hosts": ["a"]}, "ssh_config.hosts[0]"),
        ({"user": "u", "hosts": ["a", "b", {"hostname": "a"}]}, "ssh_config.hosts[2]"),
        ({"user": "u", "hosts": ["root@a"]}, "ssh_config.hosts[0].hostname"),
        ({"user": "u", "hosts": [{"hostname": "a", "prot": 1}]}, "ssh_config.hosts[0].prot"),
        (
            {"user": "u", "hosts": ["a"], "proxy_jump": {"hostnam": "b", "hostname": "c"}},
            "ssh_config.proxy_jump.hostnam",
        ),
    ],
)
def test_a_wrong_host_is_told_with_its_place(ssh: dict[str, Any], path: str) -> None:
    assert told({"ssh_config": ssh}) == [path]


def test_one_address_with_two_ports_is_two_hosts() -> None:
    hosts = ["a", {"hostname": "a", "port": 2222}]
    assert parse({"type": "fleet", "ssh_config": {"user": "u", "hosts": hosts}}).spec is not None


ON_DEMAND: dict[str, Any] = {"type": "fleet", "name": "lab", "provision": "on-demand"}
SSH: dict[str, Any] = {"user": "u", "identity_file": "~/.ssh/k"}
MAC = "3c:ec:ef:12:34:56"


def test_an_on_demand_host_may_be_woken_and_shut_down() -> None:
    hosts = [
        {"hostname": "a", "wake": {"mac": "3C-EC-EF-12-34-56", "broadcast": "10.0.0.255"}},
        {"hostname": "b", "wake": MAC},
    ]
    spec = parse({**ON_DEMAND, "power_off": True, "ssh_config": {**SSH, "hosts": hosts}}).spec
    assert isinstance(spec, FleetSpec)
    assert spec.ssh_config is not None
    assert [host.wake for host in spec.ssh_config.hosts] == [
        Wake(mac=MAC, broadcast="10.0.0.255"),
        Wake(mac=MAC, broadcast="255.255.255.255"),
    ]
    assert FleetSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"provision": "on-demand"}, "provision"),
        ({"provision": "on-demand", "ssh_config": {"user": "u", "hosts": ["a"]}}, "ssh_config.hosts[0]"),
        ({"provision": "on-demand", "power_off": True, "ssh_config": {**SSH, "hosts": ["a"]}}, "ssh_config.hosts[0]"),
        ({"power_off": True, "ssh_config": {**SSH, "hosts": ["a"]}}, "power_off"),
        ({"ssh_config": {**SSH, "hosts": [{"hostname": "a", "wake": MAC}]}}, "ssh_config.hosts[0].wake"),
        (
            {"provision": "on-demand", "ssh_config": {**SSH, "hosts": [{"hostname": "a", "wake": "3c:ec"}]}},
            "ssh_config.hosts[0].wake.mac",
        ),
        (
            {
                "provision": "on-demand",
                "ssh_config": {**SSH, "hosts": [{"hostname": "a", "wake": {"mac": MAC, "broadcast": "all"}}]},
            },
            "ssh_config.hosts[0].wake.broadcast",
        ),
    ],
)
def test_what_an_on_demand_fleet_needs_and_what_is_for_it_alone(document: dict[str, Any], path: str) -> None:
    assert told(document) == [path]
