"""The only code that opens connections to targets: an HTTP/1.1 client of our own.

Belongs here: DNS that ages, happy eyeballs, TLS, proxies, the pool of each origin with its ready connections,
HTTP/1.1 on the wire (httptools over `asyncio.Protocol`), decompression, back-pressure, the safe repeat of a request
whose reused connection was closed under it.

Does not belong here: anything that knows an LLM (dialects, SSE frames, tokens), which target to try, what a status
means, timers of an answer (they belong to the caller, who calls `Response.abort`), limits on concurrency.

One file for each job: `origin` where a connection goes and the head of a request, `dns` names that age, `tls` trust,
`proxy` the way out, `dial` one new connection, `connection` bytes on the wire, `sending` bodies that do not fit one
write, `response` what the caller holds, `pool` ready connections, `client` all pools.
"""

from llmroute.upstream.client import Upstream
from llmroute.upstream.origin import Origin, build_head
from llmroute.upstream.pool import Pool, Tuning
from llmroute.upstream.response import ALL, SOME, Response

__all__ = ["ALL", "SOME", "Origin", "Pool", "Response", "Tuning", "Upstream", "build_head"]
