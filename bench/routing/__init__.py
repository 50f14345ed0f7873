"""Routing in simulation: scenarios of `bench/scenarios/`, the product's own engine, its rivals, and an oracle.

Time is simulated; nothing here opens a socket. All policies meet the same luck: noise is drawn by (seed, request,
target, try), so that differences are the policies'.
"""
