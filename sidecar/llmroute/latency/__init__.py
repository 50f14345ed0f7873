"""What a target's answers taught us: predicted latency, expected lengths, and the record of recent attempts.

Here belongs everything that turns FirstContent and Observation into an Estimate. Pure: `now` and the noise of a
sample are arguments. Not here: whether a target may be used (`health`), what is best (`routing`).
"""

from llmroute.latency.lengths import Lengths
from llmroute.latency.target import Latency, Track, z_of
from llmroute.latency.tracks import Metric
from llmroute.latency.window import PARTS, Window

__all__ = ["PARTS", "Latency", "Lengths", "Metric", "Track", "Window", "z_of"]
