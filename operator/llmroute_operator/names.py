"""Every name that the control plane writes where others read it: labels, annotations, objects, ports, fields.

Belongs here: a string that two programs, or a program and a chart, must spell alike. Does not: anything computed.
"""

from typing import Final

GROUP: Final = "llmroute.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "LLMRoute"
PLURAL: Final = "llmroutes"
FIELD_MANAGER: Final = "llmroute-operator"

# Labels.
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGED_BY_VALUE: Final = "llmroute"
INJECT: Final = "llmroute.dev/inject"
"""On a pod: "true" asks for a sidecar, "false" refuses one."""
INJECTION: Final = "llmroute.dev/injection"
"""On a namespace: "enabled" asks for a sidecar in each of its pods."""
INJECTION_ENABLED: Final = "enabled"
SIDECAR: Final = "llmroute.dev/sidecar"
"""On a pod: "true" when the injector gave it a sidecar."""

# Annotations of pods that only tune the injection.
SECRETS: Final = "llmroute.dev/secrets"
PORT: Final = "llmroute.dev/port"
LOG_LEVEL: Final = "llmroute.dev/log-level"
CPU_REQUEST: Final = "llmroute.dev/cpu-request"
CPU_LIMIT: Final = "llmroute.dev/cpu-limit"
MEMORY_REQUEST: Final = "llmroute.dev/memory-request"
MEMORY_LIMIT: Final = "llmroute.dev/memory-limit"
IMAGE: Final = "llmroute.dev/image"

# Annotations of pods that the control plane writes.
WORKLOAD: Final = "llmroute.dev/workload"
"""The pod's owner as "Kind/name", by the injector."""
REVISION: Final = "llmroute.dev/revision"
"""The nudge: the revision that the pod's sidecar should run, by the operator."""
REGION: Final = "llmroute.dev/region"
"""The region of the pod's node, by the operator once the pod is scheduled."""
NODE_REGION: Final = "topology.kubernetes.io/region"
"""The label of a node that REGION repeats."""

# Objects in users' namespaces.
CONFIG: Final = "llmroute-config"
CONFIG_KEY: Final = "routes.json"
CREDENTIALS_SECRET: Final = "llmroute-credentials"
FLEET_SECRET: Final = "llmroute-fleet"
FLEET_KEY: Final = "key"
SIDECARS_SERVICE: Final = "llmroute-sidecars"

# Objects in the operator's own namespace.
LEASE: Final = "llmroute-operator"
INJECTOR_SERVICE: Final = "llmroute-injector"
CERTIFICATE_SECRET: Final = "llmroute-injector-tls"

# The injected container, its ports and volumes.
CONTAINER: Final = "llmroute-sidecar"
APP_PORT: Final = 4000
ADMIN_PORT: Final = 4001
ADMIN_PORT_NAME: Final = "llmroute-admin"
CONFIG_VOLUME: Final = "llmroute-config"
STATE_VOLUME: Final = "llmroute-state"
FLEET_VOLUME: Final = "llmroute-fleet"
SECRET_VOLUME_PREFIX: Final = "llmroute-secret-"
MOUNT: Final = "/etc/llmroute"
