"""YAML as a bounded tree: what is malformed, what is a trap, and what wants to eat the memory."""

import pytest

from llmroute.load.nodes import MAX_NODES, Fields, Items, Meaning, Node, Problems, Scalar, compose, meaning


def composed(text: str) -> tuple[list[Node], list[str]]:
    problems = Problems("f.yaml")
    return compose(text, problems), [str(error) for error in problems.errors]


def plain(node: Node) -> object:
    if isinstance(node, Scalar):
        return node.text
    if isinstance(node, Items):
        return [plain(item) for item in node.items]
    return {name: plain(value) for name, (_, value) in node.fields.items()}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [1, 2\nb: 3\n", "f.yaml:2:2: malformed YAML: did not find expected ',' or ']' "
         "(while parsing a flow sequence, begun on line 1)"),
        ("a:\n\t- b\n", "f.yaml:2:1: malformed YAML: found character that cannot start any token; "
         "indent with spaces, not with tabs"),
        ("a:\n  b: 1\n\tc: 2\n", "f.yaml:3:1: malformed YAML: found a tab character that violates indentation; "
         "indent with spaces, not with tabs"),
        ("a: b: c\n", "f.yaml:1:5: malformed YAML: mapping values are not allowed in this context"),
        ("a: 'x\n", "f.yaml:2:1: malformed YAML: found unexpected end of stream "
         "(while scanning a quoted scalar, begun on line 1)"),
        ("a: 1\nb: \x07\n", "f.yaml:2: malformed YAML: a control character is not allowed"),
        ("é: 1\nb: \x07\n", "f.yaml:2: malformed YAML: a control character is not allowed"),
        ("a: &x [*x]\n", "f.yaml:1: an alias inside of its own anchor"),
        ("a: *x\n", "f.yaml:1: unknown alias: no such anchor (&...) before it; text that begins with * needs quotes"),
        ("a: &x 1\n---\nb: *x\n", "f.yaml:3: unknown alias: no such anchor (&...) before it; text that begins with * "
         "needs quotes"),
        ("a: !!python/object:os.system x\n", "f.yaml:1: tags (!...) are not allowed"),
        ("a: !!binary aGk=\n", "f.yaml:1: tags (!...) are not allowed"),
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3: field 'a' is there twice; first on line 1"),
        ("[a, b]: 1\n", "f.yaml:1: the name of a field must be text"),
        ("on: 1\n", "f.yaml:1: 'on' is a boolean to many YAML parsers: put it in quotes"),
        ("1: 1\n", "f.yaml:1: '1' is a number: put it in quotes"),
        ("a: {<<: 1}\n", "f.yaml:1: '<<' takes an object or a list of objects"),
        ("[" * 60 + "]" * 60, "f.yaml:1: nested more than 40 deep"),
        ("[" * 100_000, "f.yaml:1: nested more than 40 deep"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(text: str, problem: str) -> None:
    assert composed(text)[1] == [problem]


def test_what_was_read_before_a_malformed_document_is_kept() -> None:
    documents, problems = composed("a: 1\n---\nb: [\n")
    assert [plain(document) for document in documents] == [{"a": "1"}]
    assert len(problems) == 1


def test_an_alias_bomb_is_refused_before_it_goes_off() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    assert composed("\n".join(lines))[1] == [
        f"f.yaml:6: more than {MAX_NODES} values, those that aliases repeat included"
    ]


def test_a_merge_bomb_is_refused_too() -> None:
    lines = ["a0: &a0 {" + ", ".join(f"k{n}: x" for n in range(100)) + "}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 50)}]}}" for n in range(1, 10)]
    assert "values, those that aliases repeat included" in composed("\n".join(lines))[1][0]


def test_problems_without_end_are_told_to_an_end() -> None:
    assert len(composed("a: 1\n" * 5000)[1]) == 100


def test_aliases_repeat_what_their_anchors_hold() -> None:
    documents, problems = composed("a: &x {b: [1]}\nc: *x\nd: [*x]\n")
    assert problems == []
    assert plain(documents[0]) == {"a": {"b": ["1"]}, "c": {"b": ["1"]}, "d": [{"b": ["1"]}]}


def test_own_fields_win_over_merged_ones_and_earlier_over_later() -> None:
    documents, _ = composed("- &a {x: a, y: a}\n- &b {y: b, z: b}\n- {<<: [*a, *b], x: own}\n")
    items = documents[0]
    assert isinstance(items, Items)
    assert plain(items.items[2]) == {"x": "own", "y": "a", "z": "b"}


def test_lines_are_those_of_the_text() -> None:
    (document,), _ = composed("# first\na:\n  - b\n  - c: |\n      text\n")
    assert isinstance(document, Fields)
    name, value = document.fields["a"]
    assert isinstance(value, Items)
    assert (name.line, [item.line for item in value.items]) == (2, [3, 4])


@pytest.mark.parametrize(
    ("expected", "texts"),
    [
        (Meaning.NULL, ["", "~", "null", "NULL"]),
        (Meaning.BOOLEAN, ["true", "FALSE"]),
        (Meaning.ODD_BOOLEAN, ["yes", "No", "y", "off", "ON"]),
        (Meaning.NUMBER, ["0", "-1", "1.0", "1e3", "1.5E-3"]),
        (Meaning.ODD_NUMBER, ["+1", "007", "0o17", "0x1f", "0b1", "1_000", ".5", "5.", ".inf", "-.Inf", ".nan"]),
        (Meaning.TEXT, ["nul", "tRue", "gpt-4o", "10.0.0.1", "2s", "2024-05-13", "1:30", ".", "-", "e3", "inf"]),
    ],
)
def test_what_a_scalar_is_by_its_looks(expected: Meaning, texts: list[str]) -> None:
    for text in texts:
        assert meaning(Scalar(1, text, plain=True)) is expected, text
        assert meaning(Scalar(1, text, plain=False)) is Meaning.TEXT, text
