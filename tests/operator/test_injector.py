"""The injector's server: reviews of any size and shape over TLS, and what happens when something is wrong."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import orjson
import pytest
import trustme
from cryptography import x509
from tests.operator.injected_pods import app, pod
from tests.operator.injector_server import Api, api, applied, injector, issue, review_of, trusting

from llmroute_operator import injector as module
from llmroute_operator.inject import is_injected
from llmroute_operator.injector import Running

Seen = TypeVar("Seen")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def server(tmp_path: Path, authority: trustme.CA) -> AsyncIterator[Running]:
    issue(authority, tmp_path)
    async with injector(tmp_path) as running:
        yield running


@pytest.fixture
async def asked(server: Running, authority: trustme.CA) -> AsyncIterator[Api]:
    async with api(server, authority) as asking:
        yield asking


async def reviewed(asked: Api, given: Any, **request: Any) -> dict[str, Any]:
    status, answer = await asked.post(orjson.dumps(review_of(given, **request)))
    assert status == 200
    assert (answer["kind"], answer["apiVersion"]) == ("AdmissionReview", "admission.k8s.io/v1")
    response: dict[str, Any] = answer["response"]
    assert response["uid"] == "705ab4f5-6393-11e8-b7cc-42010a800002"
    assert response["allowed"] is True
    return response


class TestMalformed:
    @pytest.mark.parametrize(
        ("body", "error"),
        [
            (b"", "not JSON"),
            (b"{", "not JSON"),
            (b"\xff\xfe", "not JSON"),
            (b"[]", "expected kind AdmissionReview"),
            (b"{}", "expected kind AdmissionReview"),
            (b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1beta1"}', "of admission.k8s.io/v1"),
            (b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}', "a request with a uid"),
            (b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":1}}', "with a uid"),
        ],
    )
    async def test_what_is_no_review_is_told_so(self, asked: Api, body: bytes, error: str) -> None:
        status, answer = await asked.post(body)
        assert status == 400
        assert error in answer["error"]
        assert 'reviews_total{outcome="malformed"} 1.0' in (await asked.admin("/metrics"))[1]

    async def test_more_than_a_review_can_be(
        self, tmp_path: Path, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "MOST", 1000)
        issue(authority, tmp_path)
        async with injector(tmp_path) as server, api(server, authority) as asking:
            status, answer = await asking.post(orjson.dumps(review_of(pod(app(args=["x" * 1000])))))
        assert (status, answer["error"]) == (413, "a review of more than 1000 bytes")

    async def test_a_body_that_does_not_come_is_not_waited_for(
        self, server: Running, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "READ_TIMEOUT", 0.1)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=trusting(authority))
        writer.write(b"POST /mutate HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        assert (await reader.readline()).startswith(b"HTTP/1.1 408")
        writer.close()


class TestAllowedUnpatched:
    """Our mistakes are not the pod's."""

    @pytest.mark.parametrize("given", [None, [], "pod", {}, {"spec": None}, {"spec": {"containers": [1]}}])
    async def test_a_pod_that_we_do_not_understand(
        self, asked: Api, given: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        response = await reviewed(asked, given)
        assert "patch" not in response
        assert "no sidecar" in response["warnings"][0]
        (record,) = [one for one in caplog.records if one.levelname == "ERROR"]
        assert record.fields["error"].split()[0] in ("TypeError", "AttributeError", "KeyError")  # type: ignore[attr-defined]
        assert 'reviews_total{outcome="failed"} 1.0' in (await asked.admin("/metrics"))[1]

    @pytest.mark.parametrize(
        "request_",
        [
            {"operation": "UPDATE"},
            {"operation": "DELETE", "object": None},
            {"subResource": "ephemeralcontainers"},
            {"kind": {"group": "apps", "version": "v1", "kind": "Deployment"}},
            {"kind": None},
        ],
    )
    async def test_what_is_no_new_pod(self, asked: Api, request_: dict[str, Any]) -> None:
        response = await reviewed(asked, pod(), **request_)
        assert "patch" not in response
        assert "warnings" not in response

    async def test_a_refused_pod_is_told_why(self, asked: Api) -> None:
        response = await reviewed(asked, pod(hostNetwork=True))
        assert "patch" not in response
        assert response["warnings"] == ["llmroute: no sidecar: with hostNetwork its ports would be the node's"]


class TestPatched:
    async def test_a_new_pod(self, asked: Api) -> None:
        given = pod()
        assert is_injected(applied(given, await reviewed(asked, given)))
        assert 'reviews_total{outcome="injected"} 1.0' in (await asked.admin("/metrics"))[1]

    async def test_a_dry_run_is_answered_alike(self, asked: Api) -> None:
        assert await reviewed(asked, pod(), dryRun=True) == await reviewed(asked, pod())

    async def test_the_namespace_is_the_reviews(self, asked: Api) -> None:
        assert "patch" not in await reviewed(asked, pod(), namespace="kube-system")

    async def test_the_largest_pods_several_at_once(self, asked: Api) -> None:
        given = pod(app(env=[{"name": "BLOB", "value": "<" * 3_000_000}]))
        body = orjson.dumps(review_of(given)).replace(b"<", b"\\u003c")  # as the API server writes it
        assert len(body) > 18_000_000
        answers = await asyncio.gather(*(asked.post(body) for _ in range(3)))
        for status, answer in answers:
            assert status == 200
            assert is_injected(applied(given, answer["response"]))

    async def test_warnings_are_short_and_few(self, asked: Api) -> None:
        listed = ",".join(f"Bad{number:0200}" for number in range(50))
        response = await reviewed(asked, pod(annotations={"llmroute.dev/secrets": listed}))
        assert "patch" in response
        assert len(response["warnings"]) <= 12
        assert max(map(len, response["warnings"])) <= 250


async def test_no_value_of_an_environment_is_logged(asked: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    secret = {"name": "OPENAI_API_KEY", "value": "sk-canary"}
    await reviewed(asked, pod(app(env=[secret])))
    await reviewed(asked, pod(app(env=[secret, "sk-canary"])))  # fails inside
    await asked.post(b'{"sk-canary"')
    assert len(caplog.records) >= 3
    for record in caplog.records:
        assert "sk-canary" not in f"{record.getMessage()} {record.exc_info} {getattr(record, 'fields', '')}"


class TestCertificates:
    async def test_another_pair_is_used_without_dropping_a_connection(
        self, server: Running, tmp_path: Path, authority: trustme.CA
    ) -> None:
        before = await _serial(server, authority)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=trusting(authority))
        issue(authority, tmp_path)
        await until(lambda: _serial(server, authority), lambda serial: serial != before)
        body = orjson.dumps(review_of(pod()))
        writer.write(f"POST /mutate HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()

    async def test_the_metric_tells_when_it_expires(self, asked: Api) -> None:
        page = (await asked.admin("/metrics"))[1]
        (line,) = [one for one in page.splitlines() if one.startswith("llmroute_injector_certificate_expiry")]
        assert float(line.split()[1]) > 1.7e9

    async def test_one_that_has_ended_is_told_as_an_error_and_the_next_one_is_used(
        self, server: Running, asked: Api, tmp_path: Path, authority: trustme.CA, caplog: pytest.LogCaptureFixture
    ) -> None:
        issue(authority, tmp_path, ends=datetime.now(UTC) - timedelta(hours=1))
        with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
            await until(lambda: _serial(server, authority), lambda _: False)
        assert any(one.levelname == "ERROR" and "valid until" in one.getMessage() for one in caplog.records)
        assert (await asked.admin("/livez"))[0] == 200, "a new process would have the same certificate"
        leaf = x509.load_pem_x509_certificate(issue(authority, tmp_path).cert_chain_pems[0].bytes())
        await until(lambda: _current(server), lambda serial: serial == leaf.serial_number)
        assert await _serial(server, authority) == leaf.serial_number

    async def test_half_a_pair_changes_nothing(self, server: Running, tmp_path: Path, authority: trustme.CA) -> None:
        before = await _serial(server, authority)
        other = trustme.CA().issue_cert("127.0.0.1")
        (tmp_path / "tls.key").write_bytes(other.private_key_pem.bytes())
        await asyncio.sleep(0.3)
        assert await _serial(server, authority) == before

    async def test_without_a_certificate_it_lives_and_is_not_ready_until_there_is_one(
        self, tmp_path: Path, authority: trustme.CA
    ) -> None:
        async with injector(tmp_path / "tls") as server, api(server, authority) as asking:
            assert (await asking.admin("/livez"))[0] == 200
            assert await asking.admin("/readyz") == (503, "no certificate yet\n")
            with pytest.raises(OSError):  # a TLS alert, or a reset that overtakes it
                await _serial(server, authority)
            (tmp_path / "tls").mkdir()
            issue(authority, tmp_path / "tls")
            await until(lambda: asking.admin("/readyz"), lambda page: page[0] == 200)
            await reviewed(asking, pod())


class TestDrain:
    async def test_a_draining_server_answers_and_ends_the_connection(self, server: Running, asked: Api) -> None:
        assert (await asked.admin("/readyz"))[0] == 200
        server.drain()
        assert await asked.admin("/readyz") == (503, "draining\n")
        assert "patch" in await reviewed(asked, pod())

    async def test_a_review_in_progress_is_answered(self, tmp_path: Path, authority: trustme.CA) -> None:
        issue(authority, tmp_path)
        body = orjson.dumps(review_of(pod()))
        async with injector(tmp_path) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=trusting(authority))
            head = f"POST /mutate HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode()
            writer.write(head + body[:10])
            await writer.drain()
            await asyncio.sleep(0.05)
            asyncio.get_running_loop().call_later(0.1, writer.write, body[10:])
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200")
        assert b'"patch"' in answer
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port))


async def until(look: Callable[[], Awaitable[Seen]], enough: Callable[[Seen], bool]) -> None:
    async with asyncio.timeout(20):
        while not enough(await look()):  # noqa: ASYNC110 - what it waits for is behind a socket
            await asyncio.sleep(0.05)


async def _serial(server: Running, authority: trustme.CA) -> int:
    """Of the certificate that a new connection gets."""
    _, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=trusting(authority))
    connection = writer.get_extra_info("ssl_object")
    serial = int(connection.getpeercert()["serialNumber"], 16)
    writer.close()
    await writer.wait_closed()
    return serial


async def _current(server: Running) -> int:
    """The same, whether or not it is valid."""
    pem = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", server.port))
    return x509.load_pem_x509_certificate(pem.encode()).serial_number
