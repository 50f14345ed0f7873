"""What the operator reports of an LLMRoute: the types of its `status`, from which the CRD takes the schema.

Belongs here: the shape and its bounds. How the values come about is the operator's matter; no program but the
operator writes them, and none of ours reads them.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

UNIQUE_TYPES = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
UNIQUE_NAMES = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}

Count = Annotated[int, Meta(ge=0, le=1_000_000)]
Instant = Annotated[str, Meta(max_length=32, extra_json_schema={"format": "date-time"})]
Word = Annotated[str, Meta(max_length=64)]
LONGEST_MESSAGE = 1024
Message = Annotated[str, Meta(max_length=LONGEST_MESSAGE)]

TargetState = Literal["Healthy", "Limited", "Probation", "Ejected", "NoKey", "Unknown"]


class Reported(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What all types of the status share: frozen, camelCase in YAML, and without what is not known."""


class Condition(Reported, frozen=True):
    """One aspect of the route, as the Kubernetes API conventions have it."""

    type: Annotated[
        str, Meta(min_length=1, max_length=316, description="Accepted, ResolvedRefs, Programmed or Autoscaling.")
    ]
    status: Annotated[Literal["True", "False", "Unknown"], Meta(description="Whether the aspect is well.")]
    reason: Annotated[str, Meta(min_length=1, max_length=128, description="Why, in one word.")]
    message: Annotated[Message, Meta(description="Why, and what to do about it.")]
    last_transition_time: Annotated[Instant, Meta(description="When `status` last became what it is.")]
    observed_generation: Annotated[int | None, Meta(description="Generation of the spec that this is about.")] = None


class SidecarCount(Reported, frozen=True):
    """How many sidecars should run the route, and how many do."""

    desired: Annotated[
        Count, Meta(description="Pods that match spec.workloads, have a sidecar, and are running and ready.")
    ]
    current: Annotated[Count, Meta(description="Those of them that run this generation of the route.")]
    missing: Annotated[
        Count,
        Meta(
            description=(
                "Pods that match and ask for a sidecar, but were created without one: they must be created anew "
                "(kubectl rollout restart)."
            )
        ),
    ]


class TargetStatus(Reported, frozen=True):
    """A target as the sidecars see it."""

    name: Annotated[str, Meta(min_length=1, max_length=63, description="Name of the target.")]
    state: Annotated[
        TargetState,
        Meta(
            description=(
                "What most of the sidecars that use it say. NoKey: the Secret's key is missing. Unknown: no sidecar "
                "has reported."
            )
        ),
    ]
    reason: Annotated[
        Annotated[str, Meta(max_length=256)] | None,
        Meta(description="Why it is not healthy, in the words of a sidecar."),
    ] = None
    ttft_p95: Annotated[
        Word | None,
        Meta(description="95th percentile of the time to first token over the last five minutes and all sidecars."),
    ] = None
    share: Annotated[Word | None, Meta(description="Part of the route's attempts that went to this target.")] = None


class Summary(Reported, frozen=True):
    """Ready-made texts for the columns of `kubectl get`, which cannot compute."""

    ready: Annotated[Word, Meta(description="True if Accepted, ResolvedRefs and Programmed all are.")]
    targets: Annotated[Word, Meta(description="Targets that can be used, of all.")]
    sidecars: Annotated[Word, Meta(description="Sidecars that run this generation, of all.")]
    ttft_p95: Annotated[Word, Meta(description="95th percentile of the time to first token over all targets.")]
    models: Annotated[Annotated[str, Meta(max_length=256)], Meta(description="Names that apps ask for.")]


class LLMRouteStatus(Reported, frozen=True):
    """What the operator reports. Written by it alone."""

    observed_generation: Annotated[int | None, Meta(description="Generation of the spec that this is about.")] = None
    conditions: Annotated[
        Annotated[tuple[Condition, ...], Meta(max_length=16, extra_json_schema=UNIQUE_TYPES)],
        Meta(
            description=(
                "Accepted: the spec makes sense. ResolvedRefs: services and keys that it names are there. "
                "Programmed: every sidecar runs it. Autoscaling: where declared, the autoscaler is in place."
            )
        ),
    ] = ()
    sidecars: Annotated[SidecarCount | None, Meta(description="How far the route has been delivered.")] = None
    targets: Annotated[
        Annotated[tuple[TargetStatus, ...], Meta(max_length=200, extra_json_schema=UNIQUE_NAMES)],
        Meta(description="The targets as the sidecars see them."),
    ] = ()
    measured_at: Annotated[
        Instant | None,
        Meta(
            description=(
                "When latencies and shares were last written: at most once a minute, and only when one of them has "
                "changed by more than 20 %."
            )
        ),
    ] = None
    summary: Annotated[Summary | None, Meta(description="The columns of `kubectl get`.")] = None
