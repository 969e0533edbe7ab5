"""`python -P -m homeport_agent.health.cuda_check UUID`: opens a CUDA context on one GPU, allocates, copies, computes, compares.

A process of its own, since a sick GPU can hang or kill whoever touches it. It speaks to the driver's libcuda.so.1 itself:
no toolkit is needed. Exit code 0: it computed right; 1: it did not; 3: CUDA could not tell. One sentence on stdout.
"""

import ctypes
import os
import sys
from array import array
from ctypes import byref, c_char_p, c_int, c_uint, c_uint64, c_void_p
from typing import Any

PASSED, FAILED, UNABLE = 0, 1, 3
NUMBERS = 1 << 18  # 1 MiB in each of three buffers
BLOCK = 256

# What says nothing against the GPU: out of memory and "unavailable" (others use it), a stub of a library, a driver that
# cannot compile this PTX or has no compiler.
TELLS_NOTHING = {2, 34, 46, 209, 218, 221, 222}

PTX = b"""
.version 6.0
.target sm_50
.address_size 64
.visible .entry add(.param .u64 a, .param .u64 b, .param .u64 c, .param .u32 n)
{
    .reg .pred %p;
    .reg .u32 %i, %x, %y, %n;
    .reg .u64 %a, %b, %c, %o;
    ld.param.u64 %a, [a];
    ld.param.u64 %b, [b];
    ld.param.u64 %c, [c];
    ld.param.u32 %n, [n];
    mov.u32 %i, %ctaid.x;
    mov.u32 %x, %ntid.x;
    mov.u32 %y, %tid.x;
    mad.lo.u32 %i, %i, %x, %y;
    setp.ge.u32 %p, %i, %n;
    @%p bra done;
    cvta.to.global.u64 %a, %a;
    cvta.to.global.u64 %b, %b;
    cvta.to.global.u64 %c, %c;
    mul.wide.u32 %o, %i, 4;
    add.u64 %a, %a, %o;
    add.u64 %b, %b, %o;
    add.u64 %c, %c, %o;
    ld.global.u32 %x, [%a];
    ld.global.u32 %y, [%b];
    add.u32 %x, %x, %y;
    st.global.u32 [%c], %x;
done:
    ret;
}
\0"""


class CudaError(Exception):
    def __init__(self, function: str, code: int, name: str) -> None:
        super().__init__(f"{function} failed: {name} ({code})")
        self.code = code


class Cuda:
    """The driver's API; each call raises CudaError unless it succeeds."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    def __call__(self, function: str, *arguments: Any) -> None:
        code = getattr(self._library, function)(*arguments)
        if code:
            name = c_char_p()
            self._library.cuGetErrorName(code, byref(name))
            raise CudaError(function, code, (name.value or b"unknown error").decode())


def compute(cuda: Cuda) -> str:
    """Empty when the one GPU that is visible computes right, else what is wrong. Raises CudaError."""
    cuda("cuInit", 0)
    device, context = c_int(), c_void_p()
    cuda("cuDeviceGet", byref(device), 0)
    cuda("cuCtxCreate_v2", byref(context), 0, device)
    size = c_uint64(NUMBERS * 4)
    one, two = array("I", range(NUMBERS)), array("I", range(7, 7 + NUMBERS))
    buffers = [c_uint64() for _ in range(3)]
    for buffer in buffers:
        cuda("cuMemAlloc_v2", byref(buffer), size)
    for buffer, numbers in zip(buffers, (one, two), strict=False):
        cuda("cuMemcpyHtoD_v2", buffer, c_void_p(numbers.buffer_info()[0]), size)
    module, function = c_void_p(), c_void_p()
    cuda("cuModuleLoadData", byref(module), PTX)
    cuda("cuModuleGetFunction", byref(function), module, b"add")
    values = (*buffers, c_uint(NUMBERS))
    parameters = (c_void_p * len(values))(*(ctypes.cast(byref(it), c_void_p) for it in values))
    grid, block = (-(-NUMBERS // BLOCK), 1, 1), (BLOCK, 1, 1)
    cuda("cuLaunchKernel", function, *grid, *block, 0, c_void_p(), parameters, c_void_p())
    cuda("cuCtxSynchronize")
    sums = array("I", bytes(NUMBERS * 4))
    cuda("cuMemcpyDtoH_v2", c_void_p(sums.buffer_info()[0]), buffers[2], size)
    for buffer in buffers:
        cuda("cuMemFree_v2", buffer)
    cuda("cuCtxDestroy_v2", context)
    wrong = sum(it != 2 * index + 7 for index, it in enumerate(sums))
    return f"{wrong} of {NUMBERS} sums are wrong" if wrong else ""


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        sys.stderr.write("usage: python -P -m homeport_agent.health.cuda_check UUID\n")
        return 2
    # Before the library is loaded: a sick neighbour must not speak here.
    os.environ |= {"CUDA_VISIBLE_DEVICES": arguments[0], "CUDA_CACHE_DISABLE": "1"}
    verdict, sentence = _checked()
    sys.stdout.write(sentence + "\n")
    return verdict


def _checked() -> tuple[int, str]:
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return UNABLE, "libcuda.so.1 is not on this host"
    try:
        wrong = compute(Cuda(library))
    except CudaError as error:
        return (UNABLE if error.code in TELLS_NOTHING else FAILED), str(error)
    except AttributeError as error:
        return UNABLE, f"libcuda.so.1 is too old or no driver's: {error}"
    return (FAILED, wrong) if wrong else (PASSED, f"it opened a context and computed {NUMBERS} sums")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
