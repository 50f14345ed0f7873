"""The Anthropic dialect as a provider speaks it: requests to asks, answers to bytes. No sockets, clock or faults."""

from llmroute.simulator.anthropic.table import WIRE

__all__ = ["WIRE"]
