"""M(t), the factor by which a provider is slower than declared, and which windows are open. Pure: `t` is given."""

import math
from collections.abc import Sequence

from llmroute.simulator.draws import Draw
from llmroute.simulator.spec import Flap, Ramp, Refused, Shift, Sine, Step, Window


def is_open(window: Window, t: float) -> bool:
    """Whether t, in seconds since the start, is in the window."""
    return window.t0 <= t and (window.t1 is None or t < window.t1)


def latency_factor(shifts: Sequence[Shift], t: float, draw: Draw | None = None) -> float:
    """M(t): the product of all shifts. `draw` decides whether a shift of a share of the requests hits this one."""
    factor = 1.0
    for number, shift in enumerate(shifts):
        if isinstance(shift, Step) and shift.share < 1 and draw is not None:
            if is_open(shift, t) and draw.uniform(f"shift {number}") < shift.share:
                factor *= shift.factor
        else:
            factor *= _factor(shift, t)
    return factor


def slots_factor(shifts: Sequence[Shift], t: float) -> float:
    """By how much the batch slots are scaled at t."""
    return math.prod(shift.slots_factor for shift in shifts if isinstance(shift, Step) and is_open(shift, t))


def next_edge(windows: Sequence[Refused], t: float) -> float | None:
    """When, after t, the next of these windows opens or closes."""
    moments = [moment for window in windows for moment in (window.t0, window.t1) if moment is not None and moment > t]
    return min(moments, default=None)


def _factor(shift: Shift, t: float) -> float:
    match shift:
        case Step():
            return shift.factor if is_open(shift, t) else 1.0
        case Ramp():
            length = shift.t1 - shift.t0
            done = (t - shift.t0) / length if length > 0 else float(t >= shift.t0)
            return math.pow(shift.factor, min(max(done, 0.0), 1.0))
        case Sine():
            return math.exp(shift.log_amplitude * math.sin(2 * math.pi * (t / shift.period + shift.phase)))
        case Flap():
            slow = is_open(shift, t) and (t - shift.t0) % shift.period < shift.duty * shift.period
            return shift.factor if slow else 1.0
