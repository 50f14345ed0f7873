"""Whom the client trusts, and in which words it refuses."""

import asyncio
import datetime
import ssl
from pathlib import Path

import pytest
import trustme
from tests.sidecar.upstream.conftest import World, ask, read_all, send
from tests.sidecar.upstream.script import Peer, Step, answers, closes, hears, hears_end, says

from llmroute.errors import ConfigError, ConnectFailed, ConnectTimeout
from llmroute.upstream import Origin, Pool, Upstream
from llmroute.upstream.dns import literal

YEAR = datetime.timedelta(days=365)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


def serving(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    certificate.configure_cert(context)
    return context


async def loopback(host: str, port: int) -> list[object]:
    return [literal("127.0.0.1", port)]


async def secured(world: World, certificate: trustme.LeafCert, ca_file: str | None, *scripts: list[Step]) -> Pool:
    """A pool of https://target.test, which has the certificate and is on loopback."""
    target = await world.target(*scripts, context=serving(certificate))
    return world.pool(Origin("https", "target.test", target.origin.port), ca_file=ca_file, resolve=loopback)


async def test_a_certificate_of_ones_own_authority(world: World, authority: trustme.CA, ca_file: str) -> None:
    pool = await secured(
        world, authority.issue_cert("target.test"), ca_file, [hears("host: target.test"), answers(), hears(), answers()]
    )
    first, second = await ask(pool), await ask(pool)
    assert (first.body, second.body) == (b"ok", b"ok")
    assert first.response.connect >= 0.0
    assert second.response.reused


async def test_the_name_is_told_and_http_1_1_offered(world: World, authority: trustme.CA, ca_file: str) -> None:
    context = serving(authority.issue_cert("target.test"))
    names: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    protocols: list[str | None] = []

    async def notes(peer: Peer) -> None:
        protocols.append(peer.writer.get_extra_info("ssl_object").selected_alpn_protocol())

    target = await world.target([notes, hears(), answers()], context=context)
    origin = Origin("https", "target.test", target.origin.port)
    await ask(world.pool(origin, ca_file=ca_file, resolve=loopback))
    assert (names, protocols) == (["target.test"], ["http/1.1"])


async def test_the_system_does_not_know_a_private_authority(world: World, authority: trustme.CA) -> None:
    pool = await secured(world, authority.issue_cert("target.test"), None)
    with pytest.raises(ConnectFailed, match=r"target\.test:\d+: TLS: certificate verify failed: ") as failed:
        await ask(pool)
    assert isinstance(failed.value.__cause__, ssl.SSLCertVerificationError)


async def test_a_certificate_of_another_host(world: World, authority: trustme.CA, ca_file: str) -> None:
    pool = await secured(world, authority.issue_cert("other.test"), ca_file)
    with pytest.raises(ConnectFailed, match="TLS: certificate verify failed: Hostname mismatch"):
        await ask(pool)


async def test_an_expired_certificate(world: World, authority: trustme.CA, ca_file: str) -> None:
    now = datetime.datetime.now(datetime.UTC)
    expired = authority.issue_cert("target.test", not_before=now - 2 * YEAR, not_after=now - YEAR)
    pool = await secured(world, expired, ca_file)
    with pytest.raises(ConnectFailed, match="TLS: certificate verify failed: certificate has expired"):
        await ask(pool)


async def test_a_certificate_that_nobody_signed(world: World, ca_file: str) -> None:
    pool = await secured(world, trustme.CA().issue_cert("target.test"), ca_file)
    with pytest.raises(ConnectFailed, match="TLS: certificate verify failed: unable to get local issuer"):
        await ask(pool)


async def test_an_address_is_verified_too(world: World, authority: trustme.CA, ca_file: str) -> None:
    target = await world.target([hears(), answers()], context=serving(authority.issue_cert("127.0.0.1")))
    assert (await ask(world.pool(target.origin, ca_file=ca_file))).body == b"ok"


async def test_an_ipv6_address_over_tls(world: World, authority: trustme.CA, ca_file: str) -> None:
    target = await world.target(
        [hears("host: [::1]:"), answers()], host="::1", context=serving(authority.issue_cert("::1"))
    )
    assert (await ask(world.pool(target.origin, ca_file=ca_file))).body == b"ok"


async def test_a_port_that_does_not_speak_tls(world: World) -> None:
    async def speaks_plainly(peer: Peer) -> None:
        await peer.reader.read(10)
        peer.writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        peer.writer.close()

    target = await world.target([speaks_plainly])
    pool = world.pool(Origin("https", "target.test", target.origin.port), resolve=loopback)
    with pytest.raises(ConnectFailed, match=r"TLS: .*does the port speak TLS"):
        await ask(pool)


async def test_a_target_that_hangs_up_in_the_handshake(world: World) -> None:
    target = await world.target([closes])
    pool = world.pool(Origin("https", "target.test", target.origin.port), resolve=loopback)
    with pytest.raises(ConnectFailed, match=r"target\.test:\d+: TLS: the connection was closed during the handshake"):
        await ask(pool)


async def test_a_handshake_that_takes_too_long(world: World) -> None:
    target = await world.target([hears_end])
    pool = world.pool(Origin("https", "target.test", target.origin.port), resolve=loopback)
    await pool._dialer._trust.context()  # so that the time goes to the handshake
    with pytest.raises(ConnectTimeout, match=r"within 0\.05 s, while securing the connection to target\.test"):
        await send(pool, connect_timeout=0.05)


async def test_large_bodies_both_ways(world: World, authority: trustme.CA, ca_file: str) -> None:
    body = b"x" * 3_000_000

    async def pours(peer: Peer) -> None:
        peer.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n")
        for _ in range(9):
            peer.writer.write(b"y" * 1_000_000)
            await peer.writer.drain()

    pool = await secured(
        world, authority.issue_cert("target.test"), ca_file, [hears(body=body), pours, hears(), answers("next")]
    )
    response = await send(pool, body)
    await asyncio.sleep(0.1)
    assert len(await read_all(response)) == 9_000_000
    response.release()
    assert (await ask(pool)).response.reused


async def test_an_answer_ended_by_close_over_tls(world: World, authority: trustme.CA, ca_file: str) -> None:
    pool = await secured(
        world, authority.issue_cert("target.test"), ca_file, [hears(), says("HTTP/1.1 200 OK\r\n\r\nall"), closes]
    )
    assert (await ask(pool)).body == b"all"


async def test_a_reused_connection_closed_over_tls_is_replaced(
    world: World, authority: trustme.CA, ca_file: str
) -> None:
    pool = await secured(
        world,
        authority.issue_cert("target.test"),
        ca_file,
        [hears(), answers(), hears(), closes],
        [hears(), answers("new")],
    )
    await ask(pool)
    assert (await ask(pool)).body == b"new"


async def test_a_response_given_up_over_tls_closes(world: World, authority: trustme.CA, ca_file: str) -> None:
    pool = await secured(world, authority.issue_cert("target.test"), ca_file, [hears(), hears_end])
    (await send(pool)).release()


async def test_a_bundle_may_have_comments_in_any_language(world: World, authority: trustme.CA, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes("# Prüfstelle Zürich\n".encode() + authority.cert_pem.bytes())
    pool = await secured(world, authority.issue_cert("target.test"), str(path), [hears(), answers()])
    assert (await ask(pool)).body == b"ok"


def rename(before: str, after: str) -> None:
    Path(before).rename(after)


async def test_a_bundle_that_was_away_for_a_moment_is_read_again(
    world: World, authority: trustme.CA, ca_file: str
) -> None:
    pool = await secured(world, authority.issue_cert("target.test"), ca_file, [hears(), answers()])
    rename(ca_file, f"{ca_file}.away")
    with pytest.raises(ConnectFailed):
        await ask(pool)
    rename(f"{ca_file}.away", ca_file)
    assert (await ask(pool)).body == b"ok"


@pytest.mark.parametrize("content", [None, "", "not a certificate", "\xff"])
async def test_a_bundle_that_cannot_be_used_is_refused_at_start(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "bundle.pem"
    if content is not None:
        path.write_text(content, "latin-1")
    with pytest.raises(ConfigError, match=r"bundle\.pem: not a readable PEM bundle"):
        Upstream(asyncio.get_running_loop(), ca_file=str(path))
