"""The default image: what a service without `image` runs in, by a template that the server's setting holds.

Covers the template and what is filled in. Does not cover how such an image is made (`homeport image build`).
"""

from string import Formatter

from homeport_control.spec.problems import Mistake, closest, quoted
from homeport_control.spec.service import ServiceSpec
from homeport_control.spec.words import image, python_version

DEFAULT_TEMPLATE = "homeport/base:py{python}{variant}"
DEFAULT_PYTHON = "3.11"  # of a service that names none: Debian 12 has it, whose archive every host can use
_PLACEHOLDERS = ("python", "variant")


def check_template(template: str) -> str:
    """The template as it was given. Raises Mistake for an unknown placeholder, or what can be no image's name."""
    try:
        named = [name for _, name, _, _ in Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise Mistake(f"{quoted(template)}: {error}", f"Write it like `{DEFAULT_TEMPLATE}`") from None
    for name in named:
        if name not in _PLACEHOLDERS:
            raise Mistake(
                f"{quoted(template)} has an unknown placeholder {quoted('{' + name + '}')}",
                closest(name, _PLACEHOLDERS).replace("`python`", "`{python}`").replace("`variant`", "`{variant}`"),
            )
    try:
        image(template.format(python=DEFAULT_PYTHON, variant="-cuda"))
    except (ValueError, LookupError) as error:
        why = error.message if isinstance(error, Mistake) else str(error)
        raise Mistake(
            f"{quoted(template)} makes no image's name: {why}", f"Write it like `{DEFAULT_TEMPLATE}`"
        ) from None
    return template


def image_of(spec: ServiceSpec, template: str) -> str:
    """The image that a replica of this service runs: its own, or the default one for its Python and its GPU."""
    if spec.image is not None:
        return spec.image
    variant = "-nvcc" if spec.nvcc else "-cuda" if spec.resources.gpu is not None else ""
    return template.format(python=spec.python or DEFAULT_PYTHON, variant=variant)


def hint_of(spec: ServiceSpec) -> str:
    """What to do when neither a registry nor the host has the default image; empty for an image of the service's own."""
    if spec.image is not None:
        return ""
    python = python_version(spec.python or DEFAULT_PYTHON)
    variant = "nvcc" if spec.nvcc else "cuda" if spec.resources.gpu is not None else ""
    make = f"homeport image build --python {python}" + (f" --variant {variant}" if variant else "")
    return (
        f"this is the default image: run `{make}` on that host, or set `image` in the file, "
        "or --base-image (HOMEPORT_BASE_IMAGE) of the server"
    )
