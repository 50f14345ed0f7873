"""The control endpoint of each provider: commands in, counters and the last requests out.

POST /simulator/control   a Command; the answer is the counters of the provider that was told
GET  /simulator/stats     counters, and the last request's headers, of credentials only a fingerprint
GET  /simulator/requests  the last requests: method, path, headers, body (?last=N)
"""

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

import msgspec
import orjson

from llmroute.errors import ConfigError
from llmroute.simulator.connection import Connection, Request
from llmroute.simulator.records import Records
from llmroute.simulator.spec import convert
from llmroute.simulator.temper import Command

PREFIX = "/simulator/"
_JSON = (("content-type", "application/json"),)


async def control(
    connection: Connection, request: Request, records: Records, obey: Callable[[Command], Awaitable[Records]]
) -> None:
    """Answers a request below PREFIX. `obey` raises ConfigError for a provider that is not there."""
    match request.method, request.path.removeprefix(PREFIX):
        case "POST", "control":
            try:
                told = await obey(convert(orjson.loads(request.body), Command))
            except (ConfigError, orjson.JSONDecodeError) as error:
                connection.send(400, _JSON, orjson.dumps({"error": str(error)}))
                return
            connection.send(200, _JSON, msgspec.json.encode(told.report()))
        case "GET", "stats":
            connection.send(200, _JSON, msgspec.json.encode(records.report()))
        case "GET", "requests":
            last = parse_qs(request.query).get("last", ["100"])[0]
            count = int(last) if last.isdecimal() else 100
            connection.send(200, _JSON, msgspec.json.encode(records.last_requests(max(count, 1))))
        case _:
            connection.send(404, _JSON, orjson.dumps({"error": f"{request.method} {request.path} is not there"}))
