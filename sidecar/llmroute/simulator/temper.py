"""The state of a provider at a moment: what its timetable says, and what it was told through the control endpoint."""

from msgspec import Struct

from llmroute.simulator import faults, timetable
from llmroute.simulator.draws import Draw
from llmroute.simulator.spec import Declared, Factor, Fault, ProviderSpec, Refused


class Command(Declared, frozen=True, kw_only=True):
    """What a provider can be told while it runs. Windows of faults count from now.

    `provider` names another one of the fleet: one that refuses connections cannot be told to come back itself.
    """

    provider: str | None = None
    clear: bool = False
    """Forget all that was commanded before."""
    latency: Factor | None = None
    """Multiplies the latency, besides what the timetable says."""
    faults: tuple[Fault, ...] | None = None
    """Take the place of those commanded before; they come before those of the timetable."""


class Gate(Struct, frozen=True):
    """Whether connections are accepted, and when that changes next (on the loop's clock)."""

    refused: Refused | None
    absent: bool
    """The provider has not appeared yet."""
    changes_at: float | None


class Temper:
    """The timetable of one provider and its commands. `now` is on the loop's clock, `started` its zero of time."""

    def __init__(self, spec: ProviderSpec, started: float) -> None:
        self._spec = spec
        self._started = started
        self._latency = 1.0
        self._faults: tuple[Fault, ...] = ()
        self._commanded = started

    def obey(self, command: Command, now: float) -> None:
        """Takes a command."""
        if command.clear:
            self._latency, self._faults = 1.0, ()
        if command.latency is not None:
            self._latency = command.latency
        if command.faults is not None:
            self._faults, self._commanded = command.faults, now

    def fault(self, now: float, draw: Draw) -> Fault | None:
        """What befalls a request that arrives now."""
        if self._faults:
            fault = faults.choose(self._faults, now - self._commanded, draw, "command")
            if fault is not None:
                return fault
        return faults.choose(self._spec.faults, now - self._started, draw, "fault") if self._spec.faults else None

    def latency_factor(self, now: float, draw: Draw | None = None) -> float:
        """M(t) for one request, or for the provider as a whole."""
        return self._latency * timetable.latency_factor(self._spec.shifts, now - self._started, draw)

    def slots_factor(self, now: float) -> float:
        """By how much the batch slots are scaled."""
        return timetable.slots_factor(self._spec.shifts, now - self._started)

    def gate(self, now: float) -> Gate:
        """Whether connections are accepted."""
        t = now - self._started
        since = now - self._commanded
        declared = [fault for fault in self._spec.faults if isinstance(fault, Refused)]
        commanded = [fault for fault in self._faults if isinstance(fault, Refused)]
        moments = []
        if (edge := timetable.next_edge(declared, t)) is not None:
            moments.append(self._started + edge)
        if (edge := timetable.next_edge(commanded, since)) is not None:
            moments.append(self._commanded + edge)
        if t < self._spec.appears_at:
            moments.append(self._started + self._spec.appears_at)
        active = [fault for fault in declared if timetable.is_open(fault, t)]
        active += [fault for fault in commanded if timetable.is_open(fault, since)]
        # A provider that is killed by any of the windows is killed.
        refused = max(active, key=lambda fault: fault.kill, default=None)
        return Gate(refused=refused, absent=t < self._spec.appears_at, changes_at=min(moments, default=None))
