"""The control plane of Homeport."""

from importlib.metadata import version

__version__ = version("homeport")
