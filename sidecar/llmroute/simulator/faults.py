"""Which fault hits a request, and what error it stands for. Pure: time and luck are arguments."""

import math
from collections.abc import Sequence
from email.utils import formatdate

from llmroute.simulator.answers import Problem
from llmroute.simulator.connection import Headers
from llmroute.simulator.draws import Draw
from llmroute.simulator.spec import ContextTooLong, CreditTooLow, Duration, Fault, Refused, Status
from llmroute.simulator.timetable import is_open
from llmroute.simulator.wire import Wire


def choose(faults: Sequence[Fault], t: float, draw: Draw, purpose: str) -> Fault | None:
    """The first fault whose window is open and whose chance hits; never Refused, which has no request to hit."""
    for number, fault in enumerate(faults):
        if isinstance(fault, Refused) or not is_open(fault, t):
            continue
        if fault.probability >= 1 or draw.uniform(f"{purpose} {number}") < fault.probability:
            return fault
    return None


def problem(fault: Fault | None, wire: Wire, prompt_tokens: int) -> Problem | None:
    """The error answer that a fault stands for, if it is of that kind."""
    match fault:
        case Status():
            return Problem(fault.status, fault.message or "")
        case CreditTooLow():
            return wire.problems["credit-too-low"]("")
        case ContextTooLong():
            return wire.problems["context-too-long"](str(prompt_tokens))
        case _:
            return None


def retry_after(delay: Duration | None, form: str, wall_now: float) -> Headers:
    """The header that tells when to come back, in one of its three forms."""
    if delay is None:
        return ()
    if form == "milliseconds":
        return (("retry-after-ms", str(round(delay * 1000))),)
    if form == "date":
        return (("retry-after", formatdate(math.ceil(wall_now + delay), usegmt=True)),)
    return (("retry-after", f"{delay:g}"),)
