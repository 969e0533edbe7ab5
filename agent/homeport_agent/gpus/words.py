"""NVML's numbers as words: architectures, compute modes, reasons for lower clocks, ways between GPUs.

Values only. The numbers are those of NVIDIA's nvml.h.
"""

# Of the module's own table, and not pynvml's: that has no names, and is imported only where there is a driver.
ARCHITECTURES = {
    2: "Kepler",
    3: "Maxwell",
    4: "Pascal",
    5: "Volta",
    6: "Turing",
    7: "Ampere",
    8: "Ada",
    9: "Hopper",
    10: "Blackwell",
    11: "T23x",
    13: "Rubin",
}
COMPUTE_MODES = {0: "default", 1: "exclusive-thread", 2: "prohibited", 3: "exclusive-process"}
# As `nvidia-smi topo -m` writes the nearest common ancestor; 0 is the board that both stand on.
PATHS = {0: "PIX", 10: "PIX", 20: "PXB", 30: "PHB", 40: "NODE", 50: "SYS"}
_THROTTLES = {
    0x4: "sw-power-cap",
    0x8: "hw-slowdown",
    0x10: "sync-boost",
    0x20: "sw-thermal-slowdown",
    0x40: "hw-thermal-slowdown",
    0x80: "hw-power-brake",
    0x100: "display-clock-setting",
}  # 0x1 is idle and 0x2 a clock that the user set: nothing holds it back


def throttled(reasons: int) -> tuple[str, ...]:
    """Why the clocks are lower than they could be, sorted."""
    return tuple(sorted(word for bit, word in _THROTTLES.items() if reasons & bit))


def architecture(number: int | None) -> str:
    """Empty: one that we have no name for."""
    return ARCHITECTURES.get(number or 0, "")
