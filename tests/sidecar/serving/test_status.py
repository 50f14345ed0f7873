"""What the sidecar tells of itself: /status, /metrics, the probes, and the headers of each answer."""

import asyncio
import json
import socket
from pathlib import Path
from time import monotonic

import pytest
from tests.app import CHAT, MESSAGES, connected
from tests.sidecar.serving.scripted import DONE, Call, chunk, finish, scripted
from tests.world import chat, elsewhere, own_key, provider, world

from llmroute.simulator.spec import BlackHole, Duration, Fault, Refused, Reset, Speed, Status, Ttft

PARTS = ["queue", "connect", "headers", "ttft", "generation", "total", "tokens_per_second"]


async def test_the_parts_of_the_latency_are_told_apart() -> None:
    east = provider("east", ttft=Ttft(median=Duration(0.04)), tokens_per_second=Speed(median=400))
    async with world(east) as here:
        await here.chat()
        for _ in range(4):
            await here.chat(stream=True)
        latency = (await here.target_status("east"))["latency"]

        assert sorted(latency) == sorted(PARTS)
        assert {part: latency[part]["count"] for part in PARTS} == {
            "queue": 5,
            "connect": 5,
            "headers": 5,
            "ttft": 4,
            "generation": 4,
            "total": 5,
            "tokens_per_second": 4,
        }
        for part in latency.values():
            assert sorted(part) == ["count", "mean", "p50", "p95", "p99"]
            assert part["p50"] <= part["p95"] <= part["p99"]
        assert 0.035 < latency["ttft"]["p50"] < latency["total"]["p50"]
        assert 0.05 < latency["generation"]["p50"] < latency["total"]["p99"]
        assert 0 < latency["tokens_per_second"]["p50"] < 5000
        assert latency["connect"]["p50"] == 0, "ready connections are used again"
        assert latency["connect"]["p99"] > 0


async def test_ttft_runs_to_the_first_content_not_to_the_head_or_the_role() -> None:
    async def opens_early(call: Call) -> None:
        await call.begin()
        await call.piece(chunk(role="assistant", content=""))
        await asyncio.sleep(0.05)
        await call.piece(chunk("a"))
        await asyncio.sleep(0.05)
        await call.piece(finish() + DONE)
        await call.end()

    async with scripted(opens_early) as east, world(elsewhere("east", east.url)) as here:
        await here.chat(stream=True)
        latency = (await here.target_status("east"))["latency"]
        assert latency["ttft"]["p50"] - latency["headers"]["p50"] > 0.045
        assert latency["generation"]["p50"] > 0.045


async def test_share_errors_and_tokens_are_counted_for_each_target() -> None:
    async with world(provider("east"), provider("west")) as here:
        for name, count in (("east", 3), ("west", 1)):
            for _ in range(count):
                await here.chat(headers={"x-llmroute-target": name})
        await here.told("west", Status(status=500))
        await here.chat(headers={"x-llmroute-target": "west"}, model="chat")

        east, west = await here.target_status("east"), await here.target_status("west")
        assert (east["attempts"], east["errors"]) == (3, 0)
        assert west["errors"] == west["attempts"] - 1 > 0
        assert east["share"] + west["share"] == pytest.approx(1.0, abs=1e-3)
        assert east["inputTokens"] > 0
        assert east["outputTokens"] == 3 * 32


async def test_tokens_of_streams_and_from_the_providers_cache_are_counted_though_the_app_did_not_ask() -> None:
    for dialect in ("openai", "anthropic"):
        async with world(provider("east", dialect=dialect, cached_share=0.5)) as here:
            answer = await here.chat("x" * 400, stream=True)
            status = await here.target_status("east")

            assert b'"usage":{' not in answer.body
            assert status["outputTokens"] == 32
            assert status["inputTokens"] >= 100
            assert status["inputTokens"] * 0.4 < status["cachedTokens"] < status["inputTokens"] * 0.6


async def test_the_state_of_the_route_and_its_targets_is_told() -> None:
    async with world(provider("east"), provider("claude", dialect="anthropic"), models=["a", "b"]) as here:
        status = await here.status()
        (route,) = status["routes"]

        assert status["revision"] == here.sidecar.cell.runtime.revision
        assert status["draining"] is False
        assert (route["name"], route["namespace"], route["models"]) == ("chat", "default", ["a", "b"])
        assert [target["name"] for target in route["targets"]] == ["east", "claude"]
        assert [target["provider"] for target in route["targets"]] == ["openai-compatible", "anthropic"]
        assert {target["state"] for target in route["targets"]} == {"healthy"}
        assert {target["credential"] for target in route["targets"]} == {"available"}
        assert "cache" not in route


async def test_the_hit_rate_of_the_cache_is_told() -> None:
    async with world(provider("east"), cache={}) as here:
        assert (await here.status())["routes"][0]["cache"]["hitRate"] is None
        for _ in range(4):
            await here.chat()
        cache = (await here.status())["routes"][0]["cache"]
        assert (cache["entries"], cache["hits"], cache["misses"], cache["hitRate"]) == (1, 3, 1, 0.75)
        assert cache["bytes"] > 500


async def test_in_flight_is_told_while_it_lasts() -> None:
    async with world(provider("east", faults=[BlackHole()])) as here:
        async with here.app() as app:
            app.ask(CHAT, chat())
            await here.arrived("east")
            assert (await here.target_status("east"))["inFlight"] == 1
            metrics = await here.metrics()
            assert metrics.sum("llmroute_in_flight", target="east") == 1
            app.hang_up()
        await here.settled()
        assert (await here.metrics()).sum("llmroute_in_flight", target="east") == 0


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_the_overhead_leaves_out_what_others_took(stream: bool) -> None:
    """The target, the failed attempt before it, the app's slow upload."""
    async with world(
        provider("west", faults=[Status(status=500, delay=Duration(0.1))]),
        provider("east", ttft=Ttft(median=Duration(0.1))),
    ) as here:
        began = monotonic()
        answer = await here.chat(stream=stream)
        took = monotonic() - began
        assert answer.target == "east"
        assert 0 <= float(answer.headers["x-llmroute-overhead-ms"]) / 1000 < took / 2


async def test_each_answer_says_who_gave_it_and_why() -> None:
    async with world(provider("east"), provider("west")) as here:
        answer = await here.chat()
        assert len(answer.headers["x-request-id"]) == 32
        assert (answer.target, answer.attempts) == ("east", "east:ok")
        assert answer.headers["x-llmroute-reason"] == "fastest"
        asked = await here.chat(headers={"x-llmroute-target": "west"})
        assert (asked.target, asked.headers["x-llmroute-reason"]) == ("west", "asked")


async def test_a_dry_run_explains_the_choice_and_asks_nobody() -> None:
    async with world(provider("east"), provider("west", target={"tenants": ["gold"]})) as here:
        answer = await here.chat(headers={"x-llmroute-dry-run": "true"})

        assert answer.status == 200
        assert answer.json["target"] == "east"
        considered = {each["target"]: each for each in answer.json["considered"]}
        assert considered["east"]["estimate"]["total"] > 0
        assert considered["west"]["dropped_by"] == "tenant"
        assert here.requests("east") == 0


async def test_counting_tokens_without_an_anthropic_target_is_marked_as_an_estimate() -> None:
    async with world(provider("east")) as here:
        answer = await here.ask(MESSAGES + "/count_tokens", {"model": "chat", "messages": chat()["messages"]})
        assert answer.status == 200
        assert answer.headers["x-llmroute-estimate"] == "true"
        assert answer.json["input_tokens"] >= 1
    async with world(provider("claude", dialect="anthropic")) as here:
        answer = await here.ask(MESSAGES + "/count_tokens", {"model": "chat", "messages": chat()["messages"]})
        assert "x-llmroute-estimate" not in answer.headers
        assert here.requests("claude") == 1


# One Observation an attempt.


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_every_attempt_is_counted_exactly_once_whatever_its_end(stream: bool) -> None:
    """Each ending once; what the provider saw is what was counted, and nothing stays in flight."""
    endings: list[tuple[Fault, ...]] = [
        (),
        (Status(status=500),),
        (Status(status=422),),
        (Reset(after_tokens=2),),
        (BlackHole(),),
        (Refused(),),
        (Status(status=429),),
    ]
    failover = {"maxAttempts": 1, "timeouts": {"firstToken": "40ms", "total": "40ms"}}
    async with world(provider("east"), failover=failover) as here:
        refused = 0
        for faults in endings:
            await here.told("east", *faults)
            await here.chat(stream=stream, headers={"x-llmroute-target": "east"})
            refused += faults == (Refused(),)
        await here.settled()

        metrics = await here.metrics()
        status = await here.target_status("east")
        assert metrics.sum("llmroute_attempts_total") == status["attempts"] == len(endings)
        assert here.requests("east") == len(endings) - refused
        assert metrics.sum("llmroute_requests_total") == len(endings)
        assert metrics.sum("gen_ai_client_operation_duration_seconds_count") == len(endings)
        assert metrics.sum("llmroute_queue_seconds_count") == len(endings)
        assert status["inFlight"] == 0


async def test_attempts_of_a_mixed_crowd_are_all_counted() -> None:
    async with world(
        provider("east", faults=[Status(status=500, probability=0.5)]),
        provider("west", tokens_per_second=Speed(median=2000)),
        cache={},
    ) as here:
        asked = [here.chat(f"{number % 15}", stream=number % 2 == 0) for number in range(60)]
        answers = await asyncio.gather(*asked)
        await here.settled()

        assert {answer.status for answer in answers} == {200}
        metrics = await here.metrics()
        assert metrics.sum("llmroute_attempts_total") == here.requests("east") + here.requests("west")
        assert metrics.sum("llmroute_requests_total", outcome="ok") == 60


# The admin port.


async def test_the_probes_ask_for_no_provider_and_no_route() -> None:
    async with (
        world(provider("east", faults=[Refused()], target=own_key()), keys={}) as here,
        connected(here.sidecar.admin_port) as app,
    ):
        for path in ("/livez", "/readyz"):
            app.ask(path)
            answer = await app.answer()
            assert (answer.status, answer.body[:2]) == (200, b"ok")


async def test_the_admin_port_refuses_what_it_does_not_know() -> None:
    async with world(provider("east")) as here, connected(here.sidecar.admin_port) as app:
        app.ask("/nowhere")
        unknown = await app.answer()
        assert unknown.status == 404
        assert b"/status" in unknown.body
        for path in ("/status", "/metrics", "/livez"):
            async with connected(here.sidecar.admin_port) as other:
                other.ask(path, {})
                answer = await other.answer()
                assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
        app.ask("/status", method="HEAD")
        assert (await app.answer(bodiless=True)).status == 200
        app.ask("/metrics")
        assert (await app.answer()).headers["content-type"].startswith("text/plain")


def _own_address() -> str | None:
    """An address of this machine besides loopback's; no packet is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return str(probe.getsockname()[0])


async def test_status_is_for_loopback_only_and_metrics_are_not() -> None:
    address = _own_address()
    if address is None:
        pytest.skip("this machine has no address but loopback's")
    async with (
        world(provider("east"), settings={"admin_host": "0.0.0.0"}) as here,
        connected(here.sidecar.admin_port, address) as app,
    ):
        for path, status in (("/status", 403), ("/metrics", 200), ("/livez", 200)):
            app.ask(path)
            assert (await app.answer()).status == status


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="this machine has no IPv6")
async def test_apps_may_call_over_ipv6_where_there_is_any() -> None:
    async with world(provider("east")) as here, connected(here.sidecar.app_port, "::1") as app:
        app.ask(CHAT, chat(), {"host": f"[::1]:{here.sidecar.app_port}"})
        assert (await app.answer()).status == 200


async def test_one_line_a_request_is_logged(capfd: pytest.CaptureFixture[str]) -> None:
    async with world(provider("east", faults=[Status(status=500)]), provider("west")) as here:
        await here.chat("not to be logged", stream=True, headers={"x-request-id": "mine"})
        await here.chat(model="unknown")
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    good, bad = [line for line in lines if line["event"] == "request"]

    assert good["request_id"] == "mine"
    assert (good["outcome"], good["status"], good["target"], good["reason"]) == ("ok", 200, "west", "failover")
    assert good["attempts"] == "east:server-error, west:ok"
    assert good["output_tokens"] == 32
    assert 0 <= good["overhead_ms"] <= good["ttft_ms"] <= good["total_ms"]
    assert (bad["outcome"], bad["status"], bad["error"]) == ("unknown_model", 404, "unknown_model")
    assert "not to be logged" not in json.dumps(lines)


@pytest.mark.parametrize("web", [{"host": "evil.example"}, {"origin": "https://evil.example"}])
async def test_a_web_page_learns_nothing_from_the_status(web: dict[str, str]) -> None:
    """It can point its own name to 127.0.0.1."""
    async with world(provider("east")) as here, connected(here.sidecar.admin_port) as app:
        app.ask("/status", headers=web)
        answer = await app.answer()
        assert answer.status == 403
        assert b"east" not in answer.body
        app.ask("/status")
        assert (await app.answer()).status == 200
