"""All that was learned of one target; outlives reloads."""

from statistics import NormalDist

from llmroute.latency import numbers
from llmroute.latency.tracks import StreamTrack, WholeTrack
from llmroute.request import Estimate, FirstContent, Observation, Operation

Track = StreamTrack | WholeTrack

_Z = [NormalDist().inv_cdf(percentile / 100) if percentile else 0.0 for percentile in range(100)]


def z_of(percentile: int) -> float:
    """Standard deviations above the mean where the percentile (1..99) of a normal distribution lies."""
    return _Z[percentile]


class Latency:
    """One target's tracks, by operation and by whether the answer is a stream.

    `streams` and `wholes` are the tracks by the operation's label, for choosing, which reads them very often; `track`
    makes the one that is missing.
    """

    __slots__ = ("_prior_speed", "_prior_ttft", "streams", "wholes")

    def __init__(self, prior_ttft: float | None, prior_tps: float | None) -> None:
        self.streams: dict[str, StreamTrack] = {}
        self.wholes: dict[str, WholeTrack] = {}
        self.declare(prior_ttft, prior_tps)

    def declare(self, prior_ttft: float | None, prior_tps: float | None) -> None:
        """Other priors hold from now on, where nothing has been seen yet: evidence stays as it is."""
        self._prior_ttft = numbers.seconds(prior_ttft)
        self._prior_speed = numbers.rate(prior_tps)
        tracks: list[Track] = [*self.streams.values(), *self.wholes.values()]
        for track in tracks:
            track.declare(self._prior_ttft, self._prior_speed)

    def track(self, operation: Operation, stream: bool) -> Track:
        """The track of such requests, made at first use."""
        tracks: dict[str, StreamTrack] | dict[str, WholeTrack] = self.streams if stream else self.wholes
        track = tracks.get(operation.label)  # by label: an Enum member's own hash is slow
        return track if track is not None else self._new(operation, stream)

    def estimate(self, operation: Operation, stream: bool, output_tokens: int, percentile: int, now: float) -> Estimate:
        """Predicted seconds at the percentile (1..99) for an answer of so many tokens."""
        return self.track(operation, stream).estimate(output_tokens, z_of(percentile), now)

    def sent(self, operation: Operation, stream: bool, now: float) -> None:
        """An attempt's request has been written: from now on its silence counts. `observe` must follow."""
        self.track(operation, stream).sent(now)

    def first_content(self, event: FirstContent) -> None:
        """Learn the time to first token, at once."""
        self.track(event.operation, event.stream).first_content(event.ttft, event.at)

    def observe(self, observation: Observation) -> None:
        """Learn from an attempt's end: exactly one call an attempt."""
        self.track(observation.operation, observation.stream).ended(observation)

    def usual_ttft(self, now: float) -> float | None:
        """Median seconds to first token expected of the kind of stream that is known best; None if none is known."""
        known = [track for track in self.streams.values() if track.level.proven]
        if not known:
            return None
        best = max(known, key=lambda track: track.level.evidence(now))
        return best.estimate(0, 0.0, now).ttft

    def _new(self, operation: Operation, stream: bool) -> Track:
        if stream:
            return self.streams.setdefault(operation.label, StreamTrack(self._prior_ttft, self._prior_speed))
        return self.wholes.setdefault(operation.label, WholeTrack(self._prior_ttft, self._prior_speed))
