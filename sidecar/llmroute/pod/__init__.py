"""What a sidecar finds in its pod: routes as the operator renders them, the pod's labels and annotations, mounted keys,
and the last good routes of the container before.

Belongs here: reading those mounts (kubelet's formats and symlink swaps), choosing the routes that are meant for this
pod, keeping the last good. Tolerant, since the operator may be newer than the sidecar: unknown fields are ignored, and
a route that cannot be read leaves all others as they are and itself as it was.
Does not belong here: files that people write (`load`), what is built of the routes (`runtime`), Kubernetes' API.
"""

from llmroute.pod.mounts import PodMounts

__all__ = ["PodMounts"]
