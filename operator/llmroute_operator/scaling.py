"""Makes a namespace's ScaledObjects what `autoscaling` wants them to be."""

import asyncio
from collections.abc import Mapping, Sequence

from msgspec import Struct

from llmroute_operator import names
from llmroute_operator.autoscaling import Rules, Scalers, plan
from llmroute_operator.cluster import Cluster, Object
from llmroute_operator.errors import Forbidden, NotFound
from llmroute_operator.verdicts import Aspect, Verdict

KEDAS = ("Pending", "KEDANotReady", "NoMetrics")
"""Reasons that go when KEDA has thought again: a Deployment that is applied after its route is there a moment later."""


class Scaled(Struct, frozen=True):
    """How it went."""

    aspects: Mapping[str, Aspect]
    """By the uid of each route that wants to scale."""
    settling: bool
    """KEDA may have something else to say soon."""
    ours: bool
    """There are ScaledObjects of ours."""


async def scale(
    cluster: Cluster, namespace: str, routes: Sequence[Object], verdicts: Mapping[str, Verdict], rules: Rules
) -> Scaled:
    """Read the autoscalers of a namespace, and write and delete ours as planned."""
    scalers = await _read(cluster, namespace) if rules.enabled else await _left(cluster, namespace)
    wanted = plan(routes, verdicts, scalers, rules)
    there = {one["metadata"]["name"] for one in scalers.scaled_objects or ()}
    for manifest in wanted.write:
        name = manifest["metadata"]["name"]
        if name in there:
            await cluster.patch("scaledobjects", namespace, name, manifest)
        else:
            await cluster.create("scaledobjects", namespace, manifest)
    for name in wanted.delete:
        await cluster.delete("scaledobjects", namespace, name)
    settling = bool(wanted.write) or any(aspect.reason in KEDAS for aspect in wanted.aspects.values())
    ours = any(
        (one["metadata"].get("labels") or {}).get(names.MANAGED_BY) == names.MANAGED_BY_VALUE
        for one in scalers.scaled_objects or ()
    )
    return Scaled(wanted.aspects, settling, ours or bool(wanted.write))


async def _read(cluster: Cluster, namespace: str) -> Scalers:
    scaled_objects, hpas = await asyncio.gather(
        _scaled_objects(cluster, namespace), cluster.objects("horizontalpodautoscalers", namespace)
    )
    return Scalers(hpas, scaled_objects)


async def _left(cluster: Cluster, namespace: str) -> Scalers:
    """Where scaling is switched off, what there still is, for it to be taken back."""
    try:
        return Scalers((), await _scaled_objects(cluster, namespace))
    except Forbidden:  # whoever switched it off may have taken the right away, too
        return Scalers()


async def _scaled_objects(cluster: Cluster, namespace: str) -> Sequence[Object] | None:
    try:
        return await cluster.objects("scaledobjects", namespace)
    except NotFound:
        return None
