"""What the apps of these tests ask for: tools in both APIs' forms, a structured answer, a picture."""

from anthropic.types import ToolParam
from openai.types.chat import ChatCompletionFunctionToolParam
from pydantic import BaseModel

PLACE = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
NAMES = ("get_weather", "get_traffic")


class Journey(BaseModel):
    """A structured answer with a list of parts."""

    class Stop(BaseModel):
        """A part."""

        city: str
        nights: int

    title: str
    stops: list[Stop]


def openai_tools() -> list[ChatCompletionFunctionToolParam]:
    """Both tools as OpenAI's API takes them."""
    return [
        {"type": "function", "function": {"name": name, "description": f"Knows the {name[4:]}.", "parameters": PLACE}}
        for name in NAMES
    ]


def anthropic_tools() -> list[ToolParam]:
    """Both tools as Anthropic's API takes them."""
    return [{"name": name, "description": f"Knows the {name[4:]}.", "input_schema": PLACE} for name in NAMES]


DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
"""A PNG of one pixel, in base64."""
