"""Keys and requests nobody should certify: each has its reason, none is a fault of the gateway's.

One table for SSH keys and one for TLS requests, sent as a person with a right to a certificate
sends them. What the parsers make of every other text is in ``tests/ca`` and ``tests/fuzz``.
"""

import json
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ca.formats.ssh_keys import SK_ED25519
from ca.formats.wire import mpint, string
from idp_gateway.composition import Gateway
from tests.idp_gateway.api.conftest import ClientTokenMaker, Person
from tests.support.documentation import ROOT
from tests.support.security_keys import SecurityKey
from tests.support.subjects import csr, ec_key, public_line

RSA = rsa.generate_private_key(65537, 2048)
MODULUS = RSA.public_key().public_numbers().n
GOOD = public_line(ec_key())
ED25519 = public_line(ed25519.Ed25519PrivateKey.generate())
KEY_TYPE, ENCODED = GOOD.split(" ")
BLOB = b64decode(ENCODED)
POINT = BLOB[-64:]
CSR = csr(ec_key())
ALLOWED = "cloud_authentication_email_allowed_addressses"

Ask = Callable[..., httpx.Response]


def line(key_type: str, *fields: bytes) -> str:
    body = b"".join(string(one) for one in (key_type.encode(), *fields))
    return f"{key_type} {b64encode(body).decode()}"


def rsa_line(modulus: int, exponent: int = 65537) -> str:
    blob = string(b"ssh-rsa") + mpint(exponent) + mpint(modulus)
    return f"ssh-rsa {b64encode(blob).decode()}"


def pem(der: bytes, label: str = "CERTIFICATE REQUEST") -> str:
    body = b64encode(der).decode()
    lines = "\n".join(body[start : start + 64] for start in range(0, len(body), 64))
    return f"-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n"


def der_of(text: bytes) -> bytes:
    return b64decode(b"".join(text.split(b"\n")[1:-2]))


def request(key: Any, *, digest: Any = None, **extensions: Any) -> bytes:
    """A request with whatever extensions its sender likes."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "alice@lab.test")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    for extension in extensions.values():
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(key, digest).public_bytes(serialization.Encoding.PEM)


def wishing(oid: str, value: bytes) -> bytes:
    """A request with one extension of these very bytes."""
    extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)
    return request(ec_key(), digest=hashes.SHA256(), wish=extension)


def request_for_another_key() -> bytes:
    """The signature is a good one, of another key."""
    mine, theirs = ec_key(), ec_key()
    whole = der_of(csr(mine))
    spki = [
        key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        for key in (mine, theirs)
    ]
    assert whole.count(spki[0]) == 1
    return pem(whole.replace(spki[0], spki[1])).encode()


@pytest.fixture
def ask(api: httpx.Client, tls_socket: dict[str, Any], client_token: ClientTokenMaker) -> Ask:
    """Asks for a certificate with a body of one's own."""
    name = tls_socket["dnsname"]
    headers = {"x-access-token": client_token(name), "content-type": "application/json"}

    def post(kind: str, body: Any, prefix: str = "") -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body)
        path = f"{prefix}/mtls-ca/socket/{name}/{kind}"
        return api.post(path, content=content, headers=headers)

    return post


def refused(reply: httpx.Response, reason: str, status: int = 400) -> None:
    assert reply.headers["content-type"] == "application/problem+json"
    assert (reply.status_code, reply.json()["reason"]) == (status, reason), reply.text
    assert reply.json()["type"] == f"urn:mysocket:problem:{reason}"
    assert len(reply.content) < 1_000


SSH_KEYS = {
    "empty": ("", "key-malformed"),
    "blank": ("   \t ", "key-malformed"),
    "too long": ("x" * 16_385, "key-too-large"),
    "a comment that is too long": (f"{GOOD} {'c' * 16_384}", "key-too-large"),
    "too many bytes of few characters": (f"{GOOD} {'€' * 6_000}", "key-too-large"),
    "no base64": ("ssh-ed25519 !!!!", "key-malformed"),
    "only a type": ("ssh-ed25519", "key-malformed"),
    "cut off within base64": (GOOD[:-3], "key-malformed"),
    "cut off within the blob": (
        f"{KEY_TYPE} {b64encode(BLOB[:-1]).decode()}",
        "key-malformed",
    ),
    "bytes after the key": (f"{KEY_TYPE} {b64encode(BLOB + b'x').decode()}", "key-malformed"),
    "a length of four gigabytes": (
        f"ssh-ed25519 {b64encode(bytes([255]) * 8).decode()}",
        "key-malformed",
    ),
    "padding to spare": (f"{GOOD}====", "key-malformed"),
    "two types": (f"ssh-rsa {ENCODED}", "key-malformed"),
    "two keys": (f"{GOOD}\n{ED25519}", "key-malformed"),
    "a line break": (f"{KEY_TYPE}\n{ENCODED}", "key-malformed"),
    "NUL": (f"{GOOD}\0", "key-malformed"),
    "an escape sequence": (f"{GOOD} \x1b[2J", "key-malformed"),
    "a direction override": (f"{GOOD} \u202eevil", "key-malformed"),
    "options": (f'from="10.0.0.0/8" {GOOD}', "key-malformed"),
    "cert-authority": (f"cert-authority {GOOD}", "key-type-unsupported"),
    "a private key": (
        "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----",
        "key-malformed",
    ),
    "PEM": (
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        "key-malformed",
    ),
    "SSH2": ("---- BEGIN SSH2 PUBLIC KEY ----\nAAAA", "key-malformed"),
    "a certificate's type": (line("ssh-ed25519-cert-v01@openssh.com", b"n"), "key-is-certificate"),
    "a certificate as a plain key": (
        "ssh-ed25519 " + line("ssh-ed25519-cert-v01@openssh.com", b"n").split()[1],
        "key-is-certificate",
    ),
    "DSA": (line("ssh-dss", b"p", b"q", b"g", b"y"), "key-type-unsupported"),
    "Ed448": (line("ssh-ed448", bytes(57)), "key-type-unsupported"),
    "an invented type": (line("x", b"y"), "key-type-unsupported"),
    "RSA 1024": (public_line(rsa.generate_private_key(65537, 1024)), "key-weak"),
    "RSA 9001": (rsa_line((1 << 9000) + 1), "key-weak"),
    "RSA with exponent 3": (rsa_line(MODULUS, 3), "key-weak"),
    "RSA with an even modulus": (rsa_line(MODULUS - 1), "key-weak"),
    "RSA with a small factor": (rsa_line(MODULUS // 1009 * 3 | 1), "key-weak"),
    "RSA with a negative modulus": (
        line("ssh-rsa", b"\x01\x00\x01", b"\xff" * 256),
        "key-malformed",
    ),
    "RSA without a modulus": (line("ssh-rsa", b"\x01\x00\x01", b""), "key-malformed"),
    "RSA with needless zeros": (
        line("ssh-rsa", b"\x01\x00\x01", b"\0\0" + MODULUS.to_bytes(256)),
        "key-malformed",
    ),
    "Ed25519 of small order": (line("ssh-ed25519", bytes(32)), "key-weak"),
    "Ed25519 too short": (line("ssh-ed25519", bytes(31)), "key-malformed"),
    "a point off the curve": (
        line("ecdsa-sha2-nistp256", b"nistp256", b"\x04" + b"\x01" * 64),
        "key-malformed",
    ),
    "the point at infinity": (line("ecdsa-sha2-nistp256", b"nistp256", b"\0"), "key-malformed"),
    "a compressed point": (
        line("ecdsa-sha2-nistp256", b"nistp256", b"\x02" + POINT[:32]),
        "key-malformed",
    ),
    "a point of another curve": (
        line("ecdsa-sha2-nistp384", b"nistp256", b"\x04" + POINT),
        "key-malformed",
    ),
    "a security key made for the web": (
        SecurityKey(SK_ED25519, "https://evil.test").line,
        "key-malformed",
    ),
    "a security key without application": (line(SK_ED25519, b"\x07" * 32), "key-malformed"),
}


@pytest.mark.parametrize("what", SSH_KEYS)
def test_an_ssh_key_is_refused_for_a_reason(
    what: str, ask: Ask, gateway: Gateway, tls_socket: dict[str, Any]
) -> None:
    text, reason = SSH_KEYS[what]
    refused(ask("ssh", {"ssh_public_key": text}), reason)
    assert gateway.store.certificates_of(tls_socket["socket_id"]) == ()


def test_our_own_certificate_is_no_key(ask: Ask) -> None:
    issued = ask("ssh", {"ssh_public_key": GOOD}).json()["signed_ssh_cert"]
    refused(ask("ssh", {"ssh_public_key": issued}), "key-is-certificate")


def test_every_cut_of_a_key_is_refused(ask: Ask) -> None:
    for length in range(0, len(ED25519), 7):
        reply = ask("ssh", {"ssh_public_key": ED25519[:length]})
        assert reply.status_code == 400
        assert reply.json()["reason"] in {"key-malformed", "key-type-unsupported"}


TLS_REQUESTS = {
    "empty": (b"", "csr-malformed"),
    "too long": (b"x" * 16_385, "csr-too-large"),
    "no PEM": (b"hello", "csr-malformed"),
    "an SSH key": (GOOD.encode(), "csr-malformed"),
    "two requests": (CSR + CSR, "csr-malformed"),
    "text in front": (b"From: me\n" + CSR, "csr-malformed"),
    "no DER": (pem(b"\x30\x82\xff\xff\x00").encode(), "csr-malformed"),
    "an endless length": (pem(b"\x30\x84\xff\xff\xff\xff" + bytes(50)).encode(), "csr-malformed"),
    "nested without end": (pem(b"\x30\x80" * 3_000).encode(), "csr-malformed"),
    "cut off": (pem(der_of(CSR)[:-1]).encode(), "csr-malformed"),
    "bytes after it": (pem(der_of(CSR) + b"x").encode(), "csr-malformed"),
    "a label of another kind": (pem(der_of(CSR), "CERTIFICATE").encode(), "csr-malformed"),
    "a private key": (pem(b"\x30\x00", "PRIVATE KEY").encode(), "csr-malformed"),
    "signed by another key": (request_for_another_key(), "csr-signature-invalid"),
    "a signature with a bit turned": (
        pem(der_of(CSR)[:-1] + bytes([der_of(CSR)[-1] ^ 1])).encode(),
        "csr-signature-invalid",
    ),
    "names nobody can read": (wishing("2.5.29.17", b"\xff\xff"), "csr-malformed"),
    "a name of a kind no library knows": (
        wishing("2.5.29.17", bytes.fromhex("3002a300")),
        "csr-names-other",
    ),
    "another person": (csr(ec_key(), asked="root@evil.test"), "csr-names-other"),
    "RSA 1024": (csr(rsa.generate_private_key(65537, 1024)), "key-weak"),
    "P-521": (
        request(ec.generate_private_key(ec.SECP521R1()), digest=hashes.SHA512()),
        "key-type-unsupported",
    ),
    "secp256k1": (
        request(ec.generate_private_key(ec.SECP256K1()), digest=hashes.SHA256()),
        "key-type-unsupported",
    ),
    "DSA": (
        request(dsa.generate_private_key(2048), digest=hashes.SHA256()),
        "key-type-unsupported",
    ),
    "Ed25519": (request(ed25519.Ed25519PrivateKey.generate()), "key-type-unsupported"),
    "Ed448": (request(ed448.Ed448PrivateKey.generate()), "key-type-unsupported"),
}


@pytest.mark.parametrize("what", TLS_REQUESTS)
def test_a_tls_request_is_refused_for_a_reason(
    what: str, ask: Ask, gateway: Gateway, tls_socket: dict[str, Any]
) -> None:
    text, reason = TLS_REQUESTS[what]
    refused(ask("csr", {"csr": text.decode()}), reason)
    assert gateway.store.certificates_of(tls_socket["socket_id"]) == ()


def test_every_reason_is_in_the_documentation() -> None:
    page = (ROOT / "docs" / "ssh-keys.md").read_text("utf-8")
    reasons = {reason for table in (SSH_KEYS, TLS_REQUESTS) for _, reason in table.values()}
    assert {reason for reason in reasons if f"`{reason}`" not in page} == set()


def test_a_certificate_is_no_request(ask: Ask) -> None:
    issued = ask("csr", {"csr": CSR.decode()}).json()["client_certificate"]
    refused(ask("csr", {"csr": issued}), "csr-malformed")


@pytest.mark.parametrize(
    ("oid", "value"),
    [
        ("1.3.6.1.5.5.7.1.24", "3003020163"),  # a TLS feature without a name
        ("2.5.29.30", "3008a0063004a3023000"),  # constraints on X.400 addresses
        ("2.5.29.18", "3002a500"),  # an EDI party name of the issuer
    ],
)
def test_what_a_request_wishes_beside_names_is_not_even_read(
    oid: str, value: str, ask: Ask
) -> None:
    reply = ask("csr", {"csr": wishing(oid, bytes.fromhex(value)).decode()})
    assert reply.status_code == 200, reply.text


@pytest.mark.parametrize("digest", ["sha1", "md5", "sha224"])
def test_a_request_signed_over_a_weak_hash_is_refused(
    digest: str, ask: Ask, tmp_path: Path
) -> None:
    key = tmp_path / "key.pem"
    command = ["openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", f"-{digest}"]
    command += ["-subj", "/CN=x", "-keyout", str(key)]
    made = subprocess.run(command, capture_output=True, check=True).stdout
    refused(ask("csr", {"csr": made.decode()}), "csr-signature-invalid")


def test_whatever_rights_a_request_asks_for_only_its_key_counts(
    ask: Ask, tls_socket: dict[str, Any]
) -> None:
    """A CA's rights and other uses: the certificate says what the login says."""
    key = ec_key()
    wished = request(
        key,
        digest=hashes.SHA256(),
        names=x509.SubjectAlternativeName([x509.RFC822Name("alice@lab.test")]),
        rights=x509.BasicConstraints(ca=True, path_length=None),
        uses=x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
    )
    reply = ask("csr", {"csr": wished.decode()})
    assert reply.status_code == 200, reply.text
    leaf = x509.load_pem_x509_certificates(reply.json()["client_certificate"].encode())[0]
    assert leaf.public_key() == key.public_key()
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert sorted(str(name.value) for name in names) == [
        "alice@lab.test",
        f"urn:mysocket:socket:{tls_socket['socket_id']}:1",
    ]
    uses = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(uses) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
@pytest.mark.parametrize("kind", ["ssh", "csr"])
@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"", 400, "input-invalid"),
        (b"{", 400, "json-invalid"),
        (b"\xff\xfe", 400, "json-invalid"),
        (b"[" * 30_000, 400, "bad-request"),
        (b"[]", 400, "input-invalid"),
        (b"{}", 400, "input-invalid"),
        (b"null", 400, "input-invalid"),
        (b'{"csr": null, "ssh_public_key": null}', 400, "input-invalid"),
        (b'{"csr": 17, "ssh_public_key": 17}', 400, "input-invalid"),
        (b'{"csr": ["x"], "ssh_public_key": {"x": 1}}', 400, "input-invalid"),
        (b'{"csr": "' + b"x" * 70_000 + b'"}', 413, "body-too-large"),
    ],
)
def test_a_body_is_refused_for_a_reason(
    prefix: str, kind: str, body: bytes, status: int, reason: str, ask: Ask
) -> None:
    refused(ask(kind, body, prefix), reason, status)


def test_a_character_that_is_none(ask: Ask) -> None:
    """JSON can name half of a pair."""
    for kind, field, reason in (("ssh", "ssh_public_key", "key"), ("csr", "csr", "csr")):
        refused(ask(kind, {field: "\ud800"}), f"{reason}-malformed")


@pytest.mark.parametrize(
    ("email", "reason"),
    [
        ("*@lab.test", "email-not-certifiable"),
        ("a*b@lab.test", "email-not-certifiable"),
        ("who?@lab.test", "email-not-certifiable"),
        ("a'b/c{d}|e=f&g%h$i#j!k^l`m~n_o+p-q@lab.test", None),
        (f"{'a' * 64}@{'b' * 63}.{'c' * 63}.{'d' * 56}.test", None),
    ],
)
def test_a_principal_is_never_a_pattern_or_a_list(
    email: str,
    reason: str | None,
    owner: Person,
    api: httpx.Client,
    client_token: ClientTokenMaker,
) -> None:
    """Addresses may hold what sshd reads as a pattern; none holds a comma or a blank unquoted."""
    socket = owner.socket(
        socket_type="tls", cloud_authentication_enabled=True, **{ALLOWED: [email]}
    )
    reply = api.post(
        f"/mtls-ca/socket/{socket['dnsname']}/ssh",
        json={"ssh_public_key": GOOD},
        headers={"x-access-token": client_token(socket["dnsname"], email=email)},
    )
    if reason is None:
        assert reply.status_code == 200, reply.text
    else:
        refused(reply, reason, 403)


@pytest.mark.parametrize(
    "email", ["a,b@lab.test", '"a,b"@lab.test', "a b@lab.test", "a\n@lab.test"]
)
def test_an_address_with_a_separator_is_nobody(email: str, owner: Person) -> None:
    body = {"name": "s", "socket_type": "tls", "cloud_authentication_enabled": True}
    reply = owner.call("POST", "/socket", json=body | {ALLOWED: [email]})
    refused(reply, "email-invalid")
