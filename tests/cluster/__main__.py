"""`python -m tests.cluster up|down`: a cluster to look around in, by the first way that fits."""

import os
import sys

from tests.cluster.ways import NoWay, way


def main() -> int:
    """Brings a cluster up or down; CLUSTER names it."""
    action = sys.argv[1]
    try:
        chosen = way(os.environ.get("CLUSTER", "default"))
    except NoWay as reason:
        print(reason, file=sys.stderr)
        return 1
    if action == "down":
        chosen.down()
        return 0
    cluster = chosen.up()
    print(f"{chosen.name}: kubeconfig {cluster.kubeconfig}")
    return 0


sys.exit(main())
