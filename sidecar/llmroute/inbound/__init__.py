"""The app-facing side of HTTP/1.1: a server of our own.

Belongs here: listening, connections, reading heads and bodies with their framing and coding, back-pressure in both
directions, limits on the head's size and duration, keep-alive, draining.

Does not belong here: anything that knows a path, a dialect or a header of ours; what an answer looks like (`relay`);
who may come in and how large and slow a body may be (`admission`).

One file for each job: `heads` a head, `bodies` a body that did not come with its head, `arrival` one request,
`connection` one connection and the request on it, `server` all of them, `listening` addresses.
"""

from llmroute.inbound.arrival import Arrival
from llmroute.inbound.bodies import Body
from llmroute.inbound.heads import CHUNKED, Opening
from llmroute.inbound.listening import addresses, listen
from llmroute.inbound.server import AppServer

__all__ = ["CHUNKED", "AppServer", "Arrival", "Body", "Opening", "addresses", "listen"]
