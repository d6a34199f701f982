"""What must hold for every document, and for every text that is none."""

import contextlib
import json
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.document import PolicyDocument, read_document
from policy.errors import DocumentError
from tests.policy.test_document import schema_takes
from tests.support.policies import RELAXED

EMAIL_TEXTS = st.sampled_from(["a@b.test", "A@B.test", "x+y@corp.test"])
WORDS = st.sampled_from(["NO", "nl", "US"])
_CLOCK_TEXTS = st.sampled_from(["08:00", "18:30:15", "00:00", "23:59"])
_INSTANTS = st.sampled_from(["2026-01-01", "2027-06-01T12:00:00+02:00", "2028-01-01"])


def some(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=members)


def lists(entries: st.SearchStrategy[Any], least: int = 0) -> st.SearchStrategy[list[Any]]:
    return st.lists(entries, min_size=least, max_size=3)


NETWORK_TEXTS = st.one_of(
    st.ip_addresses(v=4).map(str), st.sampled_from(["192.0.2.0/24", "::/0", "2001:db8::1"])
)
V1_DOCUMENTS = st.fixed_dictionaries(
    {"version": st.just("v1"), "action": lists(st.sampled_from(["http", "ssh", "database"]), 1)},
    optional={
        "condition": some(
            who=some(email=lists(EMAIL_TEXTS), domain=lists(st.just("b.test")) | st.none()),
            where=some(allowed_ip=lists(NETWORK_TEXTS), country=lists(WORDS)),
            when=some(
                after=st.sampled_from(["2026-01-01", "", None]),
                before=st.sampled_from(["2027-01-01", None]),
                time_of_day_after=st.sampled_from(["08:00:00 UTC", None, ""]),
            ),
        )
    },
)
WHERE_TEXTS = some(
    allowed_ip=lists(NETWORK_TEXTS, 1),
    prefix_list=lists(st.sampled_from(["one", "two"]), 1),
    country=lists(WORDS, 1),
    asn=lists(st.integers(1, 2**32 - 1), 1),
)
WHEN_TEXTS = some(
    after=_INSTANTS,
    before=st.just("2030-01-01"),
    time_of_day_after=st.just("09:00"),
    time_of_day_before=_CLOCK_TEXTS,
    weekday=lists(st.sampled_from(["mon", "sun"]), 1),
    zone=st.just("Europe/Amsterdam"),
)
V2_DOCUMENTS = st.fixed_dictionaries(
    {"version": st.just("v2"), "action": lists(st.sampled_from(["http", "ssh", "tls"]), 1)},
    optional={
        "condition": some(
            who=some(
                email=lists(EMAIL_TEXTS),
                group=lists(st.text(min_size=1, max_size=9).map(lambda t: f"github:{t}")
                            .filter(lambda t: t.isprintable() and t == t.strip())),
            ),
            where=WHERE_TEXTS,
            when=WHEN_TEXTS,
            client_proof=st.booleans(),
            assurance=st.sampled_from(["self-asserted", None]),
        ),
        "deny": lists(
            st.fixed_dictionaries(
                {"name": st.just("x"), "where": st.just({"country": ["US"]})},
                optional={"when": WHEN_TEXTS.filter(bool)},
            )
        ),
        "prefix_lists": some(one=lists(NETWORK_TEXTS, 1)),
        "expect": lists(
            st.fixed_dictionaries(
                {"as": st.just({"email": "a@b.test"}), "allow": st.booleans()},
                optional={"groups": st.nothing(), "at": st.just("2026-01-01")},
            )
        ),
    },
)  # fmt: skip


@RELAXED
@given(V1_DOCUMENTS | V2_DOCUMENTS)
def test_what_is_written_out_is_read_back_the_same(value: dict[str, Any]) -> None:
    document = PolicyDocument.from_json(value)
    assert document.version == value["version"]
    stored = document.to_json()
    again = PolicyDocument.from_json(stored)
    assert again == document
    assert again.to_json() == stored
    assert again.policy("p") == document.policy("p")
    assert PolicyDocument.from_json(json.loads(json.dumps(stored))) == document
    assert read_document(json.dumps(stored)) == document
    assert read_document(json.dumps(stored, ensure_ascii=False, indent="\t")) == document
    assert read_document(yaml.safe_dump(stored, allow_unicode=True)) == document
    assert schema_takes(value)
    assert schema_takes(stored)


@RELAXED
@given(st.text(max_size=200) | st.text("version: [v1]{}&*!-\n \"'#,a", max_size=80))
def test_every_text_is_a_document_or_refused_as_one(text: str) -> None:
    for prefix in ("", "version: v2\n"):
        with contextlib.suppress(DocumentError):
            read_document(prefix + text)


NOTHING = st.sampled_from([None, None, None, None, [], {}, ""])
CLEARED = {
    "who": ("email", "domain", "subject", "group", "service_account"),
    "where": ("allowed_ip", "prefix_list", "country", "country_not", "asn"),
    "when": ("after", "before", "weekday", "zone", "time_of_day_after"),
    "as": ("email", "groups", "provider", "subject"),
}
_GOOD: dict[str, Any] = {
    "email": ["a@b.test"], "country": ["NL"], "after": "2026-01-01", "weekday": ["mon"],
    "allowed_ip": ["192.0.2.0/24"], "zone": "Europe/Amsterdam", "groups": ["github:a"],
}  # fmt: skip


def cleared(kind: str) -> st.SearchStrategy[Any]:
    """A part of a document of which members are there and say nothing."""
    members = {
        key: (NOTHING | st.just(_GOOD[key])) if key in _GOOD and (kind, key) != ("as", "email")
        else NOTHING
        for key in CLEARED[kind]
    }  # fmt: skip
    return NOTHING | some(**members)


PARTS = {kind: cleared(kind) for kind in CLEARED}
CLEARED_DOCUMENTS = st.one_of(
    some(condition=NOTHING | some(who=PARTS["who"], where=PARTS["where"], when=PARTS["when"])),
    *(
        st.fixed_dictionaries({kind: PARTS[kind]}, optional={"name": st.just("x")}).map(
            lambda rule: {"deny": [rule]}
        )
        for kind in ("who", "where", "when")
    ),
    some(prefix_lists=NOTHING | some(one=NOTHING | lists(NETWORK_TEXTS))),
    PARTS["as"].map(lambda person: {"expect": [{"as": person, "allow": False}]}),
)


@settings(RELAXED, max_examples=300)
@given(CLEARED_DOCUMENTS, st.sampled_from(["v1", "v2"]))
def test_what_is_accepted_can_be_read_again_as_it_is_kept(
    parts: dict[str, Any], version: str
) -> None:
    try:
        document = PolicyDocument.from_json({"version": version, "action": ["http"], **parts})
    except DocumentError:
        return
    again = PolicyDocument.from_json(json.loads(json.dumps(document.to_json())))
    assert again == document
    assert again.policy("p") == document.policy("p")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["version", "action", "condition", "who", "where", "email", "deny", "x"]
            ),
            inner | st.just("v2"),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@RELAXED
@given(JSON_VALUES, JSON_VALUES)
def test_every_json_value_is_a_document_or_refused_as_one(value: Any, inner: Any) -> None:
    for one in (value, {"version": "v2", "action": ["http"], "condition": value, "deny": inner}):
        with contextlib.suppress(DocumentError):
            PolicyDocument.from_json(one)
