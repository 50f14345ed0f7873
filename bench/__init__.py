"""Measurements of LLMRoute beside other gateways, on real sockets.

Belongs here: what starts peers, loads them, and writes figures and plots into `bench/results/`.
Does not belong here: tests (nothing here passes or fails a build) and anything the product imports.
"""
