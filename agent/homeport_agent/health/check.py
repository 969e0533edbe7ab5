"""Runs the CUDA check of one GPU in a process of its own, for a bounded time.

Covers the process and what its end means. What it does: cuda_check; when it is run: judge.
"""

import asyncio
import os
import signal
import sys
from contextlib import suppress

from homeport_agent.gpus.model import Gpu
from homeport_agent.health.model import Outcome, Verdict

CHECK_S = 30.0  # a cold driver takes up to 10 s for its first context on a host of 8 GPUs
KILLED_S = 5.0
MOST_SENTENCE = 300
_VERDICTS = {0: Verdict.PASSED, 1: Verdict.FAILED, 3: Verdict.UNABLE}


class CudaCheck:
    def __init__(self, limit_s: float = CHECK_S) -> None:
        self._limit_s = limit_s

    async def __call__(self, gpu: Gpu) -> Outcome:
        """Never raises, and always ends within the limit and a few seconds more."""
        if gpu.mig_enabled:
            return Outcome(Verdict.UNABLE, "it is cut into MIG instances: no context is possible on the GPU itself")
        if gpu.compute_mode.startswith("exclusive") and gpu.processes:
            return Outcome(Verdict.UNABLE, f"process {gpu.processes[0].pid} has it for itself (compute mode)")
        try:
            return await self._run(gpu.uuid)
        except OSError as error:
            return Outcome(Verdict.UNABLE, f"the check could not be started: {error.strerror}")

    async def _run(self, uuid: str) -> Outcome:
        # A session of its own: whatever it starts is killed with it.
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "homeport_agent.health.cuda_check", uuid),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(self._limit_s):
                output, _ = await process.communicate()
        except TimeoutError:
            return Outcome(Verdict.FAILED, f"opening a context and computing took more than {self._limit_s:g} s")
        finally:
            await _end(process)
        said = output.decode("utf-8", "replace").strip().splitlines()[-1:] or ["it said nothing"]
        code = process.returncode or 0
        if code in _VERDICTS:
            return Outcome(_VERDICTS[code], said[0][:MOST_SENTENCE])
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        return Outcome(Verdict.FAILED, f"the check ended {how}: {said[0][:MOST_SENTENCE]}")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    # One that hangs in the driver does not die before the driver lets go of it.
    with suppress(TimeoutError):
        async with asyncio.timeout(KILLED_S):
            await process.wait()
