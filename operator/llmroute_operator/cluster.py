"""The API server, as the operator sees it: JSON objects in and out, by path. The only module that talks to it.

Objects stay the plain dicts that the server sent: no model classes, which would drop fields that are newer than they
are and cost most of a call's time. Every call has a timeout; what may pass by itself is tried again with jittered
back-off. kubernetes.aio brings addresses, TLS, tokens and their renewal.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self

import aiohttp
import msgspec
import orjson
from kubernetes.aio import client, config

from llmroute_operator.errors import NotFound, Unavailable, error_for
from llmroute_operator.paths import collection, member, resource_of

Object = dict[str, Any]
Called = Callable[[str, str, int], None]
"""Told of each answer: verb, resource, status (0: none came)."""

TIMEOUT = 10.0
"""Of one try, in seconds."""
TRIES = 5
PAGE = 500
RETRIED = frozenset({429, 500, 502, 503, 504})
LONGEST_WAIT = 10.0
PATCHES = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
}


class Access(msgspec.Struct, frozen=True):
    """How to reach the API server: for watches, which another library opens. No repr: the token is secret."""

    server: str
    ca_file: str | None
    certificate_file: str | None
    key_file: str | None
    scheme: str | None
    token: str | None

    def __repr__(self) -> str:
        return f"Access({self.server!r})"


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request to the API server. No repr: the body may be a Secret."""

    verb: str
    path: str
    query: Mapping[str, str] = {}
    body: Object | Sequence[Object] | None = None
    content_type: str = "application/json"
    accept: str = "application/json"
    seconds: float = TIMEOUT
    """Of one try."""
    tries: int = TRIES

    def __repr__(self) -> str:
        return f"Call({self.verb} {self.path})"


def wait_before(attempt: int, retry_after: str | None, rng: random.Random) -> float:
    """Seconds before try `attempt` (1 = the second): 0.2, 0.4, 0.8 ... with ± 50 %, or what the server asked for."""
    base = min(LONGEST_WAIT, 0.2 * 2.0 ** (attempt - 1))
    asked = float(retry_after) if retry_after and retry_after.isdecimal() else 0.0
    return min(LONGEST_WAIT, max(base * rng.uniform(0.5, 1.5), asked * rng.uniform(1.0, 1.2)))


class Cluster:
    """A client of the API server. Open it with `async with`."""

    def __init__(self, kubeconfig: str = "", called: Called | None = None, rng: random.Random | None = None) -> None:
        self._kubeconfig = kubeconfig
        self._called = called or (lambda verb, resource, status: None)
        self._rng = rng or random.Random()
        self._configuration: Any = None
        self._api: Any = None

    async def __aenter__(self) -> Self:
        self._configuration = client.Configuration()
        if self._kubeconfig:
            # No default file and no environment variable: whoever runs this names the cluster.
            await config.load_kube_config(  # type: ignore[no-untyped-call]
                config_file=self._kubeconfig, client_configuration=self._configuration
            )
        else:
            config.load_incluster_config(client_configuration=self._configuration)  # type: ignore[no-untyped-call]
        self._api = client.ApiClient(self._configuration)
        self._api.user_agent = "llmroute-operator"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._api.close()

    async def access(self) -> Access:
        """What a watch needs; the token is as fresh as it can be."""
        settings = self._configuration
        header = await settings.get_api_key_with_prefix("BearerToken", alias="authorization")
        scheme, _, token = (header or "").rpartition(" ")
        return Access(
            server=settings.host,
            ca_file=settings.ssl_ca_cert,
            certificate_file=settings.cert_file,
            key_file=settings.key_file,
            scheme=scheme or None,
            token=token or None,
        )

    async def read(self, kind: str, namespace: str | None, name: str) -> Object | None:
        """One object; None if it is not there."""
        try:
            return await self.call(Call(verb="GET", path=member(kind, namespace, name)))
        except NotFound:
            return None

    async def objects(self, kind: str, namespace: str | None, **query: str) -> list[Object]:
        """All objects of a kind in a namespace (None: everywhere), page by page."""
        return [one async for page in self._pages(collection(kind, namespace), query) for one in page]

    async def metadata(self, kind: str, namespace: str | None, **query: str) -> list[Object]:
        """As `objects`, but only `metadata` of each: cheap for the server, and small."""
        pages = self._pages(collection(kind, namespace), query, accept=_METADATA)
        return [one async for page in pages for one in page]

    async def create(self, kind: str, namespace: str | None, manifest: Object) -> Object:
        """Make a new object; Conflict if it exists."""
        return await self.call(Call(verb="POST", path=collection(kind, namespace), body=manifest))

    async def replace(self, kind: str, namespace: str | None, manifest: Object) -> Object:
        """Write a whole object; Conflict if its resourceVersion is not the newest."""
        path = member(kind, namespace, manifest["metadata"]["name"])
        return await self.call(Call(verb="PUT", path=path, body=manifest))

    async def patch(
        self,
        kind: str,
        namespace: str | None,
        name: str,
        body: Object | Sequence[Object],
        *,
        how: Literal["merge", "json"] = "merge",
        subresource: str = "",
    ) -> Object:
        """Change some fields; a list of operations with `how="json"`."""
        path = member(kind, namespace, name, subresource)
        return await self.call(Call(verb="PATCH", path=path, body=body, content_type=PATCHES[how]))

    async def delete(self, kind: str, namespace: str | None, name: str) -> None:
        """Delete an object; nothing happens if it is gone."""
        try:
            await self.call(Call(verb="DELETE", path=member(kind, namespace, name)))
        except NotFound:
            return

    async def _pages(
        self, path: str, query: Mapping[str, str], accept: str = "application/json"
    ) -> AsyncIterator[list[Object]]:
        more = ""
        while True:
            asked = {**query, "limit": str(PAGE)} | ({"continue": more} if more else {})
            answer = await self.call(Call(verb="GET", path=path, query=asked, accept=accept))
            yield answer.get("items") or []
            more = answer.get("metadata", {}).get("continue") or ""
            if not more:
                return

    async def call(self, call: Call) -> Object:
        """One call, tried again where that may help. Raises a leaf of ClusterError."""
        for attempt in range(1, call.tries + 1):
            try:
                status, retry_after, answer = await self._once(call)
                failure = f"{call.verb} {call.path}: {status} {_message(answer)}"
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                status, retry_after, answer = 0, None, b""
                failure = f"{call.verb} {call.path}: {str(error) or type(error).__name__}"
            self._called(call.verb, resource_of(call.path), status)
            if 200 <= status < 300:
                return orjson.loads(answer)  # type: ignore[no-any-return]
            if status and status not in RETRIED:
                raise error_for(status, failure)
            if attempt < call.tries:
                await asyncio.sleep(wait_before(attempt, retry_after, self._rng))
        raise Unavailable(failure, status=status)

    async def _once(self, call: Call) -> tuple[int, str | None, bytes]:
        method, url, headers, _, _ = await self._api.param_serialize(
            call.verb,
            call.path,
            query_params=list(call.query.items()),
            header_params={"Accept": call.accept, "Content-Type": call.content_type},
            auth_settings=["BearerToken"],
        )
        limits = aiohttp.ClientTimeout(total=call.seconds)
        response = await self._api.call_api(method, url, headers, call.body, _request_timeout=limits)
        return response.status, response.headers.get("Retry-After"), await response.read()


def _message(answer: bytes) -> str:
    """The server's own words, cut short."""
    try:
        words = orjson.loads(answer)["message"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        words = answer.decode(errors="replace")
    return str(words)[:500]


_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
