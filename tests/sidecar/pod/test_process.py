"""`llmroute serve --pod DIR` as a container runs it."""

import signal

import pytest
from tests.app import CHAT, connected
from tests.sidecar.cli.process import llmroute
from tests.sidecar.pod.world import mounted
from tests.world import chat, provider

from llmroute.simulator.spec import Speed


async def test_it_runs_with_what_the_injector_gives_it_and_ends_after_its_streams(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("POD_NAME", "shop-1")
    monkeypatch.setenv("POD_NAMESPACE", "shop")
    async with mounted(provider("east", tokens_per_second=Speed(median=40))) as here:
        here.render("aaaaaaaaaaaa")
        addresses = ("--listen", "127.0.0.1:0", "--admin", ":0", "--log-level", "info")
        async with llmroute("serve", "--pod", here.directory, *addresses) as process:
            await process.until(r"metrics and /status on http://\*:")
            app_port, admin_port = await process.port("serving"), await process.port("metrics")
            async with connected(admin_port) as operator:
                operator.ask("/status")
                status = (await operator.answer()).json
            assert status["pod"] == {"name": "shop-1", "namespace": "shop", "region": None}
            assert status["revision"] == "aaaaaaaaaaaa"
            async with connected(app_port) as app:
                app.ask(CHAT, chat(stream=True))
                await app.head()
                body = await app.chunk()
                process.signal(signal.SIGTERM)
                while piece := await app.chunk():
                    body += piece
            assert body.endswith(b"data: [DONE]\n\n")
            assert await process.ended() == (0, "")


async def test_outside_of_a_pod_the_admin_port_stays_on_loopback() -> None:
    async with mounted() as here:
        file = here.directory / "routes.yaml"
        file.write_text(
            "apiVersion: llmroute.dev/v1alpha1\nkind: LLMRoute\nmetadata: {name: a}\n"
            "spec: {targets: [{name: a, provider: openai, model: m}]}\n"
        )
        async with llmroute("serve", file, "--listen", ":0", "--admin", ":0") as process:
            await process.until(r"serving on http://127\.0\.0\.1:")
            await process.until(r"metrics and /status on http://127\.0\.0\.1:")


async def test_the_routes_of_a_cluster_need_urls_elsewhere() -> None:
    async with mounted() as here:
        file = here.directory / "routes.yaml"
        file.write_text(
            "apiVersion: llmroute.dev/v1alpha1\nkind: LLMRoute\nmetadata: {name: a}\n"
            "spec: {targets: [{name: vllm, provider: openai-compatible, model: m, service: {name: s, port: 1}}]}\n"
        )
        async with llmroute("serve", file) as process:
            code, told = await process.ended()
            assert code == 2
            assert told == (
                "llmroute: default/a: target vllm: service: is known in a cluster only, where the operator makes a url "
                "of it; write the url here\n"
            )
