"""A Kubernetes for the end-to-end tests, and the ways to one.

Here belongs what a cluster is made of and how it comes and goes: `ways` chooses between one that is given, kind, and a
single node of our own, whose scripts are beside it. `python -m tests.cluster up|down` does it by hand.

    pin          pins the versions in modules/ (by hand, when one changes)
    prepare      builds all that a cluster of our own needs into ~/.cache/llmroute/cluster: programs, images
    up, down     one cluster, by name; `inside` runs a command in it
    build        one program        images       one image of a program     base-image   Python, for our Dockerfile
    node         its first process  component    its parts and their flags  credentials  its certificates

Here does not belong: what is tested, nor anything about LLMRoute but how its images get onto a node.
"""
