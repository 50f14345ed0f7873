"""Which pods a route is for, and how many of them there should be: what of a spec only a cluster acts on.

The selector is the sidecar's to apply, to the labels of its own pod; the autoscaler is the operator's to make.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta

from llmroute.declared import ORDERED, Declared, LabelName, LabelValue, ResourceName
from llmroute.written import API_VERSION_PATTERN, KIND_PATTERN, Duration


class LabelExpression(Declared, frozen=True):
    """One condition on a pod's labels."""

    key: Annotated[LabelName, Meta(description="Name of the label.")]
    operator: Annotated[
        Literal["In", "NotIn", "Exists", "DoesNotExist"],
        Meta(description="NotIn also holds where the label is missing."),
    ]
    values: Annotated[
        Annotated[tuple[LabelValue, ...], Meta(max_length=32, extra_json_schema=ORDERED)],
        Meta(description="For In and NotIn."),
    ] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels fulfil it."""
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
        return self.key not in labels


class LabelSelector(Declared, frozen=True):
    """Conditions on a pod's labels that must all hold; without any, every pod is selected."""

    match_labels: Annotated[
        Annotated[dict[LabelName, LabelValue], Meta(max_length=16)] | None,
        Meta(description="Labels that the pod must have, with these values."),
    ] = None
    match_expressions: Annotated[
        Annotated[tuple[LabelExpression, ...], Meta(max_length=16, extra_json_schema=ORDERED)],
        Meta(description="More conditions."),
    ] = ()

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Whether a pod with these labels is meant."""
        return all(labels.get(name) == value for name, value in (self.match_labels or {}).items()) and all(
            expression.holds(labels) for expression in self.match_expressions
        )


class TargetRef(Declared, frozen=True):
    """A workload with a scale subresource, of the route's namespace."""

    name: Annotated[ResourceName, Meta(description="Name of the workload.")]
    api_version: Annotated[
        Annotated[str, Meta(min_length=1, max_length=253, pattern=API_VERSION_PATTERN)],
        Meta(description="API version of the workload."),
    ] = "apps/v1"
    kind: Annotated[
        Annotated[str, Meta(min_length=1, max_length=63, pattern=KIND_PATTERN)], Meta(description="Kind of it.")
    ] = "Deployment"


class AutoscalingLatency(Declared, frozen=True):
    """A time to first token beyond which more replicas are wanted than the requests in flight ask for."""

    threshold: Annotated[
        Duration, Meta(description="95th percentile from which on up to half as many replicas more are wanted.")
    ]


class Autoscaling(Declared, frozen=True):
    """Replicas of a workload by the requests in flight, as a KEDA ScaledObject that the operator owns."""

    target_ref: Annotated[TargetRef, Meta(description="What is scaled.")]
    max_replicas: Annotated[Annotated[int, Meta(ge=1, le=10_000)], Meta(description="Most replicas.")]
    min_replicas: Annotated[Annotated[int, Meta(ge=1, le=10_000)], Meta(description="Least replicas.")] = 1
    in_flight_per_pod: Annotated[
        Annotated[int, Meta(ge=1, le=100_000)],
        Meta(description="Requests in flight that one replica should have on average."),
    ] = 8
    ttft: Annotated[
        AutoscalingLatency | None, Meta(description="Time to first token that asks for more; ignored when absent.")
    ] = None
