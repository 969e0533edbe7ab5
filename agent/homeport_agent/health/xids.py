"""What each XID of NVIDIA's driver means for its GPU: how bad it is and what to do.

Every row follows NVIDIA's public catalogue, "Analyzing Xid Errors with the Xid Catalog"
(https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html, the r580 list), and its column "immediate action":

| the catalogue says | here |
| RESET_GPU, RESTART_BM, WORKFLOW_XID_48 | failing |
| RESTART_APP, IGNORE, WORKFLOW_XID_45 | no finding: a program's fault, or nothing; a warning when it comes often |
| WORKFLOW_NVLINK_ERR, WORKFLOW_NVLINK5_ERR | a warning, failing when it comes often: the bits that tell more are not in NVML |
| no action, "unused", not listed | a warning |

Where a row differs from that, its comment says why. 57 to 61, 65, 122 to 125 are "unused" since Ampere; their titles are
those of the older list (https://docs.nvidia.com/deploy/xid-errors/index.html). An owner overrides rows by a file
(`overrides`); docs/gpus.md shows the table, and tests/unit/agent/health/test_docs.py holds the two together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from homeport_agent.gpus.model import Severity

RECOVERY_ACTION_CHANGED = 154

OFTEN_S = 600.0  # a window of 10 minutes
OFTEN_FAULTS = 10  # a program that crashes is started again at most about so often (restarts: 1 s doubling to 5 min)
OFTEN_LINKS = 5  # of NVLink: a link that came back by itself five times has a hardware cause


@dataclass(frozen=True, slots=True)
class Xid:
    title: str
    severity: Severity | None  # None: it says nothing of the GPU's health
    action: str
    often: Severity | None = None  # what it is when it comes `often_count` times within OFTEN_S
    often_count: int = OFTEN_FAULTS


Table = Mapping[int, Xid]

_RESET = "reset the GPU (nvidia-smi --gpu-reset -i UUID, with nothing running on it) or reboot the host"
_REBOOT = "reboot the host, with its power off for a moment; when it comes back, have the GPU, its slot and its power looked at"
_RESTART = "restart the program; when it comes back, look for an illegal access in it (compute-sanitizer)"
_NOTHING = "nothing to do"
_LATER = "reset the GPU (nvidia-smi --gpu-reset -i UUID) when nothing runs on it"
_SUPPORT = "watch it; when it comes back, ask NVIDIA or the vendor of the host"
_LINK = "look at the links (nvidia-smi nvlink -e), then " + _RESET + "; when it comes back, ask the vendor of the host"

F, W = Severity.FAILING, Severity.WARNING


def _program(title: str, action: str = _RESTART) -> Xid:
    return Xid(title, None, action, often=W)


def _link(title: str) -> Xid:
    return Xid(title, W, _LINK, often=F, often_count=OFTEN_LINKS)


UNKNOWN = Xid("not in NVIDIA's catalogue", W, _SUPPORT)

# (first, last) code and what both and all between them are.
ROWS: tuple[tuple[int, int, Xid], ...] = (
    (8, 8, _program("GPU stopped processing")),
    (11, 11, _program("invalid or corrupted push buffer stream")),
    (13, 13, _program("graphics engine exception")),
    (14, 14, Xid("injected by a program", None, _NOTHING)),
    (25, 25, _program("illegal push buffer stream")),
    (31, 31, _program("GPU memory page fault")),
    # RESTART_APP; but "primarily quality issues on PCI, generally not caused by user application actions".
    (32, 32, Xid("corrupted push buffer stream", W, "restart the program; when it comes back, look at the PCIe slot")),
    (37, 38, _program("driver firmware error", _SUPPORT)),
    (39, 41, _program("copy engine exception")),
    (43, 43, _program("GPU stopped processing: a program's fault")),
    (44, 44, _program("graphics engine fault during a context switch")),
    (45, 45, _program("a program was taken off the GPU, after an error before or by a signal", _NOTHING)),
    (46, 46, Xid("GPU stopped processing", F, _RESET)),
    (48, 48, Xid("double-bit ECC error", F, _RESET + "; have the GPU replaced when it comes back")),
    (54, 54, Xid("auxiliary power is not connected", W, "look at the power cables of the GPU")),
    (57, 57, Xid("error in programming the video memory interface", W, _SUPPORT)),
    (58, 58, Xid("unstable video memory interface", W, _SUPPORT)),
    (59, 59, Xid("internal micro-controller error", W, _SUPPORT)),
    (60, 60, _program("video processor exception")),
    # "Unused" since Ampere, before it the sister of 62: it works on, and a reset is due.
    (61, 61, Xid("internal micro-controller breakpoint", W, _LATER)),
    (62, 62, Xid("internal micro-controller halt", F, _RESET)),
    # IGNORE; but what was remapped counts from the next reset on, and somebody should know of it.
    (63, 63, Xid("memory row remapped or page retired", W, _LATER)),
    (
        64,
        64,
        Xid("memory row remapping or page retirement failed", F, _RESET + "; have the GPU replaced when it comes back"),
    ),
    (65, 65, _program("video processor exception")),
    (66, 67, _program("illegal access by the driver", _SUPPORT)),
    (68, 68, _program("video decoder exception")),
    (69, 69, _program("graphics engine class error")),
    (70, 72, _program("copy engine error")),
    (74, 74, _link("NVLink error")),
    (75, 77, _program("copy engine error")),
    (78, 78, Xid("vGPU start error", W, "update the driver and the vGPU software")),
    (79, 79, Xid("GPU has fallen off the bus", F, _REBOOT)),
    (80, 80, _program("corrupted data sent to the GPU")),
    (82, 82, _program("JPEG decoder error")),
    (83, 84, _program("video decoder error")),
    (85, 85, _program("copy engine error")),
    (86, 86, _program("optical flow exception")),
    (88, 89, _program("video decoder error")),
    # IGNORE, then CONTACT_SUPPORT: memory that begins to fail.
    (92, 92, Xid("high rate of single-bit ECC errors", W, _SUPPORT)),
    (93, 93, Xid("InfoROM wear limit reached", W, "clear the limit with nvflash --elsessionclear")),
    # RESTART_APP; but "it is recommended to reset the GPU when convenient; applications can continue".
    (94, 94, Xid("contained memory error: one program was ended", W, _LATER)),
    (95, 95, Xid("uncontained memory error", F, _RESET)),
    (96, 98, _program("video decoder error")),
    (99, 105, _program("JPEG decoder error")),
    (106, 107, Xid("test message", None, _NOTHING)),
    (108, 108, _program("NVLink remote translation error")),
    (109, 109, Xid("context switch timeout", F, _RESET)),
    (110, 110, Xid("security fault", F, _REBOOT)),
    (119, 119, Xid("GSP does not answer", F, _RESET)),
    (120, 120, Xid("GSP error", F, _RESET)),
    # IGNORE: corrected by the link itself, "no operational impact".
    (121, 121, _program("corrected errors on the link to the CPU (C2C)", _LATER)),
    (122, 124, Xid("the GPU's flash memory cannot be read or written", W, _SUPPORT)),
    (125, 125, Xid("InfoROM file system error", W, _SUPPORT)),
    (126, 135, _program("copy engine error")),
    (136, 136, Xid("NVLink training failed", F, _LINK)),
    (137, 137, _program("NVLink privilege error: an illegal access to another GPU")),
    (139, 139, _program("optical flow error")),
    (140, 140, Xid("uncorrected ECC error that could not be remapped", F, _RESET)),
    (141, 141, _program("CUDA fast path error")),
    (142, 142, Xid("video encoder error", W, _SUPPORT)),
    (143, 143, Xid("GPU initialisation failed", F, _RESET)),
    (144, 144, _link("NVLink SAW error")),
    (145, 145, _link("NVLink RLW error")),
    (146, 146, _link("NVLink TLW error")),
    (147, 147, _link("NVLink TREX error")),
    (148, 148, _link("NVLink NVLPW_CTRL error")),
    (149, 149, _link("NVLink NETIR error")),
    # Both rules of WORKFLOW_NVLINK5_ERR for this code end with RESET_GPU.
    (150, 150, Xid("NVLink MSE error", F, _LINK)),
    (151, 151, Xid("key rotation error", W, "restart the virtual machine")),
    (152, 153, _program("DLA error", _SUPPORT)),
    # XID_154: the kernel's line says which action; NVML alone does not, and the code that it goes with is there too.
    (154, 154, Xid("the driver asks for another recovery action", W, "see the other XIDs of this GPU, then " + _RESET)),
    # RESET_GPU; but "link down events which are intentional will trigger this Xid".
    (155, 155, _link("NVLink went down by software")),
    (156, 156, Xid("a resource was retired", F, _RESET)),
    # IGNORE: "you may still run workloads, but may experience the same Xid again".
    (157, 157, Xid("a resource could not be retired", W, _SUPPORT)),
    (158, 158, Xid("fatal timeout", F, _RESET)),
    (159, 159, Xid("CHI non-data error on the link to the CPU", W, _LATER)),
    (160, 161, _program("channel retirement", _SUPPORT)),
    (162, 162, Xid("power smoothing is back", None, _NOTHING)),
    (
        163,
        163,
        Xid("power smoothing is off", W, "look at the temperature; reload the driver or reset the GPU to have it back"),
    ),
    (164, 165, Xid("power smoothing wears out", W, "have the GPU replaced if power swings are not acceptable")),
    (166, 166, Xid("NVLink traffic before encryption was set up", W, _SUPPORT)),
    (167, 167, Xid("PCIe fatal timeout", W, _SUPPORT)),
    (168, 168, Xid("errors in protected memory", W, "enable ECC (nvidia-smi -e 1) and reboot the host")),
    (169, 169, Xid("internal micro-controller halt (SEC2)", W, _SUPPORT)),
    (170, 170, Xid("NVLink security interrupt", W, _SUPPORT)),
    # They only add to a 48, which is failing by itself.
    (171, 172, Xid("uncorrectable memory error, details", W, "see XID 48")),
)

BUILT_IN: Table = MappingProxyType({code: row for first, last, row in ROWS for code in range(first, last + 1)})


def meaning(table: Table, code: int, detail: str) -> Xid:
    """What one event means; the detail of a 154 says what the driver asks for."""
    known = table.get(code, UNKNOWN)
    if code != RECOVERY_ACTION_CHANGED or known is not BUILT_IN[code]:
        return known
    _, _, asked = detail.lower().rpartition(" to ")
    if "(none)" in asked:
        return replace(known, severity=None)
    if "drain p2p" in asked:
        return known
    if "node reboot" in asked:
        return replace(known, title="the driver asks for a reboot of the host", severity=F, action=_REBOOT)
    if "reset" in asked:
        return replace(known, title="the driver asks for a reset of the GPU", severity=F, action=_RESET)
    return known
