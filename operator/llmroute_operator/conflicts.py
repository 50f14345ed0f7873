"""Two routes of a namespace that claim one model name, where one pod could get both: the older one wins. Pure."""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from llmroute.workloads import LabelSelector


class Claim(Struct, frozen=True):
    """The model names that a route wants in the pods that its selector means."""

    name: str
    created: str
    """RFC 3339 in UTC, as the API server writes it: these sort as text."""
    models: frozenset[str]
    workloads: LabelSelector

    @property
    def age(self) -> tuple[str, str]:
        """Older ones are smaller; of the same second, by name."""
        return (self.created, self.name)


class Rival(Struct, frozen=True):
    """Who has the model already."""

    name: str
    model: str


def rival_of(claim: Claim, settled: Sequence[Claim]) -> Rival | None:
    """The first of `settled` that leaves no room for the claim, with the first model that both want."""
    for other in settled:
        shared = claim.models & other.models
        if shared and overlap(claim.workloads, other.workloads):
            return Rival(other.name, min(shared))
    return None


def overlap(one: LabelSelector, other: LabelSelector) -> bool:
    """Whether some set of labels is selected by both, be there such a pod or not.

    Exact: conditions on different labels do not touch each other, so both hold together if those on each label do. A
    selector that contradicts itself selects nothing, and so overlaps with nothing.
    """
    wanted: dict[str, _Wanted] = {}
    for label, operator, values in (*_conditions(one), *_conditions(other)):
        wanted.setdefault(label, _Wanted()).also(operator, values)
    return all(each.possible for each in wanted.values())


def _conditions(selector: LabelSelector) -> Iterator[tuple[str, str, frozenset[str]]]:
    for label, value in (selector.match_labels or {}).items():
        yield label, "In", frozenset((value,))
    for expression in selector.match_expressions:
        yield expression.key, expression.operator, frozenset(expression.values)


class _Wanted:
    """All that is asked of one label."""

    __slots__ = ("_absent", "_among", "_not", "_present")

    def __init__(self) -> None:
        self._present = False
        self._absent = False
        self._among: frozenset[str] | None = None
        """None: any value; there are more than anybody can list."""
        self._not: frozenset[str] = frozenset()

    def also(self, operator: str, values: frozenset[str]) -> None:
        match operator:
            case "In":
                self._present = True
                self._among = values if self._among is None else self._among & values
            case "NotIn":
                self._not |= values
            case "Exists":
                self._present = True
            case "DoesNotExist":
                self._absent = True

    @property
    def possible(self) -> bool:
        """Without the label: fine unless it is asked for (NotIn holds then). With it: some value must be left."""
        if not self._present:
            return True
        return not self._absent and (self._among is None or bool(self._among - self._not))
