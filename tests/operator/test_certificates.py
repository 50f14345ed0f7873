"""The injector's certificate: made, used by a real TLS client, renewed in time, kept in a real API server."""

import base64
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from llmroute_operator import certificates
from llmroute_operator.certificates import LIFETIME, RENEW_BEFORE, hosts, keep, make, usable
from llmroute_operator.cluster import Cluster, Object
from llmroute_operator.settings import Settings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = ("llmroute-injector.llmroute", "llmroute-injector.llmroute.svc", "llmroute-injector.llmroute.svc.cluster.local")


def test_the_names_are_those_that_the_api_server_calls() -> None:
    assert hosts(Settings(own_namespace="llmroute")) == NAMES


def test_a_fresh_pair_is_usable_until_it_is_time_to_renew() -> None:
    pair = make(NAMES, NOW)
    assert usable(pair, NAMES, NOW)
    assert usable(pair, NAMES, NOW + LIFETIME - RENEW_BEFORE - timedelta(hours=1))
    assert not usable(pair, NAMES, NOW + LIFETIME - RENEW_BEFORE)


def test_clocks_that_are_behind_a_little_are_no_trouble() -> None:
    assert usable(make(NAMES, NOW), NAMES, NOW - timedelta(minutes=30))


def test_a_pair_for_other_names_or_of_mixed_parts_is_not_usable() -> None:
    one, other = make(NAMES, NOW), make(NAMES, NOW)
    assert not usable(one, (*NAMES, "new.name"), NOW)
    assert not usable(certificates.Pair(other.authorities, one.certificate, one.key), NAMES, NOW)
    assert not usable(certificates.Pair(one.authorities, one.certificate, other.key), NAMES, NOW)
    assert not usable(certificates.Pair(b"", b"garbage", b""), NAMES, NOW)


def test_after_a_renewal_the_authority_before_is_still_trusted_and_the_one_before_that_is_not() -> None:
    first = make(NAMES, NOW)
    second = make(NAMES, NOW, first.authorities)
    third = make(NAMES, NOW, second.authorities)
    trusted = [len(x509.load_pem_x509_certificates(pair.authorities)) for pair in (first, second, third)]
    assert trusted == [1, 2, 2]
    assert first.authorities in second.authorities and first.authorities not in third.authorities


def test_a_key_is_in_no_repr() -> None:
    assert repr(make(NAMES, NOW)) == "Pair()"


def test_python_and_the_api_server_would_trust_it(tmp_path: Path) -> None:
    pair = make(NAMES, datetime.now(UTC))
    (tmp_path / "tls.crt").write_bytes(pair.certificate)
    (tmp_path / "tls.key").write_bytes(pair.key)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    client = ssl.create_default_context(cadata=pair.authorities.decode())
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    shake_hands(client, server, NAMES[1])
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(client, server, "other.llmroute.svc")


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, host: str) -> None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server, server_hostname=host)
    other = server.wrap_bio(to_server, to_client, server_side=True)
    finished = False
    for _ in range(10):
        for side in (one, other):
            try:
                side.do_handshake()
                finished = side is one or finished
            except ssl.SSLWantReadError:
                continue
    assert finished


WEBHOOK = "llmroute-injector-test"


async def configuration(cluster: Cluster) -> Object:
    """A MutatingWebhookConfiguration with two webhooks, as the chart installs it."""
    kind = "mutatingwebhookconfigurations"
    await cluster.delete(kind, None, WEBHOOK)
    webhooks: list[dict[str, Any]] = [
        {
            "name": f"{name}.llmroute.dev",
            "clientConfig": {"service": {"name": "llmroute-injector", "namespace": "llmroute", "path": "/mutate"}},
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "failurePolicy": "Ignore",
            "namespaceSelector": {"matchLabels": {"no": "namespace"}},
        }
        for name in ("pods", "namespaces")
    ]
    return await cluster.create(kind, None, {"metadata": {"name": WEBHOOK}, "webhooks": webhooks})


async def bundles(cluster: Cluster) -> set[bytes]:
    found = await cluster.read("mutatingwebhookconfigurations", None, WEBHOOK)
    assert found is not None
    return {base64.b64decode(one["clientConfig"].get("caBundle", "")) for one in found["webhooks"]}


async def secret(cluster: Cluster, namespace: str) -> dict[str, bytes]:
    found = await cluster.read("secrets", namespace, "llmroute-injector-tls")
    assert found is not None
    return {key: base64.b64decode(value) for key, value in found["data"].items()}


async def test_secret_and_bundle_are_made_kept_and_repaired(cluster: Cluster, namespace: str) -> None:
    settings = Settings(own_namespace=namespace, webhook_name=WEBHOOK)
    await configuration(cluster)
    now = datetime.now(UTC)
    ends = await keep(cluster, settings, now)
    first = await secret(cluster, namespace)
    assert await bundles(cluster) == {first["ca.crt"]} and abs(ends - now - LIFETIME) < timedelta(minutes=1)
    await keep(cluster, settings, now)
    assert await secret(cluster, namespace) == first, "what is fine is left alone"

    await configuration(cluster)
    await keep(cluster, settings, now)
    assert await bundles(cluster) == {first["ca.crt"]}, "an upgrade that took the bundle away is mended"

    await cluster.patch("secrets", namespace, "llmroute-injector-tls", {"data": {"tls.key": ""}})
    await keep(cluster, settings, now)
    assert (await secret(cluster, namespace))["tls.key"] != first["tls.key"]


async def test_a_certificate_that_ends_soon_is_renewed_and_both_authorities_are_trusted(
    cluster: Cluster, namespace: str
) -> None:
    settings = Settings(own_namespace=namespace, webhook_name=WEBHOOK)
    await configuration(cluster)
    now = datetime.now(UTC)
    await keep(cluster, settings, now)
    before = await secret(cluster, namespace)
    await keep(cluster, settings, now + LIFETIME - timedelta(days=30))
    after = await secret(cluster, namespace)
    assert after["tls.crt"] != before["tls.crt"] and before["ca.crt"] in after["ca.crt"]
    assert await bundles(cluster) == {after["ca.crt"]}


async def test_after_its_secret_is_lost_what_the_injectors_still_serve_is_trusted(
    cluster: Cluster, namespace: str
) -> None:
    """Kubelet takes a minute or two to bring them the new one."""
    settings = Settings(own_namespace=namespace, webhook_name=WEBHOOK)
    await configuration(cluster)
    now = datetime.now(UTC)
    await keep(cluster, settings, now)
    before = await secret(cluster, namespace)
    await cluster.delete("secrets", namespace, "llmroute-injector-tls")
    await keep(cluster, settings, now)
    after = await secret(cluster, namespace)
    assert after["tls.crt"] != before["tls.crt"] and before["ca.crt"] in after["ca.crt"]
    assert await bundles(cluster) == {after["ca.crt"]}


async def test_one_that_has_ended_is_replaced_and_its_authority_is_trusted_no_more(
    cluster: Cluster, namespace: str
) -> None:
    """Nobody led for a year, or somebody's clock was far ahead."""
    settings = Settings(own_namespace=namespace, webhook_name=WEBHOOK)
    await configuration(cluster)
    now = datetime.now(UTC)
    await keep(cluster, settings, now - LIFETIME - timedelta(days=1))
    before = await secret(cluster, namespace)
    await keep(cluster, settings, now)
    after = await secret(cluster, namespace)
    assert before["ca.crt"] not in after["ca.crt"] and await bundles(cluster) == {after["ca.crt"]}
    await keep(cluster, settings, now + timedelta(days=300))
    ahead = await secret(cluster, namespace)
    await keep(cluster, settings, now)
    behind = await secret(cluster, namespace)
    assert behind["tls.crt"] != ahead["tls.crt"], "what is not valid yet is of no use either"


async def test_without_a_webhook_configuration_the_secret_is_kept_all_the_same(
    cluster: Cluster, namespace: str
) -> None:
    await keep(cluster, Settings(own_namespace=namespace, webhook_name="nothing"), datetime.now(UTC))
    assert set(await secret(cluster, namespace)) == {"ca.crt", "tls.crt", "tls.key"}
