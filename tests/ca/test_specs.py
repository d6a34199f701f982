"""A spec that exists may be signed: everything that must not be signed cannot be made."""

from datetime import UTC, datetime, timedelta, timezone
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ca import errors
from ca.specs import (
    MAX_GRANT_LIFE,
    MAX_HOST_LIFE,
    MAX_PRINCIPALS,
    ORIGINAL_EXTENSIONS,
    ROOT_LIFE,
    TUNNEL_EXTENSIONS,
    CaCertSpec,
)
from tests.support.subjects import (
    EMAIL,
    client_spec,
    host_spec,
    security_key_subject,
    server_spec,
    ssh_subject,
    tls_subject,
    user_spec,
)

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SSH_KEY = ssh_subject()
TLS_KEY = tls_subject()


def _user(**changes: Any) -> object:
    return user_spec(NOW, **({"public_key": SSH_KEY} | changes))


def test_the_original_certificate_can_be_specified() -> None:
    spec = user_spec(NOW, public_key=SSH_KEY)
    assert spec.not_after - spec.not_before == timedelta(minutes=10)
    assert spec.extensions == ORIGINAL_EXTENSIONS
    assert not spec.critical_options


def test_source_addresses_are_settled_into_one_spelling() -> None:
    said = ("2001:db8::/64", "192.0.2.128/25", "192.0.2.0/25", "10.0.0.1/32", "192.0.2.7/32")
    for texts in (said, said[::-1]):
        spec = user_spec(NOW, public_key=SSH_KEY, source_addresses=tuple(map(ip_network, texts)))
        assert spec.all_critical_options == {
            "source-address": "10.0.0.1/32,192.0.2.0/24,2001:db8::/64"
        }


def test_a_tunnel_login_can_be_specified() -> None:
    account = "0123456789abcdef0123456789abcdef"
    spec = user_spec(
        NOW,
        public_key=SSH_KEY,
        principals=(account,),
        key_id=f"{account}:7d2b8a90-7f62:1c3a",
        extensions=TUNNEL_EXTENSIONS,
    )
    assert spec.principals == (account,)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"principals": ()}, "principal-invalid"),
        ({"principals": ("",)}, "principal-invalid"),
        ({"principals": ("bob,root",)}, "principal-invalid"),
        ({"principals": ("*",)}, "principal-invalid"),
        ({"principals": ("roo?",)}, "principal-invalid"),
        ({"principals": ("root\n",)}, "principal-invalid"),
        ({"principals": ("ro\0ot",)}, "principal-invalid"),
        ({"principals": ("two words",)}, "principal-invalid"),
        ({"principals": ('a"b',)}, "principal-invalid"),
        ({"principals": ("ärger",)}, "principal-invalid"),
        ({"principals": ("root", "root")}, "principal-invalid"),
        ({"principals": ("x" * 256,)}, "principal-invalid"),
        ({"principals": tuple(f"p{n}" for n in range(MAX_PRINCIPALS + 1))}, "principal-invalid"),
        ({"key_id": ""}, "key-id-invalid"),
        ({"key_id": "a b"}, "key-id-invalid"),
        ({"key_id": "a\nb"}, "key-id-invalid"),
        ({"key_id": "ü"}, "key-id-invalid"),
        ({"key_id": "x" * 321}, "key-id-invalid"),
        ({"serial": 0}, "serial-invalid"),
        ({"serial": -1}, "serial-invalid"),
        ({"serial": True}, "serial-invalid"),
        ({"serial": 2**64}, "serial-invalid"),
        ({"extensions": {"permit-everything": ""}}, "option-invalid"),
        ({"extensions": {"permit-pty": "yes"}}, "option-invalid"),
        ({"extensions": {"decision@mysocket.example": "ü"}}, "option-invalid"),
        ({"critical_options": {"unheard-of": "x"}}, "option-invalid"),
        ({"critical_options": {"source-address": "10.0.0.0/8"}}, "option-invalid"),
        ({"source_addresses": ()}, "option-invalid"),
        ({"source_addresses": ("10.0.0.0/8",)}, "option-invalid"),
        ({"source_addresses": (ip_network("::ffff:10.0.0.0/104"),)}, "option-invalid"),
        ({"source_addresses": (ip_network("fe80::1%eth0"),)}, "option-invalid"),
        (
            {"source_addresses": tuple(ip_network((2 * at, 32)) for at in range(129))},
            "option-invalid",
        ),
        ({"critical_options": {"verify-required": "x"}}, "option-invalid"),
        ({"critical_options": {"verify-required": ""}}, "option-invalid"),
        (
            {
                "critical_options": {"verify-required": "x"},
                "public_key": security_key_subject("sk-ssh-ed25519@openssh.com"),
            },
            "option-invalid",
        ),
        ({"critical_options": {"force-command": "id"}}, "option-invalid"),
        ({"critical_options": {"force-command": ""}, "extensions": {}}, "option-invalid"),
        ({"not_before": NOW.replace(tzinfo=None)}, "validity-invalid"),
        ({"not_after": NOW.replace(tzinfo=None)}, "validity-invalid"),
        ({"not_after": NOW - timedelta(minutes=5)}, "validity-invalid"),
        ({"not_after": NOW + MAX_GRANT_LIFE}, "validity-invalid"),
        ({"not_before": datetime(1969, 12, 31, tzinfo=UTC)}, "validity-invalid"),
    ],
)
def test_no_such_user_certificate(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(errors.SpecError) as caught:
        _user(**changes)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "changes",
    [
        {"source_addresses": (ip_network("192.0.2.7/32"), ip_network("2001:db8::/32"))},
        {"critical_options": {"force-command": "id"}, "extensions": {"permit-pty": ""}},
        {
            "critical_options": {"verify-required": ""},
            "public_key": security_key_subject("sk-ssh-ed25519@openssh.com"),
        },
        {"key_id": f"{'x' * 64}@{'y' * 185}.org/{'d' * 36}/12345678901234567890"},
        {"extensions": {"decision@mysocket.io": "0b1e-22 7"}},
        {"extensions": {"decision@mysocket.example": "0b1e"}},
        {"extensions": {}},
        {"principals": tuple(f"p{n}" for n in range(MAX_PRINCIPALS))},
    ],
)
def test_such_a_user_certificate(changes: dict[str, Any]) -> None:
    _user(**changes)


def test_a_spec_cannot_be_changed_through_what_it_was_made_from() -> None:
    options = {"force-command": "id"}
    spec = user_spec(NOW, public_key=SSH_KEY, critical_options=options, extensions={})
    options["force-command"] = "sh"
    assert spec.critical_options == {"force-command": "id"}
    with pytest.raises(TypeError):
        spec.critical_options["verify-required"] = ""  # type: ignore[index]


def test_times_are_kept_in_whole_seconds_of_utc() -> None:
    elsewhere = timezone(timedelta(hours=5, minutes=30))
    start = NOW.astimezone(elsewhere).replace(microsecond=999_999)
    spec = user_spec(NOW, public_key=SSH_KEY, not_before=start)
    assert spec.not_before == NOW
    assert spec.not_before.tzinfo is UTC


@given(st.text(max_size=40))
def test_a_principal_that_passes_is_one_harmless_word(text: str) -> None:
    try:
        _user(principals=(text,))
    except errors.PrincipalError:
        return
    assert text.isascii()
    assert text.isprintable()
    assert not set(text) & set(",*? \"'\\()<>;") - {"'"}


@given(
    st.one_of(st.text(), st.emails()), st.text(max_size=70), st.integers(), st.integers(), st.data()
)
def test_client_specs_are_total(
    email: str, socket_id: str, epoch: int, serial: int, data: st.DataObject
) -> None:
    changes = {"email": email, "socket_id": socket_id, "epoch": epoch, "serial": serial}
    chosen = data.draw(st.sets(st.sampled_from(sorted(changes)), min_size=1))
    try:
        spec = client_spec(NOW, public_key=TLS_KEY, **{name: changes[name] for name in chosen})
    except errors.SpecError:
        return
    assert spec.email.count("@") == 1
    (uri,) = spec.socket_uris
    assert uri.count(":") == 4


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"email": "alice"}, "name-invalid"),
        ({"email": "a@b@example.com"}, "name-invalid"),
        ({"email": "a lice@example.com"}, "name-invalid"),
        ({"email": "alice@example.com\n"}, "name-invalid"),
        ({"email": "älice@example.com"}, "name-invalid"),
        ({"email": f"{'a' * 250}@example.com"}, "name-invalid"),
        ({"socket_id": ""}, "name-invalid"),
        ({"socket_id": "a:1"}, "name-invalid"),
        ({"socket_id": "x" * 65}, "name-invalid"),
        ({"epoch": 0}, "name-invalid"),
        ({"epoch": True}, "name-invalid"),
        ({"source_ids": ()}, "name-invalid"),
        ({"source_ids": ("0123456789abcde",)}, "name-invalid"),
        ({"source_ids": ("0123456789ABCDEF",)}, "name-invalid"),
        ({"source_ids": ("0123456789abcdef\n",)}, "name-invalid"),
        ({"source_ids": ("0123456789abcdef",) * 2}, "name-invalid"),
        ({"source_ids": tuple(f"{at:016x}" for at in range(65))}, "name-invalid"),
        ({"serial": 0}, "serial-invalid"),
        ({"serial": 2**159}, "serial-invalid"),
        ({"not_after": NOW + timedelta(days=2)}, "validity-invalid"),
    ],
)
def test_no_such_client_certificate(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(errors.SpecError) as caught:
        client_spec(NOW, public_key=TLS_KEY, **changes)
    assert caught.value.reason == reason


def test_a_client_certificate_names_socket_and_epoch() -> None:
    spec = client_spec(NOW, public_key=TLS_KEY, socket_id="s-1", epoch=7)
    assert (spec.email, spec.socket_uris) == (EMAIL, ("urn:mysocket:socket:s-1:7",))


def test_a_client_certificate_for_some_networks_has_no_plain_name() -> None:
    ids = ("fedcba9876543210", "0123456789abcdef")
    spec = client_spec(NOW, public_key=TLS_KEY, socket_id="s-1", epoch=7, source_ids=ids)
    assert spec.socket_uris == (
        "urn:mysocket:socket:s-1:7:from:0123456789abcdef",
        "urn:mysocket:socket:s-1:7:from:fedcba9876543210",
    )


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("a.example", "a.example"),
        ("A.example",),
        ("a..example",),
        ("a_b.example",),
        ("-a.example",),
        ("*.localhost",),
        ("*",),
        ("a.*.example",),
        ("é.example",),
        ("a.example\n",),
        (".".join(["x" * 60] * 5),),
    ],
)
def test_no_such_server_names(names: tuple[str, ...]) -> None:
    with pytest.raises(errors.SubjectNameError):
        server_spec(NOW, public_key=TLS_KEY, dns_names=names)


@pytest.mark.parametrize("names", [("localhost",), ("gateway.localhost", "*.edge.localhost")])
def test_such_server_names(names: tuple[str, ...]) -> None:
    assert server_spec(NOW, public_key=TLS_KEY, dns_names=names).dns_names == names


def test_a_server_certificate_lives_a_month_at_most() -> None:
    with pytest.raises(errors.ValidityError):
        server_spec(NOW, public_key=TLS_KEY, not_after=NOW + timedelta(days=32))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"common_name": ""}, "name-invalid"),
        ({"common_name": "x" * 65}, "name-invalid"),
        ({"common_name": "root\n"}, "name-invalid"),
        ({"serial": 0}, "serial-invalid"),
        ({"not_after": NOW + ROOT_LIFE + timedelta(seconds=1)}, "validity-invalid"),
    ],
)
def test_no_such_ca(changes: dict[str, Any], reason: str) -> None:
    values: dict[str, Any] = {
        "common_name": "root",
        "serial": 1,
        "not_before": NOW,
        "not_after": NOW + ROOT_LIFE,
    } | changes
    with pytest.raises(errors.SpecError) as caught:
        CaCertSpec(**values)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"principals": ()}, "principal-invalid"),
        ({"principals": ("*",)}, "principal-invalid"),
        ({"principals": ("*.edge.localhost",)}, "principal-invalid"),
        ({"principals": ("DB.edge.localhost",)}, "principal-invalid"),
        ({"principals": ("db.edge.localhost,*",)}, "principal-invalid"),
        ({"principals": ("127.0.0.1",)}, "principal-invalid"),
        ({"principals": ("db.edge.localhost.",)}, "principal-invalid"),
        ({"principals": ("-db.edge.localhost",)}, "principal-invalid"),
        ({"principals": ("db..edge.localhost",)}, "principal-invalid"),
        ({"principals": ("root@db",)}, "principal-invalid"),
        ({"principals": ("x" * 64,)}, "principal-invalid"),
        ({"principals": (".".join(["x" * 63] * 3 + ["x" * 62]),)}, "principal-invalid"),
        ({"public_key": security_key_subject("sk-ssh-ed25519@openssh.com")}, "spec-invalid"),
        ({"key_id": "a b"}, "key-id-invalid"),
        ({"serial": 0}, "serial-invalid"),
        ({"not_after": NOW + MAX_HOST_LIFE}, "validity-invalid"),
    ],
)
def test_no_such_host_certificate(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(errors.SpecError) as caught:
        host_spec(NOW, **changes)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "principals",
    [
        ("db",),
        ("db.edge.localhost", "xn--dtenbank-8za.edge.localhost", "1db"),
        (".".join(["x" * 63] * 3 + ["x" * 61]),),
    ],
)
def test_such_a_host_certificate(principals: tuple[str, ...]) -> None:
    spec = host_spec(NOW, principals=principals, not_before=NOW, not_after=NOW + MAX_HOST_LIFE)
    assert spec.principals == principals
