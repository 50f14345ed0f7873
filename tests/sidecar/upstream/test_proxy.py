"""The way out that the environment names."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme
from tests.sidecar.upstream.conftest import World, ask, send
from tests.sidecar.upstream.script import Peer, Step, answers, closes, hears, hears_end, says
from tests.sidecar.upstream.test_tls import serving

from llmroute.errors import ConfigError, ConnectFailed, ConnectTimeout
from llmroute.upstream import Origin, build_head
from llmroute.upstream.proxy import proxy_for

SECRET = base64.b64encode(b"user:p@ss").decode()


def connects(target_port: int, *, authorization: str = "") -> Step:
    """Answers CONNECT and carries bytes between the client and the target."""

    async def step(peer: Peer) -> None:
        import asyncio

        head = (await peer.reader.readuntil(b"\r\n\r\n")).decode()
        peer.server.requests.append((head, b""))
        assert authorization in head
        reader, writer = await asyncio.open_connection("127.0.0.1", target_port)
        peer.writer.write(b"HTTP/1.1 200 Connection established\r\nX-Proxy: yes\r\n\r\n")

        async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            try:
                while piece := await source.read(65536):
                    sink.write(piece)
                    await sink.drain()
            except ConnectionError:
                pass
            sink.close()

        await asyncio.gather(carry(peer.reader, writer), carry(reader, peer.writer))

    return step


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


async def test_https_goes_through_a_tunnel(world: World, authority: trustme.CA, ca_file: str) -> None:
    target = await world.target(
        [hears("POST /v1/x HTTP/1.1\r\nhost: target.test\r\n"), answers(), hears(), answers()],
        context=serving(authority.issue_cert("target.test")),
    )
    proxy = await world.target([connects(target.origin.port, authorization=f"proxy-authorization: Basic {SECRET}\r\n")])
    environ = {"HTTPS_PROXY": f"http://user:p%40ss@{proxy.origin}"}
    pool = world.pool(Origin("https", "target.test", 443), ca_file=ca_file, environ=environ)
    assert (await ask(pool)).body == b"ok"
    assert (await ask(pool)).response.reused
    assert proxy.requests[0][0].startswith("CONNECT target.test:443 HTTP/1.1\r\nhost: target.test:443\r\n")
    assert not any("proxy-authorization" in head for head, _ in target.requests)


async def test_the_targets_certificate_is_verified_inside_the_tunnel(
    world: World, authority: trustme.CA, ca_file: str
) -> None:
    target = await world.target(context=serving(authority.issue_cert("other.test")))
    proxy = await world.target([connects(target.origin.port)])
    pool = world.pool(Origin("https", "target.test", 443), ca_file=ca_file, environ={"https_proxy": f"{proxy.origin}"})
    with pytest.raises(ConnectFailed, match=r"target\.test:443: TLS: certificate verify failed: Hostname mismatch"):
        await ask(pool)


async def test_a_proxy_may_itself_be_spoken_to_over_tls(world: World, authority: trustme.CA, ca_file: str) -> None:
    target = await world.target([hears(), answers()], context=serving(authority.issue_cert("target.test")))
    proxy = await world.target([connects(target.origin.port)], context=serving(authority.issue_cert("127.0.0.1")))
    environ = {"HTTPS_PROXY": f"https://{proxy.origin}"}
    pool = world.pool(Origin("https", "target.test", 443), ca_file=ca_file, environ=environ)
    assert (await ask(pool)).body == b"ok"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ([says("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"), hears_end], "407 Proxy Authentication Required"),
        ([says("HTTP/1.1 502 Bad Gateway\r\n\r\n"), hears_end], "502 Bad Gateway"),
        ([closes], "it closed the connection"),
        ([says("HTTP/1.1 200 OK\r\n"), closes], "it closed the connection"),
        ([says("SSH-2.0\r\n\r\n"), hears_end], "its answer is not HTTP/1.1"),
        ([says("HTTP/1.1 200 OK\r\n\r\nearly"), hears_end], "it sent bytes before the target could"),
        ([says("HTTP/1.1 200 OK\r\nX: " + "y" * 20_000), hears_end], "over 16 KiB of headers"),
    ],
)
async def test_a_refused_tunnel_says_why_and_no_secret(world: World, script: list[Step], reason: str) -> None:
    proxy = await world.target([hears("CONNECT"), *script])
    environ = {"HTTPS_PROXY": f"http://user:p%40ss@{proxy.origin}"}
    pool = world.pool(Origin("https", "target.test", 443), environ=environ)
    with pytest.raises(ConnectFailed) as failed:
        await ask(pool)
    assert str(failed.value) == f"target.test:443: the proxy http://{proxy.origin} refused the tunnel: {reason}" or (
        reason in str(failed.value)
    )
    assert "p@ss" not in str(failed.value)
    assert "p%40ss" not in str(failed.value)


async def test_a_tunnel_may_be_announced_by_interim_answers(world: World) -> None:
    proxy = await world.target(
        [hears("CONNECT"), says("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 No\r\n\r\n"), hears_end]
    )
    pool = world.pool(Origin("https", "target.test", 443), environ={"HTTPS_PROXY": f"http://{proxy.origin}"})
    with pytest.raises(ConnectFailed, match="refused the tunnel: 403 No"):
        await ask(pool)


async def test_a_proxy_that_says_nothing(world: World) -> None:
    proxy = await world.target([hears("CONNECT"), hears_end])
    pool = world.pool(Origin("https", "target.test", 443), environ={"HTTPS_PROXY": f"http://{proxy.origin}"})
    with pytest.raises(ConnectTimeout, match=r"while waiting for the proxy http://127\.0\.0\.1"):
        await send(pool, connect_timeout=0.05)


async def test_a_proxy_that_is_not_there(world: World) -> None:
    proxy = await world.target()
    proxy.stop_listening()
    pool = world.pool(Origin("https", "target.test", 443), environ={"HTTPS_PROXY": f"http://{proxy.origin}"})
    with pytest.raises(ConnectFailed, match=r"target\.test:443: proxy http://127\.0\.0\.1:\d+: connection refused"):
        await ask(pool)


async def test_http_goes_in_absolute_form(world: World) -> None:
    proxy = await world.target([hears(body=b"hi"), answers("by proxy"), hears(), answers("again")])
    environ = {"http_proxy": f"http://user:p%40ss@{proxy.origin}"}
    pool = world.pool(Origin("http", "target.test", 8080), environ=environ)
    assert (await ask(pool, b"hi")).body == b"by proxy"
    assert (await ask(pool)).response.reused
    lines = proxy.requests[0][0].split("\r\n")
    assert lines[0] == "POST http://target.test:8080/v1/x HTTP/1.1"
    assert "host: target.test:8080" in lines
    assert f"proxy-authorization: Basic {SECRET}" in lines


async def test_a_repeated_request_is_in_absolute_form_once(world: World) -> None:
    proxy = await world.target(
        [hears(), answers(), hears(), closes], [hears("POST http://target.test/v1/x "), answers()]
    )
    pool = world.pool(Origin("http", "target.test", 80), environ={"http_proxy": f"http://{proxy.origin}"})
    await ask(pool)
    await ask(pool)


async def test_no_proxy_goes_directly(world: World) -> None:
    target = await world.target([hears("POST /v1/x "), answers()])

    async def resolve(host: str, port: int) -> list[object]:
        from llmroute.upstream.dns import literal

        assert host == "target.test"
        return [literal("127.0.0.1", port)]

    environ = {"HTTP_PROXY": "http://127.0.0.1:1", "NO_PROXY": "example.com, .test"}
    pool = world.pool(Origin("http", "target.test", target.origin.port), environ=environ, resolve=resolve)
    assert (await ask(pool)).body == b"ok"


@pytest.mark.parametrize(
    ("no_proxy", "origin", "direct"),
    [
        ("", Origin("https", "api.openai.com", 443), False),
        ("*", Origin("https", "api.openai.com", 443), True),
        ("openai.com", Origin("https", "api.openai.com", 443), True),
        (".openai.com", Origin("https", "api.openai.com", 443), True),
        ("*.openai.com", Origin("https", "api.openai.com", 443), True),
        ("OpenAI.com", Origin("https", "api.openai.com", 443), True),
        ("penai.com", Origin("https", "api.openai.com", 443), False),
        ("api.openai.com:443", Origin("https", "api.openai.com", 443), True),
        ("api.openai.com:8443", Origin("https", "api.openai.com", 443), False),
        ("10.0.0.0/8", Origin("http", "10.1.2.3", 80), True),
        ("10.1.2.3", Origin("http", "10.1.2.3", 80), True),
        ("10.0.0.0/8", Origin("http", "11.1.2.3", 80), False),
        ("10.0.0.0/8", Origin("http", "host.test", 80), False),
        ("fd00::/8", Origin("http", "fd00::1", 80), True),
        ("fd00::1", Origin("http", "fd00::1", 80), True),
        ("[fd00::1]", Origin("http", "fd00::1", 80), True),
        ("[fd00::1]:80", Origin("http", "fd00::1", 80), True),
        ("[fd00::1]:81", Origin("http", "fd00::1", 80), False),
        ("svc,cluster.local", Origin("http", "vllm.shop.svc", 8000), True),
        ("svc cluster.local", Origin("http", "vllm.shop.svc.cluster.local", 8000), True),
        (",,", Origin("http", "vllm.shop.svc", 8000), False),
        ("", Origin("http", "localhost", 80), True),
        ("", Origin("http", "127.0.0.1", 80), True),
        ("", Origin("http", "::1", 80), True),
    ],
)
def test_who_is_reached_directly(no_proxy: str, origin: Origin, direct: bool) -> None:
    environ = {"HTTPS_PROXY": "http://proxy:3128", "HTTP_PROXY": "http://proxy:3128", "no_proxy": no_proxy}
    assert (proxy_for(origin, environ) is None) is direct


@pytest.mark.parametrize(
    ("environ", "shown"),
    [
        ({}, "None"),
        ({"HTTP_PROXY": "http://wrong:1"}, "None"),
        ({"HTTPS_PROXY": ""}, "None"),
        ({"HTTPS_PROXY": "http://upper:1", "https_proxy": "http://lower:2"}, "Proxy(http://lower:2)"),
        ({"ALL_PROXY": "proxy:3128"}, "Proxy(http://proxy:3128)"),
        ({"HTTPS_PROXY": "https://proxy"}, "Proxy(https://proxy:443)"),
        ({"HTTPS_PROXY": "http://[fd00::1]"}, "Proxy(http://[fd00::1]:80)"),
        ({"HTTPS_PROXY": "http://user:secret@proxy:1"}, "Proxy(http://proxy:1)"),
    ],
)
def test_which_proxy(environ: dict[str, str], shown: str) -> None:
    assert repr(proxy_for(Origin("https", "api.openai.com", 443), environ)) == shown


@pytest.mark.parametrize(
    "url", ["socks5://user:secret@proxy:1080", "http://user:secret@proxy:port", "http://user:secret@"]
)
def test_a_proxy_that_makes_no_sense_is_named_without_its_secret(url: str) -> None:
    with pytest.raises(ConfigError, match="HTTPS_PROXY: ") as wrong:
        proxy_for(Origin("https", "api.openai.com", 443), {"HTTPS_PROXY": url})
    assert "secret" not in str(wrong.value)


async def test_an_upload_goes_in_absolute_form_too(world: World) -> None:
    proxy = await world.target([hears("POST http://target.test/v1/audio HTTP/1.1\r\n", body=b"sound"), answers()])
    pool = world.pool(Origin("http", "target.test", 80), environ={"http_proxy": f"http://{proxy.origin}"})

    async def sound() -> AsyncIterator[bytes]:
        yield b"sound"

    head = build_head("POST", "/v1/audio", "target.test", [("transfer-encoding", "chunked")])
    response = await pool.send_streaming(head, sound(), connect_timeout=5.0)
    assert await response.body(10) == b"ok"
    response.release()
