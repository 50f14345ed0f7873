"""The injector's certificate: an authority of our own and a leaf for the injector's Service, renewed in time.

Belongs here: making them (pure: `now` is an argument), and keeping the Secret and the webhook's caBundle up to date
(the leader only). The authority's key is thrown away once it has signed: a new leaf gets a new authority, and caBundle
holds the one before as well, so that injectors which still serve the old leaf go on being trusted.
"""

import base64
from datetime import UTC, datetime, timedelta

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from llmroute_operator import names
from llmroute_operator.cluster import Cluster, Object
from llmroute_operator.errors import Conflict
from llmroute_operator.settings import Settings

LIFETIME = timedelta(days=365)
RENEW_BEFORE = timedelta(days=120)
BACKDATED = timedelta(hours=1)
"""Certificates begin in the past, for clocks that are behind."""
RETRIED_CONFLICTS = 5


class Pair(msgspec.Struct, frozen=True):
    """PEM. `authorities` may hold the previous one too. No repr: the key is secret."""

    authorities: bytes
    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return "Pair()"


def hosts(settings: Settings) -> tuple[str, ...]:
    """Names by which the API server may call the injector; it uses the second."""
    service = f"{settings.injector_service}.{settings.own_namespace}"
    return service, f"{service}.svc", f"{service}.svc.{settings.cluster_domain}"


def make(hosts: tuple[str, ...], now: datetime, previous: bytes = b"") -> Pair:
    """A new authority, a leaf of it for `hosts`; `previous` are authorities that stay trusted while they are valid."""
    authority_key = ec.generate_private_key(ec.SECP256R1())
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "llmroute-injector-ca")])
    authority = (
        _begin(name, name, authority_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    leaf = (
        _begin(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])]), name, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    return Pair(
        authorities=authority.public_bytes(pem) + _newest(previous, now),
        certificate=leaf.public_bytes(pem),
        key=key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def usable(pair: Pair, hosts: tuple[str, ...], now: datetime) -> bool:
    """Whether the leaf is for all `hosts`, belongs to its key and authority, and need not be renewed yet."""
    try:
        leaf = x509.load_pem_x509_certificate(pair.certificate)
        authority = x509.load_pem_x509_certificates(pair.authorities)[0]
        key = serialization.load_pem_private_key(pair.key, None)
        leaf.verify_directly_issued_by(authority)
        named = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except Exception:  # Whatever is wrong with it, the answer is the same: make a new one.
        return False
    return (
        key.public_key() == leaf.public_key()
        and set(hosts) <= set(named.get_values_for_type(x509.DNSName))
        and leaf.not_valid_before_utc <= now < leaf.not_valid_after_utc - RENEW_BEFORE
    )


def expires(certificate: bytes) -> datetime:
    """When a PEM certificate ends."""
    return x509.load_pem_x509_certificate(certificate).not_valid_after_utc


def _begin(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + LIFETIME)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _newest(authorities: bytes, now: datetime) -> bytes:
    """The first of the former authorities if it is still valid; the ones before it have served their time."""
    try:
        former = x509.load_pem_x509_certificates(authorities)[0]
    except (ValueError, IndexError):
        return b""
    return former.public_bytes(serialization.Encoding.PEM) if now < former.not_valid_after_utc else b""


def _secret(settings: Settings, pair: Pair, found: Object | None) -> Object:
    labels = {names.MANAGED_BY: names.MANAGED_BY_VALUE}
    metadata: Object = found["metadata"] if found else {"name": settings.certificate_secret}
    content = {"ca.crt": pair.authorities, "tls.crt": pair.certificate, "tls.key": pair.key}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": (found or {}).get("type", "kubernetes.io/tls"),
        "metadata": {**metadata, "labels": {**metadata.get("labels", {}), **labels}},
        "data": {key: base64.b64encode(value).decode() for key, value in content.items()},
    }


def _pair(secret: Object) -> Pair:
    held = secret.get("data") or {}
    return Pair(*(base64.b64decode(held.get(key, "")) for key in ("ca.crt", "tls.crt", "tls.key")))


async def keep(cluster: Cluster, settings: Settings, now: datetime) -> datetime:
    """Make, renew or repair the Secret and the caBundle. Returns when the certificate ends."""
    for _ in range(RETRIED_CONFLICTS):
        try:
            webhooks = await cluster.read("mutatingwebhookconfigurations", None, settings.webhook_name)
            pair = await _keep_secret(cluster, settings, now, _trusted(webhooks))
            await _keep_bundle(cluster, settings, webhooks, pair)
        except Conflict:
            continue
        return expires(pair.certificate)
    raise Conflict("the injector's certificate is being changed by somebody else all the time")


def _trusted(webhooks: Object | None) -> bytes:
    """The authorities that the API server trusts now."""
    bundles = (one["clientConfig"].get("caBundle") for one in (webhooks or {}).get("webhooks") or ())
    return next((base64.b64decode(bundle) for bundle in bundles if bundle), b"")


async def _keep_secret(cluster: Cluster, settings: Settings, now: datetime, trusted: bytes) -> Pair:
    """`trusted`: where the Secret is lost, the injectors still serve a leaf of these."""
    found = await cluster.read("secrets", settings.own_namespace, settings.certificate_secret)
    old = _pair(found) if found else None
    if old is not None and usable(old, hosts(settings), now):
        return old
    pair = make(hosts(settings), now, (old.authorities if old else b"") or trusted)
    manifest = _secret(settings, pair, found)
    if found:
        await cluster.replace("secrets", settings.own_namespace, manifest)
    else:
        await cluster.create("secrets", settings.own_namespace, manifest)
    return pair


async def _keep_bundle(cluster: Cluster, settings: Settings, found: Object | None, pair: Pair) -> None:
    """Set caBundle of every webhook of the configuration; nothing if there is no such configuration."""
    bundle = base64.b64encode(pair.authorities).decode()
    webhooks = (found or {}).get("webhooks") or []
    changes: list[Object] = [
        {"op": "add", "path": f"/webhooks/{index}/clientConfig/caBundle", "value": bundle}
        for index, webhook in enumerate(webhooks)
        if webhook["clientConfig"].get("caBundle") != bundle
    ]
    if found and changes:
        # The indexes are of the version that was read: any other is a conflict.
        version = {"op": "replace", "path": "/metadata/resourceVersion", "value": found["metadata"]["resourceVersion"]}
        await cluster.patch(
            "mutatingwebhookconfigurations", None, settings.webhook_name, [version, *changes], how="json"
        )


def now() -> datetime:
    """Wall time: certificates are judged by calendars."""
    return datetime.now(UTC)
