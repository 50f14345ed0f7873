"""The whole error tree. A name says what the caller should do; each leaf knows its code and HTTP status.

    LLMRouteError
    ├── ConfigError                    what a user declared is wrong: never reaches an app
    │   └── ConfigErrors               all that is wrong with some files, at once
    └── RequestError                   ends a request: becomes an answer with `x-llmroute-error: <code>`
        ├── ClientError                the app must change its request (4xx)
        │   ├── BadRequest             400 invalid_request
        │   ├── Unsupported            400 unsupported        no target can express what is asked
        │   ├── ForbiddenOrigin        403 forbidden_origin   foreign Host, or an Origin that is not allowed
        │   ├── NotFound               404 not_found          unknown path
        │   ├── UnknownModel           404 unknown_model      no route serves the model
        │   ├── MethodNotAllowed       405 method_not_allowed
        │   ├── RequestTimeout         408 request_timeout    header or body came too slowly
        │   ├── TooLarge               413 too_large
        │   └── WrongContentType       415 wrong_content_type
        ├── Internal                   500 internal           a defect of ours
        ├── RoutingError               nothing could be tried (any more)
        │   ├── NoCandidate            503 no_candidate       every target was filtered out
        │   ├── Overloaded             503 overloaded         our own bounds: buffers, queue
        │   ├── RateLimited            429 rate_limited       every target is limited: Retry-After says until when
        │   └── DeadlineExceeded       504 deadline_exceeded  the app's own deadline passed
        └── AttemptError               one attempt failed: another target may be tried before the commit point
            ├── ConnectFailed          502 connect_failed     DNS, TCP or TLS
            ├── ConnectTimeout         504 connect_timeout
            ├── FirstTokenTimeout      504 first_token_timeout
            ├── BetweenTokensTimeout   504 between_tokens_timeout
            ├── TotalTimeout           504 total_timeout
            ├── Rejected               502 rejected           the target answered with an error status or error event
            ├── StreamBroken           502 stream_broken      the answer was cut or is not what its wire format allows
            ├── CredentialMissing      503 credential_missing the target's key is not (yet) there
            └── AttemptCancelled       499 cancelled          the app hung up, or another attempt won

Inner nodes are abstract: only leaves may be raised. Messages never hold a secret: they are built from
configuration names and from what the provider answered, never from headers that we sent.
"""

from collections.abc import Sequence
from typing import ClassVar


class LLMRouteError(Exception):
    """Root of everything that LLMRoute raises on purpose."""


class ConfigError(LLMRouteError):
    """A declared resource or setting is wrong.

    `where` is a file, a line and a field path as far as they are known: `route.yaml:12: spec.targets[0].url`.
    """

    def __init__(self, message: str, *, where: str = "") -> None:
        self.message = message
        self.where = where
        super().__init__(f"{where}: {message}" if where else message)


class ConfigErrors(ConfigError):
    """Several at once, in the order in which they stand in the files; as text, one a line."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(map(str, errors)))


class RequestError(LLMRouteError):
    """Ends a request. `status` is HTTP; `retry_after` is seconds, told to the app when known."""

    code: ClassVar[str]
    status: ClassVar[int]

    def __init__(self, message: str, *, param: str | None = None, retry_after: float | None = None) -> None:
        if "code" not in type(self).__dict__:
            raise TypeError(f"{type(self).__name__} is an inner node of the error tree; raise a leaf")
        self.message = message
        self.param = param
        self.retry_after = retry_after
        super().__init__(message)


class ClientError(RequestError):
    """The app must change its request."""


class BadRequest(ClientError):
    """The body or a header is not what the API allows; `param` names the field."""

    code = "invalid_request"
    status = 400


class Unsupported(ClientError):
    """No target's dialect or capabilities can express what is asked; `param` names the field."""

    code = "unsupported"
    status = 400


class ForbiddenOrigin(ClientError):
    """A foreign Host header, or an Origin header that no setting allows: a browser must not reach the keys."""

    code = "forbidden_origin"
    status = 403


class NotFound(ClientError):
    """The path is not one that we serve."""

    code = "not_found"
    status = 404


class UnknownModel(ClientError):
    """No route serves the model; the message lists the known ones."""

    code = "unknown_model"
    status = 404


class MethodNotAllowed(ClientError):
    """The path exists, the method does not."""

    code = "method_not_allowed"
    status = 405


class RequestTimeout(ClientError):
    """The app sent its header or body too slowly."""

    code = "request_timeout"
    status = 408


class TooLarge(ClientError):
    """The request is over a size limit."""

    code = "too_large"
    status = 413


class WrongContentType(ClientError):
    """The body is not declared as JSON, or is coded in a way that is not understood."""

    code = "wrong_content_type"
    status = 415


class Internal(RequestError):
    """A defect of ours; the log has the details, the app does not."""

    code = "internal"
    status = 500


class RoutingError(RequestError):
    """Nothing could be tried, or nothing any more."""


class NoCandidate(RoutingError):
    """Every target was filtered out; the message says by what."""

    code = "no_candidate"
    status = 503


class Overloaded(RoutingError):
    """One of our own bounds is reached (buffered bytes, queued requests): try again shortly."""

    code = "overloaded"
    status = 503


class RateLimited(RoutingError):
    """Every target is rate limited; `retry_after` is the soonest recovery."""

    code = "rate_limited"
    status = 429


class DeadlineExceeded(RoutingError):
    """The deadline that the app gave (x-llmroute-max-latency) has passed."""

    code = "deadline_exceeded"
    status = 504


class AttemptError(RequestError):
    """One attempt failed. The last attempt's error ends the request when no further attempt is allowed."""


class ConnectFailed(AttemptError):
    """DNS, TCP, proxy or TLS failed: nothing was sent."""

    code = "connect_failed"
    status = 502


class ConnectTimeout(AttemptError):
    """No ready connection within `timeouts.connect`."""

    code = "connect_timeout"
    status = 504


class FirstTokenTimeout(AttemptError):
    """A stream's first content did not come within `timeouts.firstToken`."""

    code = "first_token_timeout"
    status = 504


class BetweenTokensTimeout(AttemptError):
    """A stream went silent for `timeouts.betweenTokens`."""

    code = "between_tokens_timeout"
    status = 504


class TotalTimeout(AttemptError):
    """The answer was not complete (streams: not begun) within `timeouts.total`."""

    code = "total_timeout"
    status = 504


class Rejected(AttemptError):
    """The target answered with an error.

    `upstream_status` is its HTTP status (0 for an error inside a 200 answer), `body` what it said.
    """

    code = "rejected"
    status = 502

    def __init__(
        self, message: str, *, upstream_status: int, retry_after: float | None = None, body: bytes = b""
    ) -> None:
        self.upstream_status = upstream_status
        self.body = body
        super().__init__(message, retry_after=retry_after)


class StreamBroken(AttemptError):
    """The answer was cut, or is not what its wire format allows."""

    code = "stream_broken"
    status = 502


class CredentialMissing(AttemptError):
    """The target's key is not there: neither its mounted file nor its environment variable."""

    code = "credential_missing"
    status = 503


class AttemptCancelled(AttemptError):
    """The app hung up, or another attempt won."""

    code = "cancelled"
    status = 499
