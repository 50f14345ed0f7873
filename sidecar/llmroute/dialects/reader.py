"""How an attempt's answer is read: one interface for streams and bodies, for the same dialect and for translations."""

from typing import Protocol

from llmroute.dialects.failures import Failure
from llmroute.request import Usage


class AnswerReader(Protocol):
    """Takes the target's bytes as they come and gives the app's bytes; created for each attempt."""

    first_content: bool
    """Content has been seen (text, reasoning, refusal, audio, a tool's name or arguments, none empty), or the end."""
    usage: Usage | None
    content_frames: int
    """Frames since the first content (0 for bodies): stands in for output tokens where the provider counts none."""
    ended: bool
    """The clean end has been seen: `[DONE]`, `message_stop`, a complete body."""
    failure: Failure | None
    """An error inside a 200. The error's own bytes are held back: what was returned so far stays true."""
    finish: str | None
    """Why the answer stopped, in OpenAI's words."""

    def feed(self, chunk: bytes) -> bytes:
        """Bytes for the app: whole frames only; of bodies nothing before `close`. Raises StreamBroken if malformed."""
        ...

    def close(self) -> bytes:
        """At the end of the answer: the rest for the app. Raises StreamBroken if it is incomplete or malformed."""
        ...
