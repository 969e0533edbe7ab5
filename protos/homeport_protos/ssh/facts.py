"""What `install.sh --survey` says of a machine, read. It is believed until an agent there says it itself.

Lines `fact NAME VALUE`, and `gpu` with the columns of GPU_QUERY of `nvidia-smi --query-gpu --format=csv,noheader,nounits`. What
MIG instances a GPU is cut into is not known before NVML is asked.
"""

from collections.abc import Iterator

from homeport_protos.common.v1 import host_pb2

# install.sh has the same list; names of `nvidia-smi --help-query-gpu`.
GPU_QUERY = ("uuid", "name", "memory.total", "compute_cap", "pci.bus_id", "driver_version", "mig.mode.current")
_NUMBERS = {"cpus", "memory_mib", "memory_available_mib", "disk_total_mib", "disk_free_mib"}
_WORDS = {"hostname", "os", "kernel", "architecture", "docker_version", "gpus_unavailable"}


def facts_of(said: str) -> host_pb2.HostFacts:
    """Lines that are none of these are passed over, and so is a number that is none."""
    facts = host_pb2.HostFacts()
    for kind, value in _rows(said):
        if kind == "gpu":
            gpu = _gpu(value)
            if gpu is not None:
                facts.gpus.append(gpu)
            continue
        name, _, text = value.partition(" ")
        if name in _NUMBERS and text.isdigit():
            setattr(facts, name, int(text))
        elif name in _WORDS:
            setattr(facts, name, text[:1000])
    facts.gpus.sort(key=lambda gpu: gpu.uuid)
    return facts


def _rows(said: str) -> Iterator[tuple[str, str]]:
    for line in said.splitlines():
        kind, _, value = line.partition(" ")
        if kind in {"fact", "gpu"}:
            yield kind, value.strip()


def _gpu(row: str) -> host_pb2.Gpu | None:
    cells = [cell.strip() for cell in row.split(",")]
    if len(cells) != len(GPU_QUERY):
        return None
    uuid, name, memory, capability, bus, driver, mig = cells
    if not uuid.startswith("GPU-") or not memory.isdigit():
        return None
    return host_pb2.Gpu(
        uuid=uuid,
        name=name,
        memory_total_mib=int(memory),
        compute_capability=capability,
        pci_bus_id=bus,
        driver_version=driver,
        mig_enabled=mig == "Enabled",
    )
