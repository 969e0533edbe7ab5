"""The fake NVML against NVIDIA's own header: prototypes, sizes, numbers; and it has all that the agent calls."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from rig.nvml.gpus import FOLDER, compile_library
from rig.nvml.header import constants, header

AGENT = Path(__file__).parents[2] / "agent" / "homeport_agent"
STRUCTS = (
    "nvmlMemory_t", "nvmlMemory_v2_t", "nvmlUtilization_t", "nvmlPciInfo_t", "nvmlProcessInfo_t", "nvmlEventData_t",
    "nvmlFieldValue_t", "nvmlDeviceAttributes_t",
)  # fmt: skip


def against_nvidia() -> list[str]:
    return ["-DNVML_H_CHECK", f"-I{header().parent}"]


def test_its_prototypes_are_nvidias(tmp_path: Path) -> None:
    assert compile_library(tmp_path, *against_nvidia()).exists()


@pytest.mark.parametrize(
    ("ours", "wrong"),
    [
        ("MigMode(nvmlDevice_t device, unsigned *current", "MigMode(nvmlDevice_t device, int *current"),
        ("nvmlReturn_t nvmlEventSetFree(", "int nvmlEventSetFree("),
        ("nvmlEventSet_t set, nvmlEventData_t *event, unsigned timeout_ms)", "nvmlEventSet_t set, nvmlEventData_t *event)"),
    ],
)  # fmt: skip
def test_a_wrong_prototype_is_caught(tmp_path: Path, ours: str, wrong: str) -> None:
    for file in FOLDER.glob("fake_*"):
        shutil.copy(file, tmp_path)
    source = tmp_path / "fake_nvml.c"
    assert source.read_text().count(ours) == 1
    source.write_text(source.read_text().replace(ours, wrong).replace("waited_ms >= timeout_ms", "waited_ms >= 1"))
    with pytest.raises(subprocess.CalledProcessError) as failed:
        compile_library(tmp_path, *against_nvidia(), sources=tmp_path)
    assert "conflicting types" in failed.value.stderr


def sizes(folder: Path, *flags: str) -> dict[str, str]:
    """Size of each struct, with the place of each of its fields as the header beside it says."""
    fields = {name: declared(name) for name in STRUCTS}
    lines = [f'printf("{name} %zu\\n", sizeof({name}));' for name in STRUCTS]
    lines += [
        f'printf("{name}.{field} %zu\\n", offsetof({name}, {field}));' for name in STRUCTS for field in fields[name]
    ]
    source = folder / "sizes.c"
    source.write_text('#include <stdio.h>\n#include "fake_nvml.h"\nint main(void) {' + "".join(lines) + "return 0; }\n")
    program = folder / f"sizes{len(flags)}"
    subprocess.run(["gcc", f"-I{FOLDER}", *flags, "-o", str(program), str(source)], check=True, timeout=60)
    told = subprocess.run([str(program)], check=True, timeout=60, capture_output=True, text=True).stdout
    return dict(line.split() for line in told.splitlines())


def declared(struct: str) -> list[str]:
    """The fields that our header gives a struct."""
    text = (FOLDER / "fake_nvml.h").read_text()
    body = text[: text.index(f"}} {struct};")].rpartition("typedef struct {")[2]
    body = re.sub(r"union \{.*?\}", "union", body, flags=re.DOTALL)
    return re.findall(r"(\w+)(?:\[\d+\])?\s*[,;]", body)


def test_its_structs_are_laid_out_as_nvidias(tmp_path: Path) -> None:
    ours, theirs = sizes(tmp_path), sizes(tmp_path, *against_nvidia())
    assert ours == theirs
    assert "nvmlFieldValue_t.valueType" in ours


def test_its_error_numbers_are_nvidias() -> None:
    ours = dict(re.findall(r"(NVML_(?:SUCCESS|ERROR_\w+)) = (\d+)", (FOLDER / "fake_nvml.h").read_text()))
    theirs = dict(re.findall(r"(NVML_(?:SUCCESS|ERROR_\w+))\s*=\s*(\d+)", header().read_text()))
    assert len(ours) > 5
    assert {name: theirs[name] for name in ours} == ours


def test_it_has_all_that_the_agent_calls(tmp_path: Path) -> None:
    library = compile_library(tmp_path)
    listed = subprocess.run(["nm", "-D", "--defined-only", str(library)], check=True, capture_output=True, text=True)
    there = {line.split()[-1] for line in listed.stdout.splitlines()}
    source = "\n".join(path.read_text() for path in (AGENT / "gpus").glob("*.py"))
    called = set(re.findall(r"\bnvml(?:Device|System|EventSet|Init|Shutdown)\w*", source))
    assert len(called) > 30
    lacking = {name for name in called if not any(it == name or re.fullmatch(rf"{name}_v\d", it) for it in there)}
    # What a batch's faults are named by, asked for as fields; and an older driver's names, which answer that they are none.
    named = {"nvmlDeviceGetTotalEccErrors", "nvmlDeviceGetRetiredPages", "nvmlDeviceGetRetiredPagesPendingStatus"}
    named |= {"nvmlDeviceGetRemappedRows", "nvmlDeviceGetPcieReplayCounter", "nvmlDeviceGetNvLinkErrorCounter"}
    older = {"nvmlDeviceGetComputeRunningProcesses_v2", "nvmlDeviceGetGraphicsRunningProcesses_v2"}
    assert lacking <= named | older


def test_the_header_has_numbers() -> None:
    assert constants()["NVML_FI_DEV_ECC_SBE_VOL_TOTAL"] == 3
