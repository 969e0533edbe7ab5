"""Whether a container on this Docker really gets a GPU: makes one, starts it, takes all of it away again.

The image is empty: NVIDIA's hook runs before the program is looked for, so "there is no such program" says that the GPU
was given. Covers the trial. Does not cover what is said of it (checks).
"""

import io
import tarfile
import uuid

import docker

from homeport_agent.engine.base import BadContainer, ContainerSpec, EngineError
from homeport_agent.engine.docker import DockerEngine

LABEL = "homeport.doctor"  # neither of an agent's two labels: no agent takes it for its own
PROGRAM = "/homeport-doctor"
CALL_S = 30


async def refusal(socket_path: str, gpu_uuid: str) -> str:
    """Empty: it was given. Leaves neither container nor image behind."""
    name = f"homeport-doctor-{uuid.uuid4().hex[:12]}"
    client = docker.APIClient(f"unix://{socket_path}", version="auto", timeout=CALL_S)
    engine = DockerEngine(socket_path)
    try:
        client.import_image_from_data(_empty_tar(), repository=name)
        try:
            labels = ((LABEL, name),)
            spec = ContainerSpec(name, labels, f"{name}:latest", command=(PROGRAM,), gpu_uuids=(gpu_uuid,))
            await engine.start(await engine.create(spec))
        except BadContainer as error:
            return "" if PROGRAM in str(error) else str(error)
        finally:
            await engine.remove(name)
            client.remove_image(f"{name}:latest", force=True)
    except EngineError as error:
        return str(error)
    except (docker.errors.DockerException, OSError) as error:
        return f"the trial could not be made: {' '.join(str(error).split())[:200]}"
    finally:
        await engine.close()
        client.close()
    return ""


def _empty_tar() -> bytes:
    stream = io.BytesIO()
    tarfile.open(fileobj=stream, mode="w").close()
    return stream.getvalue()
