"""The OpenAI wire format: chat completions, completions, embeddings and responses.

Readers for apps of this dialect, and the adapter between its requests and answers and our internal form. Nothing here
knows the other dialect.
"""

from llmroute.dialects.openai.answers import read_answer, write_answer
from llmroute.dialects.openai.asking import check, write_request
from llmroute.dialects.openai.pieces import PieceReader, PieceWriter
from llmroute.dialects.openai.replay import from_chunks, to_chunks
from llmroute.dialects.openai.replay_responses import from_events, to_events
from llmroute.dialects.openai.requests import read_request
from llmroute.dialects.openai.streams import ChunkReader, EventReader

__all__ = [
    "ChunkReader",
    "EventReader",
    "PieceReader",
    "PieceWriter",
    "check",
    "from_chunks",
    "from_events",
    "read_answer",
    "read_request",
    "to_chunks",
    "to_events",
    "write_answer",
    "write_request",
]
