"""AdmissionReviews: bytes in, bytes out, and what the log and the metrics may know of it. Pure.

Whatever is wrong with a pod, or with us, the answer is "allowed": only what is no AdmissionReview is refused.
"""

import base64
import traceback
from collections.abc import Mapping
from typing import Any

import msgspec
import orjson

from llmroute_operator.inject import Injected, inject
from llmroute_operator.injection_settings import InjectionSettings

API_VERSION = "admission.k8s.io/v1"
KIND = "AdmissionReview"
_LONGEST_WARNING = 250
"""Characters. The API server cuts at 256 where all warnings together are too long."""
_MOST_WARNINGS = 12


class MalformedReview(ValueError):
    """What was sent is no AdmissionReview that we can answer. The message says why, and repeats nothing of it."""


class Answer(msgspec.Struct, frozen=True):
    """The answer's bytes, and the fields of its line in the log: of the pod its name and namespace, never its spec."""

    body: bytes
    outcome: str
    """injected, completed, unchanged, refused or failed."""
    fields: dict[str, Any]


def answer(body: bytes, settings: InjectionSettings) -> Answer:
    """Answers one review. Raises MalformedReview."""
    request = _request(body)
    pod: Any = request.get("object")
    injected, failure = Injected("unchanged"), ""
    if _is_new_pod(request):
        try:
            injected = inject(pod, str(request.get("namespace") or ""), settings)
        except Exception as error:  # whatever it is, the pod must start
            failure = _where(error)
    warnings = injected.warnings if not failure else ["no sidecar: the injector failed on this pod; its log says where"]
    fields = {
        "outcome": "failed" if failure else injected.outcome,
        "namespace": request.get("namespace"),
        "pod": _name(pod),
        "uid": request["uid"],
        "dryRun": bool(request.get("dryRun")),
        "operations": len(injected.patch),
        **({"warnings": warnings} if warnings else {}),
        **({"error": failure} if failure else {}),
    }
    return Answer(_response(request["uid"], injected.patch, warnings), fields["outcome"], fields)


def _request(body: bytes) -> Mapping[str, Any]:
    try:
        review = orjson.loads(body)
    except orjson.JSONDecodeError:  # whose message repeats the body: no cause, no words of it
        raise MalformedReview("the body is not JSON") from None
    if not isinstance(review, dict) or review.get("kind") != KIND or review.get("apiVersion") != API_VERSION:
        raise MalformedReview(f"expected kind {KIND} of {API_VERSION}")
    request = review.get("request")
    if not isinstance(request, dict) or not isinstance(request.get("uid"), str) or not request["uid"]:
        raise MalformedReview("expected a request with a uid")
    return request


def _is_new_pod(request: Mapping[str, Any]) -> bool:
    kind = request.get("kind")
    return (
        isinstance(kind, dict)
        and (kind.get("group"), kind.get("version"), kind.get("kind")) == ("", "v1", "Pod")
        and request.get("operation") == "CREATE"
        and not request.get("subResource")
    )


def _name(pod: Any) -> str:
    metadata = pod.get("metadata") if isinstance(pod, dict) else None
    if not isinstance(metadata, dict):
        return ""
    generated = metadata.get("generateName")
    return str(metadata.get("name") or (f"{generated}*" if generated else ""))


def _where(error: Exception) -> str:
    """Type and place. Not the message, which may repeat a value of the pod's environment."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {last.name}, {last.filename.rpartition('/')[2]}:{last.lineno}"


def _response(uid: str, patch: list[dict[str, Any]], warnings: list[str]) -> bytes:
    response: dict[str, Any] = {"uid": uid, "allowed": True}
    if patch:
        response |= {"patchType": "JSONPatch", "patch": base64.b64encode(orjson.dumps(patch)).decode()}
    if warnings:
        response["warnings"] = [f"llmroute: {one}"[:_LONGEST_WARNING] for one in warnings[:_MOST_WARNINGS]]
    return orjson.dumps({"apiVersion": API_VERSION, "kind": KIND, "response": response})
