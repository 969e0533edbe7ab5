"""The flags of `homeport offer` as the keys of the language that they stand for, and mistakes of those keys as flags' own.

Pure. The values are not read here: the server alone knows the language.
"""

import json
import re
from collections.abc import Iterable, Mapping

from homeport_protos.api.v1 import api_pb2

from homeport_cli.errors import UsageError

FLAGS = {
    "resources.gpu": "--gpu",
    "resources.cpu": "--cpu",
    "resources.memory": "--memory",
    "resources.disk": "--disk",
    "resources.shm_size": "--shm-size",
    "fleets": "--fleet",
    "hosts": "--host",
    "regions": "--region",
    "backends": "--backend",
    "spot_policy": "--spot",
    "max_price": "--max-price",
}


# What `KEY=VALUE` may be besides: those that list take one value each time they stand there.
WORDS = {
    flag.removeprefix("--").replace("-", "_"): path
    for path, flag in FLAGS.items()
    if path not in {"spot_policy", "max_price"}
}
LISTS = frozenset({"fleets", "hosts", "regions", "backends"})


def with_words(values: Mapping[str, object], words: Iterable[str]) -> dict[str, object]:
    """`values` and what words like "gpu=24GB:2" say. Raises UsageError."""
    found = dict(values)
    for word in words:
        key, is_pair, value = word.partition("=")
        path = WORDS.get(key.replace("-", "_"))
        if path is None or not is_pair or not value:
            raise UsageError(f"{word} is not KEY=VALUE with a key of {', '.join(sorted(WORDS))}")
        listed = found.get(path)
        if path in LISTS:
            found[path] = [*listed, value] if isinstance(listed, list) else [value]
        elif listed is None:
            found[path] = value
        else:
            raise UsageError(f"{key} is given twice: {listed} and {value}")
    return found


def asked(values: Mapping[str, object]) -> str:
    """The document of `values` by the paths of FLAGS; those that were not given are None or empty."""
    document: dict[str, object] = {}
    for path, value in values.items():
        if value is None or value == []:
            continue
        inside, _, key = path.rpartition(".")
        place = document.setdefault(inside, {}) if inside else document
        assert isinstance(place, dict)  # noqa: S101 - for mypy: it is made one line above
        place[key] = value
    return json.dumps(document)


def problem_lines(problems: Iterable[api_pb2.Problem]) -> list[str]:
    """`--gpu: message. hint`, one line each."""
    lines = []
    for problem in problems:
        flag = next((flag for path, flag in FLAGS.items() if _is_in(problem.path, path)), problem.path)
        line = f"{flag}: {problem.message}" if flag else problem.message
        lines.append(f"{line}. {problem.hint}" if problem.hint else line)
    return lines


def _is_in(path: str, key: str) -> bool:
    return re.match(rf"{re.escape(key)}($|[.\[])", path) is not None
