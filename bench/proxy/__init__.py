"""The proxy benchmark: what a gateway costs per request when the provider behind it costs nothing.

Every peer gets the same mock upstream, the same requests and one core of its own; the load generator and the
mock share another. `python -m bench.proxy --help` is the way in.

Belongs here: cases, the mock upstream, the load generator, starting and measuring peers, results and their plot.
Does not belong here: how well a route chooses its target, which needs targets that differ.
"""
