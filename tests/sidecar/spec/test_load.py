"""What people write is understood, or refused with the place and the way out."""

from pathlib import Path
from textwrap import dedent

import pytest

from llmroute.errors import ConfigErrors
from llmroute.load import Loaded, load, load_texts
from llmroute.spec import Duration, Quantity

CANARY = "sk-canary-0123456789"

ROUTE = """\
apiVersion: llmroute.dev/v1alpha1
kind: LLMRoute
metadata:
  name: chat
spec:
  targets:
  - name: openai
    provider: openai
    model: gpt-4o
"""


def read(text: str) -> Loaded:
    return load_texts({"route.yaml": dedent(text)})


def refused(text: str) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        read(text)
    return [str(error) for error in caught.value.errors]


def test_three_lines_of_target_are_a_route() -> None:
    (route,) = read(ROUTE).routes
    assert route.key == "default/chat"
    assert route.models == ("chat",)
    assert route.spec.targets[0].max_output_tokens == 4096
    assert route.spec.failover.timeouts.first_token == Duration(30)
    assert route.spec.cache is None


def test_every_field_is_read() -> None:
    (route,) = read("""\
        apiVersion: llmroute.dev/v1alpha1
        kind: LLMRoute
        metadata: {name: chat, namespace: shop, labels: {team: a}, resourceVersion: "7", uid: u-1, generation: 3}
        spec:
          models: [chat, gpt-4o]
          targets:
          - name: east
            provider: azure-openai
            model: gpt-4o
            url: https://east.openai.azure.com
            credential: {secretRef: {name: keys, key: AZURE}}
            region: us-east
            capabilities: [tools, vision]
            qualityTier: 4
            contextWindow: 128000
            cost: {inputPerMillion: "2.50", outputPerMillion: "10"}
            maxConcurrency: 50
            maxOutputTokens: 8192
            reasoning: true
            warmConnections: 2
            prior: {ttft: 400ms, tokensPerSecond: 80}
            tenants: [gold]
            labels: {safety: strict}
          - {name: backup, provider: anthropic, model: claude-sonnet-4-5}
          objective: {weights: {latency: 0.5, cost: 1}, latency: ttft, percentile: 95}
          constraints: {maxTTFT: 2s, maxLatency: 1m30s, minQualityTier: 2, maxCostPerRequest: "0.05",
            regions: [us-east], require: {safety: strict}, onConstraint: reject}
          fallbackTargets: [backup]
          passthrough: east
          failover: {maxAttempts: 2, timeouts: {connect: 500ms, firstToken: 1.5s, betweenTokens: 1h, total: 2h30m}}
          cache: {ttl: 10m, maxBytes: 4Mi, isolateBy: [tenant]}
        status: {anything: [1, goes, true]}
        """).routes
    east, spec = route.spec.targets[0], route.spec
    assert east.credential is not None
    assert (east.credential.secret_ref.name, east.credential.secret_ref.key) == ("keys", "AZURE")
    assert east.cost is not None
    assert str(east.cost.input_per_million) == "2.50"
    assert east.prior is not None
    assert (east.prior.ttft, east.prior.tokens_per_second) == (0.4, 80.0)
    assert (east.tenants, east.labels, east.capabilities) == (("gold",), {"safety": "strict"}, ("tools", "vision"))
    assert spec.objective.weights is not None
    assert spec.objective.weights.cost == 1.0
    assert (spec.constraints.max_ttft, spec.constraints.max_latency) == (2.0, 90.0)
    assert spec.failover.timeouts.total == 9000.0
    assert spec.cache is not None
    assert spec.cache.max_bytes == Quantity(4 * 1024**2)
    assert (route.metadata.uid, route.metadata.generation) == ("u-1", 3)


def test_a_field_without_a_value_is_absent() -> None:
    (route,) = read(ROUTE + "    url:\n    region: ~\n").routes
    assert route.spec.targets[0].url is None


def test_files_hold_any_number_of_documents_and_lists() -> None:
    item = ROUTE.replace("\n", "\n    ")
    loaded = load_texts(
        {
            "a.yaml": f"---\n---\n{ROUTE}---\n# nothing\n---\n{ROUTE.replace('chat', 'other')}...\n",
            "b.yaml": f"apiVersion: v1\nkind: List\nitems:\n  - {item.replace('chat', 'third')}\n",
        }
    )
    assert [route.key for route in loaded.routes] == ["default/chat", "default/other", "default/third"]


def test_anchors_and_merges_work_as_in_kubectl() -> None:
    (route,) = read("""\
        apiVersion: llmroute.dev/v1alpha1
        kind: LLMRoute
        metadata: {name: chat}
        spec:
          targets:
          - &east {name: east, provider: openai, model: gpt-4o, qualityTier: 4}
          - {<<: *east, name: west, region: west}
          - {<<: [{region: here}, *east], name: here}
        """).routes
    east, west, here = route.spec.targets
    assert (west.name, west.model, west.quality_tier, west.region) == ("west", "gpt-4o", 4, "west")
    assert (here.name, here.region) == ("here", "here")
    assert east.region is None


class TestSecrets:
    SECRET = f"""\
apiVersion: v1
kind: Secret
metadata: {{name: keys, namespace: shop}}
type: Opaque
data: {{A: c2stY2FuYXJ5LTAxMjM0NTY3ODk=, BOTH: b2xk}}
stringData: {{B: {CANARY}, BOTH: new}}
"""

    def test_data_is_base64_and_string_data_wins(self) -> None:
        values = read(self.SECRET).secrets["shop", "keys"]
        assert dict(values) == {"A": CANARY.encode(), "B": CANARY.encode(), "BOTH": b"new"}

    def test_values_are_in_no_repr(self) -> None:
        loaded = read(self.SECRET)
        assert CANARY not in repr(loaded)
        assert "canary" not in f"{loaded} {loaded.secrets['shop', 'keys']}"

    @pytest.mark.parametrize(
        ("entry", "message"),
        [
            (f"data: {{A: {CANARY}}}", "data.A: the value is not base64; plain text goes under stringData"),
            ("stringData: {A: 12345}", 'stringData.A: the value is a number: put it in quotes ("...")'),
            (f"stringData: {{A: [{CANARY}]}}", "stringData.A: expected text"),
            (f"stringData: {CANARY}", "stringData: expected an object of keys and values"),
            (f"stringDatum: {{A: {CANARY}}}", "stringDatum: unknown field 'stringDatum'; did you mean 'stringData'?"),
        ],
    )
    def test_a_wrong_value_is_named_but_never_shown(self, entry: str, message: str) -> None:
        text = f"apiVersion: v1\nkind: Secret\nmetadata: {{name: keys}}\n{entry}\n"
        assert refused(text) == [f"route.yaml:4: {message}"]

    @pytest.mark.parametrize(
        "value", [f"*{CANARY}", f"!{CANARY}", f"!{CANARY} x", f"'{CANARY}", f"{{{CANARY}", f"@{CANARY}"]
    )
    def test_malformed_yaml_around_a_value_does_not_show_it(self, value: str) -> None:
        text = f"apiVersion: v1\nkind: Secret\nmetadata: {{name: keys}}\nstringData:\n  A: {value}\n"
        assert CANARY not in "\n".join(refused(text))

    def test_a_key_pasted_into_a_route_is_not_shown(self) -> None:
        long = CANARY + "0" * 20
        for line in (f"url: {long}", f"credential: {long}", f"qualityTier: {long}", f"capabilities: [{long}]"):
            assert long not in "\n".join(refused(ROUTE + f"    {line}\n"))

    def test_a_route_that_asks_a_secret_for_a_key_that_it_has_not(self) -> None:
        text = self.SECRET.replace("shop", "default") + "---\n" + ROUTE
        text += "    credential: {secretRef: {name: keys, key: C}}\n"
        assert refused(text) == [
            "route.yaml:17: spec.targets[0].credential.secretRef.key: "
            "the Secret 'keys' at route.yaml:1 has no such key; it has: A, BOTH, B"
        ]

    def test_a_secret_declared_twice(self) -> None:
        assert refused(f"{self.SECRET}---\n{self.SECRET}") == [
            "route.yaml:8: Secret shop/keys is declared twice; first at route.yaml:1"
        ]


class TestWrongFields:
    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("urls: x", "urls: unknown field 'urls'; did you mean 'url'?"),
            ("quality_tier: 3", "quality_tier: unknown field 'quality_tier'; did you mean 'qualityTier'?"),
            ("qualityTier: high", "qualityTier: expected a whole number from 1 to 5, got 'high'"),
            ("qualityTier: 6", "qualityTier: expected a whole number from 1 to 5, got '6'"),
            ('qualityTier: "3"', "qualityTier: expected a whole number from 1 to 5, got '3' in quotes: take them away"),
            ("qualityTier: 3.0", "qualityTier: expected a whole number from 1 to 5, got '3.0': "
             "write it in plain digits"),
            ("contextWindow: 1e3", "contextWindow: expected a whole number from 1 to 100000000, got '1e3': "
             "write it in plain digits"),
            ("contextWindow: 128_000", "contextWindow: expected a whole number from 1 to 100000000, got '128_000': "
             "write it in plain digits"),
            ("reasoning: yes", "reasoning: expected true or false (without quotes), got 'yes'"),
            ('reasoning: "true"', "reasoning: expected true or false (without quotes), got 'true'"),
            ("region: no", "region: 'no' is a boolean to many YAML parsers: put it in quotes (\"...\")"),
            ("region: 1.0", "region: '1.0' is a number: put it in quotes (\"...\")"),
            ("region: 0x1F", "region: '0x1F' is a number to many YAML parsers: put it in quotes (\"...\")"),
            ("region: [a]", "region: expected letters, digits and - . _ / inside, got a list"),
            ('region: ""', "region: must not be empty"),
            (f"region: {'x' * 64}", "region: has 64 characters; at most 63 are allowed"),
            ("maxOutputTokens:", "maxOutputTokens: expected a whole number from 1 to 10000000, got nothing"),
            ("capabilities: tools", "capabilities: expected a list, got text; write it as [value]"),
            ("capabilities: [tool]", "capabilities[0]: expected one of audio, embeddings, json, reasoning, streaming, "
             "tools, vision, got 'tool'; did you mean 'tools'?"),
            ("capabilities: [tools, tools]", "capabilities[1]: 'tools' is there twice; first on line 10"),
            ("prior: {ttft: 400}", "prior.ttft: expected a duration such as 500ms, 2s or 1m30s, got '400'"),
            ("prior: {ttft: 5 sec}", "prior.ttft: expected a duration such as 500ms, 2s or 1m30s, got '5 sec'"),
            ("prior: {ttft: 0s}", "prior.ttft: a duration must be longer than nothing"),
            ("prior: {tokensPerSecond: 0}", "prior.tokensPerSecond: expected a number above 0, at most 100000, "
             "got '0'"),
            ("prior: {tokensPerSecond: .inf}", "prior.tokensPerSecond: expected a number above 0, at most 100000, "
             "got '.inf': write it in plain digits"),
            ("prior: 400ms", "prior: expected an object, got text"),
            ("cost: {inputPerMillion: 2.50}", "cost.inputPerMillion: '2.50' is a number: put it in quotes (\"...\")"),
            ('cost: {inputPerMillion: "$2"}', "cost.inputPerMillion: expected dollars as a decimal string such as "
             '"2.50", got \'$2\''),
            ("cost: {outputPerMillion: '1'}", "cost: missing field 'inputPerMillion'"),
            ("url: api.openai.com", "url: expected an http:// or https:// URL without user, query and fragment"),
            ("url: https://me:pw@host/v1", "url: expected an http:// or https:// URL without user, query and fragment"),
            ("url: https://host:99999/v1", "url: expected an http:// or https:// URL without user, query and fragment"),
            ("labels: {safety: {a: b}}", "labels.safety: expected letters, digits and - . _ / inside, got an object"),
            ("labels: {a b: c}", 'labels["a b"]: expected letters, digits and - . _ / inside'),
            ("credential: {secretRef: {name: keys, key: ..}}", "credential.secretRef.key: expected letters, digits "
             "and - . _"),
        ],
    )  # fmt: skip
    def test_of_a_target(self, line: str, message: str) -> None:
        assert refused(ROUTE + f"    {line}\n") == [f"route.yaml:10: spec.targets[0].{message}"]

    def test_a_newline_does_not_slip_through_at_the_end(self) -> None:
        assert refused(ROUTE + '    url: "https://host/v1\\n"\n') == [
            "route.yaml:10: spec.targets[0].url: expected an http:// or https:// URL without user, query and fragment"
        ]

    def test_an_unknown_provider_lists_the_known_ones(self) -> None:
        assert refused(ROUTE.replace("provider: openai", "provider: watson")) == [
            "route.yaml:8: spec.targets[0].provider: expected one of anthropic, azure-openai, gemini, openai, "
            "openai-compatible, openrouter, got 'watson'"
        ]

    def test_an_unknown_field_like_no_other_lists_the_known_ones(self) -> None:
        assert refused(ROUTE + "  zzz: 1\n") == [
            "route.yaml:10: spec.zzz: unknown field 'zzz'; known fields: targets, models, workloads, objective, "
            "constraints, fallbackTargets, passthrough, failover, cache, autoscaling"
        ]

    def test_a_misspelt_namespace_is_not_ignored(self) -> None:
        assert refused(ROUTE.replace("name: chat", "name: chat\n  namspace: shop")) == [
            "route.yaml:5: metadata.namspace: unknown field 'namspace'; did you mean 'namespace'?"
        ]

    def test_missing_fields_are_named_where_they_are_missed(self) -> None:
        assert refused("apiVersion: llmroute.dev/v1alpha1\nkind: LLMRoute\nmetadata: {}\nspec: {}\n") == [
            "route.yaml:3: metadata: missing field 'name'",
            "route.yaml:4: spec: missing field 'targets'",
        ]

    def test_no_targets(self) -> None:
        text = ROUTE[: ROUTE.index("  targets")]
        assert refused(text + "  targets: []\n") == ["route.yaml:6: spec.targets: must not be empty"]

    def test_too_many_targets(self) -> None:
        text = ROUTE + "".join(f"  - {{name: t{n}, provider: openai, model: m}}\n" for n in range(200))
        assert refused(text) == ["route.yaml:7: spec.targets: has 201 items; at most 200 are allowed"]

    def test_two_targets_of_one_name_are_found_even_if_they_are_wrong_otherwise(self) -> None:
        assert refused(ROUTE + "  - {name: openai, provider: opnai, model: m}\n") == [
            "route.yaml:10: spec.targets[1].provider: expected one of anthropic, azure-openai, gemini, openai, "
            "openai-compatible, openrouter, got 'opnai'; did you mean 'openai'?",
            "route.yaml:10: spec.targets[1].name: 'openai' is there twice; first on line 7",
        ]

    def test_all_that_is_wrong_is_told_at_once_in_the_order_of_the_lines(self) -> None:
        found = refused(ROUTE + "    qualityTier: 9\n    url: x\n  - {name: b}\n  passthrough: a b\n")
        assert [one.split(": ")[:2] for one in found] == [
            ["route.yaml:10", "spec.targets[0].qualityTier"],
            ["route.yaml:11", "spec.targets[0].url"],
            ["route.yaml:12", "spec.targets[1]"],
            ["route.yaml:12", "spec.targets[1]"],
            ["route.yaml:13", "spec.passthrough"],
        ]


class TestDocuments:
    def test_kinds_that_are_not_ours(self) -> None:
        assert refused("apiVersion: v1\nkind: ConfigMap\n") == [
            "route.yaml:2: kind: kind 'ConfigMap' is not read here; known kinds: LLMRoute, Secret, List"
        ]
        assert refused("apiVersion: v1\nkind: llmroute\n") == [
            "route.yaml:2: kind: kind 'llmroute' is not read here; did you mean 'LLMRoute'?"
        ]

    def test_another_version(self) -> None:
        assert refused("apiVersion: llmroute.dev/v1\nkind: LLMRoute\n") == [
            "route.yaml:1: apiVersion: unknown version 'llmroute.dev/v1' of LLMRoute: expected llmroute.dev/v1alpha1"
        ]

    @pytest.mark.parametrize("text", ["", "# nothing\n", "---\n---\n", "null\n"])
    def test_a_file_without_documents(self, text: str) -> None:
        assert refused(text) == ["route.yaml: declares nothing: expected YAML documents of kind LLMRoute or Secret"]

    @pytest.mark.parametrize("text", ["hello\n", "- a\n- b\n", "42\n"])
    def test_a_document_that_is_no_object(self, text: str) -> None:
        assert refused(text) == ["route.yaml:1: expected an object with apiVersion and kind LLMRoute, Secret or List"]

    def test_an_item_of_a_list_has_its_path(self) -> None:
        text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: llmroute.dev/v1alpha1\n  kind: LLMRoute\n  spec: 1\n"
        assert refused(text) == [
            "route.yaml:4: items[0]: missing field 'metadata'",
            "route.yaml:6: items[0].spec: expected an object, got text",
        ]

    def test_two_routes_of_one_name(self) -> None:
        with pytest.raises(ConfigErrors) as caught:
            load_texts({"a.yaml": ROUTE, "b.yaml": "\n" + ROUTE})
        assert str(caught.value) == (
            "b.yaml:5: metadata.name: LLMRoute default/chat is declared twice; first at a.yaml:1"
        )

    def test_two_routes_that_serve_one_model(self) -> None:
        other = ROUTE.replace("name: chat", "name: other") + "  models: [fast, chat]\n"
        assert refused(f"{ROUTE}---\n{other}") == [
            "route.yaml:20: spec.models[1]: the model 'chat' is already served by default/chat at route.yaml:1"
        ]

    def test_two_routes_of_different_namespaces_that_serve_one_model(self) -> None:
        other = ROUTE.replace("name: chat", "name: chat\n  namespace: shop")
        assert refused(f"{ROUTE}---\n{other}") == [
            "route.yaml:14: metadata.name: the model 'chat' is already served by default/chat at route.yaml:1"
        ]


class TestFiles:
    def test_a_file_that_is_not_there_and_one_that_is_wrong_are_told_together(self, tmp_path: Path) -> None:
        wrong = tmp_path / "wrong.yaml"
        wrong.write_text(ROUTE + "    qualityTier: 9\n")
        with pytest.raises(ConfigErrors) as caught:
            load([tmp_path / "absent.yaml", wrong])
        assert [str(error) for error in caught.value.errors] == [
            f"{tmp_path}/absent.yaml: cannot be read: No such file or directory",
            f"{wrong}:10: spec.targets[0].qualityTier: expected a whole number from 1 to 5, got '9'",
        ]

    def test_a_directory(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigErrors, match="cannot be read: Is a directory"):
            load([tmp_path])

    def test_a_file_that_is_no_text(self, tmp_path: Path) -> None:
        path = tmp_path / "latin.yaml"
        path.write_bytes(ROUTE.encode() + b"# caf\xe9\n")
        with pytest.raises(ConfigErrors, match=r"latin.yaml:10: is not UTF-8 text"):
            load([path])

    def test_a_byte_order_mark_and_windows_lines(self, tmp_path: Path) -> None:
        path = tmp_path / "windows.yaml"
        path.write_bytes(b"\xef\xbb\xbf" + ROUTE.replace("\n", "\r\n").encode())
        assert load([str(path)]).routes[0].metadata.name == "chat"

    def test_a_huge_file(self, tmp_path: Path) -> None:
        path = tmp_path / "huge.yaml"
        path.write_bytes(b"#" * (4 * 1024 * 1024 + 1))
        with pytest.raises(ConfigErrors, match="is larger than 4 MiB"):
            load([path])
