"""LLMRoute: the data plane, the types of the LLMRoute resource, and the command line."""

__version__ = "0.1.0"
