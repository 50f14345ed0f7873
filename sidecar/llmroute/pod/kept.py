"""The last good routes, kept for the container that comes after this one: memory of the pod, not of the process."""

import contextlib
import logging
from pathlib import Path

from llmroute.pod import rendered
from llmroute.pod.rendered import Rendered

log = logging.getLogger("llmroute")


class LastGood:
    """A file that is there as a whole or not at all."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._content = b""

    def load(self) -> Rendered | None:
        """What an earlier container kept; None where there is nothing that can be read."""
        try:
            self._content = self._file.read_bytes()
            return rendered.read(self._content)
        except FileNotFoundError:
            return None
        except (OSError, rendered.Unreadable) as error:
            log.warning("the last good routes of the container before cannot be read: %s", error)
            return None

    def save(self, routes: Rendered) -> None:
        """Keeps them. What fails is logged: serving matters more."""
        content = rendered.written(routes)
        if content == self._content:
            return
        half = self._file.with_suffix(".new")
        try:
            half.write_bytes(content)
            half.replace(self._file)
            self._content = content
        except OSError as error:
            log.warning("the routes cannot be kept for a restart of the container: %s", error)
            with contextlib.suppress(OSError):
                half.unlink()
