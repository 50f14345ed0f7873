"""`python -m tests.cluster prepare|up|down`: a cluster to look around in, by the first way that fits."""

import os
import sys

from tests.cluster.ways import NoWay, way


def main() -> int:
    """Prepares what clusters are made of, or brings one up or down; CLUSTER names it."""
    action = sys.argv[1]
    try:
        chosen = way(os.environ.get("CLUSTER", "default"))
    except NoWay as reason:
        print(f"end-to-end tests: {reason}", file=sys.stderr)
        return 0 if action == "prepare" else 1
    if action == "prepare":
        chosen.prepare()
    elif action == "down":
        chosen.down()
    else:
        print(f"{chosen.name}: kubeconfig {chosen.up().kubeconfig}")
    return 0


sys.exit(main())
