"""What the generations of Claude accept, as data. The old ones are a closed list; what is not listed is newer.

Sources: Anthropic's migration guide and "Thinking troubleshooting" page. A target of another name (a compatible server,
a test double) gets `OTHER`: sampling as asked, no thinking.
"""

import re
from typing import Literal

from msgspec import Struct


class Generation(Struct, frozen=True):
    """`sampling`: temperature and top_p are taken. `thinking`: how to ask for it. `strict`: strict tools are known."""

    names: re.Pattern[str]
    sampling: bool
    thinking: Literal["none", "budget", "adaptive"]
    strict: bool


_GENERATIONS = (
    Generation(re.compile(r"claude-(instant|2|3-(5|opus|sonnet|haiku))"), True, "none", False),
    Generation(re.compile(r"claude-(3-7|(opus|sonnet)-4(-[01])?([-@]\d{8}|$|-v|-latest))"), True, "budget", False),
    Generation(re.compile(r"claude-(opus|sonnet|haiku)-4-5"), True, "budget", True),
    Generation(re.compile(r"claude-(opus|sonnet)-4-6"), True, "adaptive", True),
    Generation(re.compile(r"claude-"), False, "adaptive", True),
)
OTHER = Generation(re.compile(r""), True, "none", False)


def generation_of(model: str) -> Generation:
    """The generation that a model's name tells, with or without a cloud's prefix and suffix."""
    return next((generation for generation in _GENERATIONS if generation.names.search(model)), OTHER)
