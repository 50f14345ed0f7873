"""The Anthropic wire format: messages.

A reader for apps of this dialect, and the adapter between its requests and answers and our internal form. Nothing here
knows the other dialect.
"""

from llmroute.dialects.anthropic.answers import read_answer, write_answer
from llmroute.dialects.anthropic.asking import check, write_request
from llmroute.dialects.anthropic.history import mend
from llmroute.dialects.anthropic.pieces import PieceReader, PieceWriter
from llmroute.dialects.anthropic.replay import from_events, to_events
from llmroute.dialects.anthropic.requests import read_request
from llmroute.dialects.anthropic.streams import MessageReader

__all__ = [
    "MessageReader",
    "PieceReader",
    "PieceWriter",
    "check",
    "from_events",
    "mend",
    "read_answer",
    "read_request",
    "to_events",
    "write_answer",
    "write_request",
]
