"""What can go wrong between us and the API server. A name says what the caller should do.

    ClusterError
    ├── NotFound       404  the object, its namespace or its kind is not there
    ├── Conflict       409  somebody else was faster: read again, decide again
    ├── Forbidden      403  a right is missing: say which; asking again soon does not help
    ├── Refused        4xx  the object is not valid: a defect of ours, or a policy of the cluster
    └── Unavailable         no answer, 429 or 5xx, and all retries are used up: come back later

Messages are built from the verb, the path and the server's own words, never from the body that we sent.
"""


class ClusterError(Exception):
    """Root of everything that a call to the API server raises."""

    def __init__(self, message: str, *, status: int = 0) -> None:
        self.status = status
        super().__init__(message)


class NotFound(ClusterError):
    """The object, its namespace or its kind is not there."""


class Conflict(ClusterError):
    """The object changed since it was read, or exists already."""


class Forbidden(ClusterError):
    """Our ServiceAccount may not do this, or a policy denied it."""


class Refused(ClusterError):
    """The API server does not take what we sent."""


class Unavailable(ClusterError):
    """No usable answer after all retries."""


def error_for(status: int, message: str) -> ClusterError:
    """The error that stands for an answer's status."""
    kind: type[ClusterError] = {401: Forbidden, 403: Forbidden, 404: NotFound, 409: Conflict, 410: Unavailable}.get(
        status, Refused if 400 <= status < 500 and status != 429 else Unavailable
    )
    return kind(message, status=status)
