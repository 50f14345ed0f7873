"""Bytes of a wire format ↔ our values. Pure: no socket, no clock, no aiohttp.

Belongs here: what a body asks for (`peek`), the body for a target (`encode`), how its answer is read (`answer_reader`),
what its errors mean (`classify`), our own answers in the app's dialect, and the table of providers with their quirks
(`PROFILES`). Between the same dialect bytes pass through, and nothing is modelled but the few members that are needed.
Between dialects there is one internal form (`conversation`), with one adapter in and one out for each dialect.

Does not belong here: which target is chosen, sending, retrying, headers, keys.
"""

from llmroute.dialects.answers import (
    error_body,
    error_event,
    estimate_input_tokens,
    model_entry,
    model_list,
    translate_error,
)
from llmroute.dialects.failures import Failure, classify
from llmroute.dialects.identity import answer_id, goes_on_from
from llmroute.dialects.peek import peek
from llmroute.dialects.profiles import PROFILES, Profile, passthrough_path, profile_for, url_path
from llmroute.dialects.reader import AnswerReader
from llmroute.dialects.replay import to_body, to_stream, with_usage
from llmroute.dialects.targets import answer_reader, encode, missing_for

__all__ = [
    "PROFILES",
    "AnswerReader",
    "Failure",
    "Profile",
    "answer_id",
    "answer_reader",
    "classify",
    "encode",
    "error_body",
    "error_event",
    "estimate_input_tokens",
    "goes_on_from",
    "missing_for",
    "model_entry",
    "model_list",
    "passthrough_path",
    "peek",
    "profile_for",
    "to_body",
    "to_stream",
    "translate_error",
    "url_path",
    "with_usage",
]
