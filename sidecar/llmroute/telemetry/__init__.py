"""What is told to people and machines: metrics, the access log, the event log. One observer of events and Observations.

Here belong counters, their public names, and the lines of the logs. Counting is pure; the only I/O is the log writer's
thread. Not here: what is learned for choosing (`latency`, `health`). No prompt, no key and no word of a client's ever
becomes a label or a log field, but for the model name and the request id, cut to length.
"""

from llmroute.telemetry.observer import Telemetry

__all__ = ["Telemetry"]
