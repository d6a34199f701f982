"""The OpenID client against a provider that lies: every lie is found out."""

import base64
import hmac
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, RSAKey

from idp_gateway.errors import ProviderFailed
from idp_gateway.providers.base import Attempt
from idp_gateway.providers.discovery import check_issuer
from idp_gateway.providers.oidc import OpenIDProvider, OpenIDRegistration
from policy.types import Assurance
from tests.idp_gateway.conftest import FixedClock
from tests.support.tampering_op import TamperingProvider, good_claims, tampering_op, unsigned

NONCE = "n" * 43
ATTEMPT = Attempt(
    state="s" * 43,
    nonce=NONCE,
    code_verifier="v" * 43,
    redirect_uri="https://gateway.localhost:8443/login/op/callback",
)
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ANSWER = {"code": "a code", "state": ATTEMPT.state}


@pytest.fixture(scope="module")
def rsa_key() -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": "one"})


@pytest.fixture
def op(rsa_key: RSAKey) -> Iterator[TamperingProvider]:
    with tampering_op() as provider:
        provider.key = rsa_key
        provider.claims = good_claims(provider.issuer, NONCE, NOW.timestamp())
        yield provider


def client(op: TamperingProvider, clock: FixedClock, **registration: Any) -> OpenIDProvider:
    fields = {
        "name": "op",
        "label": "The OP",
        "issuer": op.issuer,
        "client_id": "mysocket",
        "client_secret": "secret",
    } | registration
    return OpenIDProvider(OpenIDRegistration(**fields), clock=clock)


def refused(op: TamperingProvider, clock: FixedClock, answer: dict[str, str] = ANSWER) -> str:
    with pytest.raises(ProviderFailed) as caught:
        client(op, clock).identify(ATTEMPT, answer, NOW)
    return caught.value.reason


def test_a_truthful_provider_is_believed(op: TamperingProvider, clock: FixedClock) -> None:
    identity = client(op, clock).identify(ATTEMPT, ANSWER, NOW)

    assert (identity.issuer, identity.subject) == (op.issuer, "248289761001")
    assert str(identity.email) == "alice@example.com"
    assert identity.assurance is Assurance.PROVIDER_VERIFIED
    assert op.forms[0]["code_verifier"] == ATTEMPT.code_verifier
    assert op.forms[0]["redirect_uri"] == ATTEMPT.redirect_uri
    assert op.forms[0]["authorization"].startswith("Basic ")


def test_a_public_client_sends_no_secret(op: TamperingProvider, clock: FixedClock) -> None:
    client(op, clock, client_secret="").identify(ATTEMPT, ANSWER, NOW)

    assert op.forms[0]["client_id"] == "mysocket"
    assert op.forms[0]["authorization"] == ""


def test_the_request_carries_pkce_state_and_nonce(op: TamperingProvider, clock: FixedClock) -> None:
    url = client(op, clock).authorization_url(ATTEMPT)

    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert url.startswith(f"{op.issuer}/authorize?")
    assert query["code_challenge_method"] == "S256"
    assert query["code_challenge"] not in ("", ATTEMPT.code_verifier)
    assert query["state"] == ATTEMPT.state
    assert query["nonce"] == NONCE
    assert query["redirect_uri"] == ATTEMPT.redirect_uri


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "m" * 43},
        {"nonce": None},
        {"aud": "somebody-else"},
        {"aud": ["mysocket", "somebody-else"]},
        {"aud": ["mysocket", "somebody-else"], "azp": "somebody-else"},
        {"azp": "somebody-else"},
        {"aud": None},
        {"iss": "https://accounts.google.com"},
        {"iss": None},
        {"exp": int(NOW.timestamp()) - 61},
        {"exp": None},
        {"exp": "tomorrow"},
        {"iat": None},
        {"iat": int(NOW.timestamp()) + 600},
        {"nbf": int(NOW.timestamp()) + 600},
        {"sub": None},
        {"sub": ""},
        {"sub": 42},
        {"sub": "a\nb"},
        {"sub": "x" * 256},
        {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
    ],
    ids=str,
)
def test_wrong_claims_are_found_out(
    op: TamperingProvider, clock: FixedClock, claims: dict[str, Any]
) -> None:
    op.claims |= claims

    assert refused(op, clock) in {"id-token-invalid", "provider-answer-invalid"}


@pytest.mark.parametrize(
    ("claims", "email"),
    [
        ({"email_verified": "true"}, None),
        ({"email_verified": 1}, None),
        ({"email_verified": False}, None),
        ({"email_verified": None}, None),
        ({"email": "alice@evil.test@example.com"}, None),
        ({"email": ["alice@example.com"]}, None),
        ({"email": "\u212aate@example.com"}, None),
        ({"email": "Alice@EXAMPLE.com"}, "alice@example.com"),
    ],
    ids=str,
)
def test_an_email_counts_only_if_it_is_verified_and_plain(
    op: TamperingProvider, clock: FixedClock, claims: dict[str, Any], email: str | None
) -> None:
    op.claims |= claims

    identity = client(op, clock).identify(ATTEMPT, ANSWER, NOW)

    assert (str(identity.email) if identity.email else None) == email
    verified = identity.assurance is Assurance.PROVIDER_VERIFIED
    assert verified == (email is not None)


def test_an_unsigned_token_is_refused(op: TamperingProvider, clock: FixedClock) -> None:
    op.token = unsigned(op.claims)

    assert refused(op, clock) == "id-token-invalid"


def test_a_token_signed_with_the_public_key_as_a_shared_secret_is_refused(
    op: TamperingProvider, clock: FixedClock
) -> None:
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"one"}').rstrip(b"=")
    body = base64.urlsafe_b64encode(json.dumps(op.claims).encode()).rstrip(b"=")
    for secret in (op.key.as_pem(private=False), b"secret"):
        mac = hmac.digest(secret, header + b"." + body, "sha256")
        signature = base64.urlsafe_b64encode(mac).rstrip(b"=")
        op.token = b".".join((header, body, signature)).decode()
        assert refused(op, clock) == "id-token-invalid"


def test_a_shared_secret_among_the_published_keys_verifies_nothing(
    op: TamperingProvider, clock: FixedClock
) -> None:
    secret = OctKey.generate_key(256, {"kid": "one"})
    op.published = [secret]
    op.token = jws.serialize_compact(
        {"alg": "HS256", "kid": "one"}, json.dumps(op.claims), secret, algorithms=["HS256"]
    )

    assert refused(op, clock) == "id-token-invalid"


def test_somebody_elses_signature_is_refused(op: TamperingProvider, clock: FixedClock) -> None:
    op.published = [RSAKey.generate_key(2048, {"kid": "one"})]

    assert refused(op, clock) == "id-token-invalid"


def test_an_unknown_critical_header_is_refused(op: TamperingProvider, clock: FixedClock) -> None:
    good = op.id_token()
    header = base64.urlsafe_b64encode(b'{"alg":"RS256","kid":"one","crit":["x"],"x":1}')
    op.token = f"{header.rstrip(b'=').decode()}.{good.split('.', 1)[1]}"

    assert refused(op, clock) == "id-token-invalid"


def test_a_token_of_megabytes_is_not_parsed(op: TamperingProvider, clock: FixedClock) -> None:
    op.token = "a" * 20_000

    assert refused(op, clock) == "provider-answer-invalid"


def test_an_endless_answer_is_cut_off(op: TamperingProvider, clock: FixedClock) -> None:
    op.metadata = {"padding": "x" * 300_000}

    assert refused(op, clock) == "provider-failed"


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"issuer": "https://accounts.google.com"}, "issuer-mismatch"),
        ({"issuer": None}, "issuer-mismatch"),
        ({"token_endpoint": "https://evil.test/token"}, "endpoint-origin-refused"),
        ({"jwks_uri": "http://127.0.0.1:1/jwks"}, "endpoint-origin-refused"),
        ({"authorization_endpoint": "javascript:alert(1)"}, "endpoint-origin-refused"),
        ({"userinfo_endpoint": "http://127.0.0.1@evil.test/"}, "endpoint-origin-refused"),
        ({"token_endpoint": None}, "endpoint-origin-refused"),
    ],
    ids=str,
)
def test_metadata_is_bound_to_its_issuer(
    op: TamperingProvider, clock: FixedClock, metadata: dict[str, Any], reason: str
) -> None:
    op.metadata = metadata

    assert refused(op, clock) == reason
    assert "/token" not in op.requests


def test_an_exception_lets_endpoints_lie_elsewhere(
    op: TamperingProvider, clock: FixedClock
) -> None:
    with tampering_op() as elsewhere:
        elsewhere.claims, elsewhere.key = op.claims, op.key
        op.metadata = {"token_endpoint": f"{elsewhere.issuer}/token"}
        provider = client(op, clock, endpoint_origins=frozenset({elsewhere.issuer}))

        assert provider.identify(ATTEMPT, ANSWER, NOW).subject == "248289761001"


@pytest.mark.parametrize(
    ("metadata", "answer", "reason"),
    [
        ({}, {"iss": "https://evil.test"}, "issuer-mismatch"),
        ({"authorization_response_iss_parameter_supported": True}, {}, "issuer-mismatch"),
        ({}, {"error": "access_denied"}, "access-denied"),
        ({}, {"error": "server_error"}, "provider-failed"),
        ({}, {"code": ""}, "provider-answer-invalid"),
        ({}, {"code": "x" * 5000}, "provider-answer-invalid"),
    ],
    ids=str,
)
def test_answers_of_the_wrong_kind_are_refused(
    op: TamperingProvider,
    clock: FixedClock,
    metadata: dict[str, Any],
    answer: dict[str, str],
    reason: str,
) -> None:
    op.metadata = metadata

    assert refused(op, clock, ANSWER | answer) == reason
    assert "/token" not in op.requests


def test_the_issuer_in_the_answer_is_accepted_when_it_is_right(
    op: TamperingProvider, clock: FixedClock
) -> None:
    op.metadata = {"authorization_response_iss_parameter_supported": True}

    assert client(op, clock).identify(ATTEMPT, ANSWER | {"iss": op.issuer}, NOW).email


def test_userinfo_completes_a_token_without_email(op: TamperingProvider, clock: FixedClock) -> None:
    op.claims |= {"email": None, "email_verified": None}
    op.userinfo = {"sub": "248289761001", "email": "alice@example.com", "email_verified": True}

    assert str(client(op, clock).identify(ATTEMPT, ANSWER, NOW).email) == "alice@example.com"


def test_userinfo_about_somebody_else_is_refused(op: TamperingProvider, clock: FixedClock) -> None:
    op.claims |= {"email": None, "email_verified": None}
    op.userinfo = {"sub": "somebody-else", "email": "alice@example.com", "email_verified": True}

    assert refused(op, clock) == "subject-mismatch"


def test_userinfo_is_not_asked_when_the_token_has_an_email(
    op: TamperingProvider, clock: FixedClock
) -> None:
    op.claims |= {"email_verified": None}
    op.userinfo = {"sub": "248289761001", "email": "alice@example.com", "email_verified": True}

    assert client(op, clock).identify(ATTEMPT, ANSWER, NOW).email is None
    assert "/userinfo" not in op.requests


def test_keys_are_fetched_again_for_an_unknown_id_at_most_once_a_minute(
    op: TamperingProvider, clock: FixedClock
) -> None:
    provider = client(op, clock)
    provider.identify(ATTEMPT, ANSWER, NOW)
    old, op.key = op.key, RSAKey.generate_key(2048, {"kid": "two"})
    op.header = {"kid": "two"}

    with pytest.raises(ProviderFailed):
        provider.identify(ATTEMPT, ANSWER, NOW)
    assert op.requests.count("/jwks") == 1
    clock.advance(seconds=61)
    assert provider.identify(ATTEMPT, ANSWER, NOW).email
    assert op.requests.count("/jwks") == 2
    op.key, op.header = old, {"kid": "three"}
    for _ in range(3):
        with pytest.raises(ProviderFailed):
            provider.identify(ATTEMPT, ANSWER, NOW)
    assert op.requests.count("/jwks") == 2
    assert op.requests.count("/.well-known/openid-configuration") == 1


def test_an_unreadable_key_does_not_spoil_the_others(
    op: TamperingProvider, clock: FixedClock
) -> None:
    op.published = [ECKey.generate_key("P-256", {"kid": "other"}), op.key]

    assert client(op, clock).identify(ATTEMPT, ANSWER, NOW).email


def test_a_provider_that_is_away_is_told_apart(clock: FixedClock) -> None:
    with tampering_op() as gone:
        pass

    with pytest.raises(ProviderFailed) as caught:
        client(gone, clock).authorization_url(ATTEMPT)
    assert caught.value.reason == "provider-unreachable"


@pytest.mark.parametrize(
    "issuer",
    ["http://accounts.google.com", "https://a@b.test", "ftp://a.test", "https://a.test/?x=1", ""],
)
def test_an_issuer_is_an_https_address(issuer: str) -> None:
    with pytest.raises(ProviderFailed):
        check_issuer(issuer)


@pytest.mark.parametrize(
    "issuer", ["https://accounts.google.com", "http://127.0.0.1:9400", "http://op.localhost:1/x"]
)
def test_plain_http_is_for_this_computer(issuer: str) -> None:
    assert check_issuer(issuer) == issuer


def test_people_and_groups_carry_the_providers_name(
    op: TamperingProvider, clock: FixedClock
) -> None:
    op.claims["groups"] = ["staff", "a:b", " spaced", "line\nbreak", "", 7, "x" * 300, "staff"]
    identity = client(op, clock).identify(ATTEMPT, ANSWER, NOW)
    assert identity.provider == "op"
    assert {str(group) for group in identity.groups} == {"op:staff", "op:a:b"}
