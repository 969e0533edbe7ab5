"""The agent's log on stderr, one line per record, as text or as JSON.

The standard library on purpose: the agent stays small on every host. Nothing secret is ever an argument of a record.
"""

import json
import logging
import sys
import time


def stamp_of(record: logging.LogRecord) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"


class TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = " ".join(super().format(record).split("\n")) if not record.exc_info else super().format(record)
        return f"{stamp_of(record)} level={record.levelname.lower()} {text}"


class JsonFormatter(TextFormatter):
    def format(self, record: logging.LogRecord) -> str:
        document = {
            "time": stamp_of(record),
            "level": record.levelname.lower(),
            "message": logging.Formatter.format(self, record),
        }
        return json.dumps(document)


def begin(log_format: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
