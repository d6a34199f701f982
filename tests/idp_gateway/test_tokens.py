"""Tokens: bound to one purpose, one audience, one time; every known forgery is refused."""

import base64
import contextlib
import hmac
import json
from datetime import timedelta
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from joserfc import jws
from joserfc.jwk import ECKey, KeySet

from idp_gateway.composition import Gateway, build_gateway
from idp_gateway.errors import TokenInvalid
from idp_gateway.tokens import MAX_TOKEN_CHARACTERS, Purpose, Tokens, subject_of
from tests.idp_gateway.conftest import FixedClock
from tests.support.grants import grant

HOST = "calm-otter-1.edge.test"


def api_token(gateway: Gateway, **life: float) -> str:
    return gateway.tokens.api_token(
        account_id="acc-1",
        email="ann@corp.test",
        session_id="sid",
        expires_at=gateway.clock() + timedelta(**(life or {"hours": 24})),
    )


def unverified(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    header, payload, _ = token.split(".")
    header, payload = (
        json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        for part in (header, payload)
    )
    return header, payload


def key_of(tokens: Tokens, purpose: Purpose) -> ECKey:
    return tokens._keys[purpose]


def signing_input(header: dict[str, Any], claims: object) -> bytes:
    return b".".join(encoded(json.dumps(part).encode()) for part in (header, claims))


def encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def signed(header: dict[str, Any], claims: object, key: ECKey) -> str:
    """ES256 over whatever it is given (RFC 7518 §3.4), however odd."""
    text = signing_input(header, claims)
    r, s = decode_dss_signature(key.private_key.sign(text, ec.ECDSA(hashes.SHA256())))
    return b".".join([text, encoded(r.to_bytes(32) + s.to_bytes(32))]).decode()


def hmac_signed(header: dict[str, Any], claims: object, key: ECKey) -> str:
    """The public key taken for a shared secret (RFC 8725 §2.1)."""
    text = signing_input(header, claims)
    digest = hmac.digest(key.as_pem(private=False), text, "sha256")
    return b".".join([text, encoded(digest)]).decode()


def test_an_api_token_says_what_it_was_told(gateway: Gateway) -> None:
    claims = gateway.tokens.verify_api_token(api_token(gateway))
    assert (claims.account_id, claims.email, claims.session_id) == ("acc-1", "ann@corp.test", "sid")
    assert claims.expires_at == gateway.clock() + timedelta(hours=12)
    header, payload = unverified(api_token(gateway))
    assert (header["alg"], header["typ"]) == ("ES256", "api+jwt")
    assert payload["user_id"] == "acc-1"
    assert isinstance(payload["exp"], int)


def test_a_token_ends_with_its_login_session(gateway: Gateway, clock: FixedClock) -> None:
    token = api_token(gateway, minutes=10)
    clock.advance(minutes=9, seconds=59)
    gateway.tokens.verify_api_token(token)
    clock.advance(seconds=1)
    with pytest.raises(TokenInvalid) as caught:
        gateway.tokens.verify_api_token(token)
    assert caught.value.reason == "token-expired"


def test_a_client_token_is_for_one_socket(gateway: Gateway) -> None:
    token = gateway.tokens.client_token(
        subject="sub",
        email="ann@corp.test",
        dns_name=HOST,
        port=8443,
        session_id="sid",
        expires_at=gateway.clock() + timedelta(days=1),
    )
    claims = gateway.tokens.verify_client_token(token, dns_name=HOST)
    assert (claims.identity_subject, claims.port) == ("sub", 8443)
    assert claims.expires_at == gateway.clock() + timedelta(hours=8)
    with pytest.raises(TokenInvalid):
        gateway.tokens.verify_client_token(token, dns_name="other.edge.test")


def test_a_session_carries_the_grant_and_an_assertion_of_its_own_key(gateway: Gateway) -> None:
    tokens = gateway.tokens
    token = tokens.session_token(grant(), socket_session_id="ssid")
    header, payload = unverified(token)
    assert header["typ"] == "session+jwt"
    assert payload["aud"] == HOST
    assert payload["iss"] == gateway.settings.base_url
    assert payload["epoch"] == 3
    assert payload["exp"] == int(grant().not_after.timestamp())
    claims = tokens.verify_session(token, dns_name=HOST)
    assert (claims.email, claims.name, claims.socket_session_id) == (
        "ann@corp.test",
        "Ann Ünïcode",
        "ssid",
    )
    published = KeySet.import_key_set(tokens.public_keys(Purpose.ASSERTION))
    assertion = jws.deserialize_compact(claims.assertion, published, algorithms=["ES256"])
    said = json.loads(assertion.payload)
    assert (said["aud"], said["email"], said["sub"]) == (HOST, "ann@corp.test", subject_of(grant()))
    with pytest.raises(TokenInvalid):
        tokens.verify_session(token, dns_name="other.edge.test")
    with pytest.raises(TokenInvalid):
        tokens.verify_session(claims.assertion, dns_name=HOST)


@pytest.mark.parametrize(
    ("source_ip", "claim"),
    [
        ("192.0.2.1", "192.0.2.1:"),
        ("2001:db8::1", "[2001:db8::1]:"),
        ("2001:db8:0:0:1:0:0:1", "[2001:db8::1:0:0:1]:"),
        ("2001:db8:0:1:1:1:1:1", "[2001:db8:0:1:1:1:1:1]:"),
        ("::192.0.2.1", "[::192.0.2.1]:"),
    ],
)
def test_a_session_that_rests_on_its_address_names_it_as_the_edge_writes_it(
    gateway: Gateway, source_ip: str, claim: str
) -> None:
    tied = grant(source_ip=ip_address(source_ip), sources=(ip_network(source_ip),))
    _, payload = unverified(gateway.tokens.session_token(tied, socket_session_id="ssid"))
    assert payload["addr"] == claim


def test_a_session_that_is_good_from_anywhere_names_no_address(gateway: Gateway) -> None:
    _, payload = unverified(gateway.tokens.session_token(grant(), socket_session_id="ssid"))
    assert "addr" not in payload


def test_published_keys_hold_no_private_half(gateway: Gateway) -> None:
    seen = set()
    for purpose in Purpose:
        (key,) = gateway.tokens.public_keys(purpose)["keys"]
        assert "d" not in key
        seen.add(key["kid"])
    assert len(seen) == len(Purpose)


def test_an_expired_session_is_read_for_renewal_alone(gateway: Gateway, clock: FixedClock) -> None:
    token = gateway.tokens.session_token(grant(), socket_session_id="ssid")
    clock.advance(minutes=5)
    with pytest.raises(TokenInvalid):
        gateway.tokens.verify_session(token, dns_name=HOST)
    old = gateway.tokens.verify_session(token, dns_name=HOST, allow_expired=True)
    assert old.socket_session_id == "ssid"
    with pytest.raises(TokenInvalid):
        gateway.tokens.verify_session(token, dns_name="other.edge.test", allow_expired=True)


def test_keys_outlive_a_restart(gateway: Gateway, clock: FixedClock) -> None:
    token = api_token(gateway)
    again = build_gateway(gateway.settings, clock=clock)
    assert again.tokens.verify_api_token(token).account_id == "acc-1"
    again.close()


def test_forgeries_are_refused(gateway: Gateway) -> None:
    tokens = gateway.tokens
    good = api_token(gateway)
    header, claims = unverified(good)
    key = key_of(tokens, Purpose.API)
    stranger = ECKey.generate_key("P-256", private=True)
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"api+jwt"}').rstrip(b"=").decode()
    head, body, signature = good.split(".")
    forged = {
        "empty": "",
        "not a token": "x.y.z",
        "two parts": f"{head}.{body}",
        "no signature": f"{head}.{body}.",
        "algorithm none": f"{none}.{body}.",
        "other key": signed(header, claims, stranger),
        "public key as HMAC secret": hmac_signed({**header, "alg": "HS256"}, claims, key),
        "changed body": f"{head}.{body[:-4]}AAAA.{signature}",
        "other purpose": signed({**header, "typ": "client+jwt"}, claims, key),
        "no purpose": signed({"alg": "ES256"}, claims, key),
        "unknown crit": signed({**header, "crit": ["x"], "x": 1}, claims, key),
        "other issuer": signed(header, {**claims, "iss": "https://evil.test"}, key),
        "other audience": signed(header, {**claims, "aud": "client:x"}, key),
        "list of audiences": signed(header, {**claims, "aud": ["api"]}, key),
        "no end": signed(header, {k: v for k, v in claims.items() if k != "exp"}, key),
        "end as text": signed(header, {**claims, "exp": "9999999999"}, key),
        "end beyond time": signed(header, {**claims, "exp": 10**30}, key),
        "not yet": signed(header, {**claims, "nbf": claims["nbf"] + 3600}, key),
        "no account": signed(header, {**claims, "user_id": None}, key),
        "not an object": signed(header, ["x"], key),
        "too long": good + "A" * MAX_TOKEN_CHARACTERS,
        "not ASCII": good + "é",
    }
    accepted: list[object] = []
    for what, token in forged.items():
        with contextlib.suppress(TokenInvalid):
            accepted.append((what, tokens.verify_api_token(token)))
    assert accepted == []
    assert tokens.verify_api_token(signed(header, claims, key))


def test_a_signature_of_one_purpose_opens_no_other(gateway: Gateway) -> None:
    tokens = gateway.tokens
    header, claims = unverified(api_token(gateway))
    for purpose in set(Purpose) - {Purpose.API}:
        with pytest.raises(TokenInvalid):
            tokens.verify_api_token(signed(header, claims, key_of(tokens, purpose)))


def test_a_token_of_ours_that_is_too_long_is_refused(gateway: Gateway) -> None:
    good = api_token(gateway)
    header, claims = unverified(good)
    key = key_of(gateway.tokens, Purpose.API)
    rest = len(signed(header, claims | {"more": ""}, key))
    for extra, fits in ((0, True), (3, False)):
        # Base64 makes four characters of three bytes.
        more = "a" * ((MAX_TOKEN_CHARACTERS - rest) * 3 // 4 - 2 + extra)
        token = signed(header, claims | {"more": more}, key)
        assert (len(token) <= MAX_TOKEN_CHARACTERS) is fits
        if fits:
            assert gateway.tokens.verify_api_token(token).account_id == "acc-1"
            continue
        with pytest.raises(TokenInvalid, match="too long"):
            gateway.tokens.verify_api_token(token)


def test_a_token_that_was_verified_before_is_looked_at_again(
    gateway: Gateway, clock: FixedClock
) -> None:
    """Its signature is remembered; its end, its audience and its purpose are not."""
    tokens = gateway.tokens
    token = tokens.client_token(
        subject="s",
        email="ann@corp.test",
        dns_name=HOST,
        port=1,
        session_id="sid",
        expires_at=clock() + timedelta(hours=1),
    )
    for _ in range(2):
        assert tokens.verify_client_token(token, dns_name=HOST).session_id == "sid"
        with pytest.raises(TokenInvalid, match="audience"):
            tokens.verify_client_token(token, dns_name=f"x{HOST}")
        with pytest.raises(TokenInvalid):
            tokens.verify_api_token(token)
        with pytest.raises(TokenInvalid):
            tokens.verify_client_token(token[:-9] + token[-8:], dns_name=HOST)
    clock.advance(hours=1)
    with pytest.raises(TokenInvalid, match="expired"):
        tokens.verify_client_token(token, dns_name=HOST)
