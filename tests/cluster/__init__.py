"""A Kubernetes for the end-to-end tests, and the ways to one.

Here belongs what a cluster is made of and how it comes and goes: `ways` chooses between one that is given, kind, and a
single node of our own, whose scripts are beside it. `python -m tests.cluster up|down` does it by hand.

    pin             pins the versions in modules/ (by hand, when one changes)
    prepare         builds all that clusters of our own need into ~/.cache/llmroute/cluster, where it is missing, with
      packages      what comes from Debian
      build         programs, from modules/
      images        an image of a program
      base-image    Python, for our Dockerfile
    project-images  our own images, and the app of the stories
    up, down        one cluster, by name; `inside` runs a command in it, and it is made of
      credentials   its certificates
      node          its first process
      component     each part of Kubernetes, and its flags
      addon         what only some stories need: Prometheus, KEDA, kwok

Here does not belong: what is tested, nor anything about LLMRoute but how its images get onto a node.
"""
