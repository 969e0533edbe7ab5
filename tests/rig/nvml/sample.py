"""One GPU sample of the real sampler per line of input ("usage": how busy they are, "xids": what the driver told), as JSON.

Run in a process that may see the fake library.
"""

import asyncio
import json
import sys
from dataclasses import asdict

from homeport_agent.gpus.nvml import NvmlGpus


async def main() -> None:
    gpus = NvmlGpus(call_s=0.5)
    while asked := await asyncio.to_thread(sys.stdin.readline):
        if asked.strip() == "usage":
            print(json.dumps({"gpus": [asdict(it) for it in await gpus.usage()]}), flush=True)
            continue
        if asked.strip() == "xids":
            print(json.dumps({"xids": [asdict(it) for it in await gpus.xids()]}), flush=True)
            continue
        sample = await gpus.sample()
        print(json.dumps(asdict(sample)), flush=True)
    print(json.dumps({"loaded": "pynvml" in sys.modules}), flush=True)
    await gpus.close()


asyncio.run(main())
