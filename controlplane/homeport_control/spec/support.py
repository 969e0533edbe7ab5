"""What the language has and this version does not carry out: refused by name, never ignored. Shrinks as issues land."""

from collections.abc import Iterator

from homeport_control.spec.document import Spec
from homeport_control.spec.problems import Problem, path_of
from homeport_control.spec.service import ServiceSpec


def unsupported(spec: Spec, local_gateway: str = "local") -> tuple[Problem, ...]:
    """One problem per key. `local_gateway` is the name of the only gateway that there is."""
    if not isinstance(spec, ServiceSpec):
        return (Problem("type", f"`type: {spec.type}` is not supported yet"),)
    return tuple(_of_service(spec, local_gateway))


def _of_service(spec: ServiceSpec, local_gateway: str) -> Iterator[Problem]:
    if spec.python is not None:
        yield _not_yet("python", "Set `image` to one that has this Python")
    if spec.nvcc:
        yield _not_yet("nvcc", "Set `image` to one that has it")
    if spec.image is None and spec.python is None and not spec.nvcc:
        yield Problem("", "a service without `image` is not supported yet", "Set `image`")
    if spec.home_dir is not None:
        yield _not_yet("home_dir", "Set `HOME` in `env`")
    if spec.files:
        yield _not_yet("files", "Put the files into the image, or use `volumes`")
    if spec.repo:
        yield _not_yet("repo", "Put the code into the image, or use `volumes`")
    if spec.working_dir is not None and not spec.working_dir.startswith("/"):
        yield Problem("working_dir", "a relative `working_dir` is not supported yet", "Write an absolute path")
    if spec.model is not None:
        yield _not_yet("model", "Remove it, and call the service by its own address")
    if spec.scaling is not None:
        yield _not_yet("scaling", "Set `replicas` to one number")
    if not spec.replicas.is_exact:
        yield Problem("replicas", "a range of `replicas` is not supported yet", "Set one number")
    if spec.rate_limits:
        yield _not_yet("rate_limits")
    if spec.https is True:
        yield Problem("https", "`https: true` is not supported yet", "Leave `https` out")
    if spec.resources.gpu is not None and spec.resources.gpu.shared:
        yield _not_yet("resources.gpu.shared", "Leave it out: the replica gets a whole GPU")
    for index, volume in enumerate(spec.volumes):
        if volume.name is not None:
            yield Problem(
                path_of(("volumes", index)),
                "named volumes are not supported yet",
                f"Mount a path of the host: `/srv/{volume.name}:{volume.path}`",
            )
    if spec.gateway not in (None, local_gateway):
        yield Problem("gateway", f"gateways besides `{local_gateway}` are not supported yet", "Leave `gateway` out")


def _not_yet(path: str, hint: str = "") -> Problem:
    return Problem(path, f"`{path.rpartition('.')[2]}` is not supported yet", hint)
