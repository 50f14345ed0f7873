"""Other `/v1/*` paths (audio, images, ...): streamed unmodified to one target; no retry, no cache, no learning."""

import asyncio
from urllib.parse import unquote

from llmroute.admission import Head, answer_expectation, arriving
from llmroute.errors import BetweenTokensTimeout, NotFound, TotalTimeout, Unsupported
from llmroute.inbound import CHUNKED, Arrival
from llmroute.lines import line, upstream_lines
from llmroute.relay import Pipe, send_bodiless
from llmroute.request import Dialect, Operation, Wishes
from llmroute.routing import Ask
from llmroute.runtime import LiveRoute, Runtime
from llmroute.settings import Settings
from llmroute.target import LiveTarget
from llmroute.upstream import Response

_ANSWERS = f"{Operation.RESPONSES.path}/"


def choose_target(runtime: Runtime, dialect: Dialect, path: str, wishes: Wishes) -> tuple[LiveRoute, LiveTarget]:
    """For `/v1/responses/<id>...` whoever made the answer; else what the first route declares as `passthrough`; else
    the first target of the caller's dialect that tenant, region and labels allow, rather one that has its key.

    Raises Unsupported if there is none.
    """
    if path.startswith(_ANSWERS):
        answer = path[len(_ANSWERS) :].partition("/")[0]
        for route in runtime.routes:
            owner = route.targets.get(route.owners.of(answer) or "")
            if owner is not None:
                return route, owner
    for route in runtime.routes:
        if route.passthrough is not None:
            return route, route.passthrough
    allowed = [(route, target) for route in runtime.routes for target in _allowed(route, wishes)]
    speaking = [(route, target) for route, target in allowed if target.profile.dialect is dialect]
    if not speaking:
        raise Unsupported(
            f"no target that this request may use speaks the {dialect} API, which this path belongs to;"
            " declare spec.passthrough"
        )
    return next((found for found in speaking if not found[1].candidate.missing_key), speaking[0])


def _allowed(route: LiveRoute, wishes: Wishes) -> list[LiveTarget]:
    """Those that the static filters leave, fallbacks last."""
    # What is asked for is not known here; a chat that needs nothing passes wherever tenant, region and labels do.
    ask = Ask(operation=Operation.CHAT, stream=False, prompt_tokens=0, output_tokens=1, wishes=wishes)
    eligible = route.candidates.eligible(ask)
    return [route.targets[candidate.name] for candidate in (*eligible.normal, *eligible.fallback)]


async def relay(
    arrival: Arrival, head: Head, own: bytes, target: LiveTarget, route: LiveRoute, settings: Settings
) -> int:
    """One attempt, bytes in and bytes out as they come; `own` are lines for the app. Returns the target's status.

    Raises AttemptError leaves, NotFound, RequestTimeout and BadRequest; the answer may have begun before.
    """
    timeouts, path = route.declared.spec.failover.timeouts, _path(arrival)
    answer_expectation(arrival)
    lines = target.passthrough_head(arrival.opening.method, path, _header_lines(arrival, head))
    pool, within = target.pool, timeouts.connect
    if arrival.body is None:
        response = await pool.send(lines, arrival.whole, connect_timeout=within)
    else:
        body = arriving(arrival.body, settings.body_timeout)
        response = await pool.send_streaming(lines, body, connect_timeout=within)
    try:
        try:
            async with asyncio.timeout(timeouts.total):
                await response.head()
        except TimeoutError:
            raise TotalTimeout(f"{target.name} did not answer within {timeouts.total:g} s") from None
        await _relay_answer(arrival, response, own, target, timeouts.between_tokens)
        return response.status
    finally:
        response.release()


def _header_lines(arrival: Arrival, head: Head) -> bytes:
    lines = head.forward + head.dialect
    if head.content_type:
        lines += line(b"content-type", head.content_type)
    if arrival.body is not None:
        decodes, coding = arrival.body.decodes, arrival.opening.coding
        if coding and not decodes:
            lines += line(b"content-encoding", coding)
        # A compressed upload arrives inflated, so its declared length is not what goes on.
        if arrival.length == CHUNKED or decodes:
            lines += b"transfer-encoding: chunked\r\n"
        else:
            lines += b"content-length: %d\r\n" % arrival.length
    return lines


def _path(arrival: Arrival) -> str:
    """Path and query as the app wrote them. Raises NotFound for a path that leads elsewhere: our key goes with it."""
    raw = arrival.opening.target
    if ".." in unquote(raw.partition("?")[0]).replace("\\", "/").split("/"):
        raise NotFound("a path with .. is not passed through")
    return raw


async def _relay_answer(arrival: Arrival, response: Response, own: bytes, target: LiveTarget, silence: float) -> None:
    content_type = response.header(b"content-type") or b"application/octet-stream"
    lines = own + upstream_lines(response.headers)
    if arrival.opening.method == "HEAD" or response.status in (204, 304):
        send_bodiless(arrival, response.status, content_type, lines)
        return
    pipe = Pipe(arrival)
    pipe.begin(response.status, content_type, lines)
    while True:
        try:
            async with asyncio.timeout(silence):
                piece = await response.read()
        except TimeoutError:
            raise BetweenTokensTimeout(f"the target went silent for {silence:g} s in mid-answer") from None
        if not piece:
            break
        # A provider that refuses us may quote our key; errors are small and come in one piece.
        await pipe.write(target.credential.redact(piece) if response.status >= 400 else piece)
    await pipe.write(b"", last=True)
