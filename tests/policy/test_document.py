"""Documents of both versions: what is taken, what is refused and where it says so."""

import copy
import json
import re
import textwrap
from datetime import UTC, datetime, time, timedelta
from ipaddress import ip_network
from typing import Any

import jsonschema
import pytest

from policy.document import PolicyDocument, read_document
from policy.errors import DocumentError
from policy.expectations import failures
from policy.reading import MAX_BYTES, MAX_DEPTH, MAX_ENTRIES
from policy.schema import json_schema
from policy.types import Action, Assurance, Weekday
from tests.support.documentation import ROOT

V1: dict[str, Any] = {
    "version": "v1",
    "action": ["database", "ssh", "http"],
    "condition": {
        "who": {"email": ["A@corp.test"], "domain": ["Corp.test"]},
        "where": {"allowed_ip": ["192.0.2.0/24"], "country": ["NL"], "country_not": ["US"]},
        "when": {
            "after": "2026-01-01",
            "before": None,
            "time_of_day_after": "08:00:00 UTC",
            "time_of_day_before": "18:00:00 UTC",
        },
    },
}
V2 = """\
version: v2                      # who may reach the wiki
action: [http, tls, ssh]
condition:
  who:
    email: [a@corp.test]
    domain: [corp.test]
    subject: ["google:a@corp.test", "github:#583231"]
    group: ["github:acme/ops"]
    service_account: [backup]
  where:
    allowed_ip: [192.0.2.0/24, "2001:db8::1"]
    prefix_list: [office, cloud]
    country: [NO, nl]
    country_not: [US]
    asn: [64500]
    asn_not: [64501]
  when:
    after: 2026-03-29
    before: 2026-12-31T18:00:00+01:00
    time_of_day_after: 08:00
    time_of_day_before: "18:00"
    weekday: [mon, tue]
    zone: Europe/Amsterdam
  assurance: provider-verified
  client_proof: true
  max_session: 1h30m
deny:
  - name: never from there
    where: {allowed_ip: [198.51.100.0/24], prefix_list: [office]}
prefix_lists:
  office: [203.0.113.0/24, 203.0.113.0/25]
expect:
  - as: {email: a@corp.test}
    from: 203.0.113.9
    at: 2026-03-30T09:00:00+02:00
    country: NO
    asn: 64500
    client_proof: true
    allow: false
    reason: denied-by-rule
"""


def faults(text: str) -> list[str]:
    with pytest.raises(DocumentError) as caught:
        read_document(textwrap.dedent(text))
    return [f"{fault.path} @{fault.line}" for fault in caught.value.faults]


def schema_takes(value: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(json_schema()).is_valid(value))


def test_a_document_of_the_original_clients_is_kept_as_it_came() -> None:
    document = PolicyDocument.from_json(V1)
    expected = copy.deepcopy(V1)
    del expected["condition"]["when"]["before"]
    assert document.to_json() == expected
    policy = document.policy("p", "Name")
    assert policy.actions == frozenset({Action.TLS, Action.SSH, Action.HTTP})
    assert [str(one) for one in policy.who.emails] == ["a@corp.test"]
    assert policy.where.countries_not == frozenset({"US"})
    assert policy.when.after == datetime(2026, 1, 1, tzinfo=UTC)
    assert policy.when.before is None
    assert (policy.when.day_starts, policy.when.day_ends) == (time(8), time(18))
    assert policy.when.zone == "UTC"
    assert schema_takes(V1)


def test_what_the_original_clients_leave_empty_is_no_condition() -> None:
    value = {
        "version": "v1",
        "action": ["http"],
        "condition": {
            "who": {"email": [], "domain": None},
            "where": {"allowed_ip": [], "country": [], "country_not": None},
            "when": {"after": "", "before": None, "time_of_day_after": ""},
        },
    }
    document = PolicyDocument.from_json(value)
    assert document.to_json() == {"version": "v1", "action": ["http"]}
    assert PolicyDocument.from_json(document.to_json()) == document
    assert document.policy("p") == PolicyDocument.from_json(document.to_json()).policy("p")
    assert schema_takes(value)


def test_everything_a_v2_document_says_is_in_its_policy() -> None:
    document = read_document(V2)
    policy = document.policy("p")
    assert policy.actions == frozenset(Action)
    assert policy.where.prefix_lists == frozenset({"cloud"})
    assert ip_network("203.0.113.0/24") in policy.where.prefixes
    assert ip_network("2001:db8::1/128") in policy.where.prefixes
    assert policy.where.countries == frozenset({"NO", "NL"})
    assert policy.when.after == datetime(2026, 3, 28, 23, tzinfo=UTC)
    assert policy.when.before == datetime(2026, 12, 31, 17, tzinfo=UTC)
    assert policy.when.weekdays == frozenset({Weekday.MONDAY, Weekday.TUESDAY})
    assert policy.min_assurance is Assurance.PROVIDER_VERIFIED
    assert policy.client_proof
    assert policy.max_session == timedelta(minutes=90)
    (rule,) = policy.denies
    assert rule.where is not None
    assert rule.where.prefix_lists == frozenset()
    assert ip_network("203.0.113.0/25") in rule.where.prefixes
    assert failures(document) == ()
    assert schema_takes(document.to_json())


@pytest.mark.parametrize("indent", [None, 2, "\t"])
def test_json_is_read_like_yaml_and_lines_are_counted(indent: Any) -> None:
    document = read_document(V2)
    stored = document.to_json()
    assert read_document(json.dumps(stored, indent=indent)) == document
    stored["condition"]["who"]["email"] = ["a@corp.test", "b@@corp.test"]
    with pytest.raises(DocumentError) as caught:
        read_document(json.dumps(stored, indent=indent))
    (fault,) = caught.value.faults
    assert fault.path == "condition.who.email[1]"
    assert fault.line == (1 if indent is None else 12)


def test_comments_are_no_part_of_what_is_kept() -> None:
    assert "wiki" not in json.dumps(read_document(V2).to_json())


def test_every_fault_is_told_with_its_place() -> None:
    assert faults(
        """\
        version: v2
        action: [http, ftp]
        condition:
          who: {email: [a@@b], nobody: 1}
          where:
            allowed_ip:
              - 192.0.2.0/24
              - 192.0.2.1/24
            asn: []
          client_proof: yes
        deny:
          - {name: x}
        other: 1
        """
    ) == [
        "action[1] @2",
        "condition.who.email[0] @4",
        "condition.who.nobody @4",
        "condition.where.allowed_ip[1] @8",
        "condition.where.asn @9",
        "condition.client_proof @10",
        "deny[0] @12",
        "other @13",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", " @1"),
        ("# nothing", " @1"),
        ("version: v3", " @1"),
        ("[]", " @1"),
        ("version: [v1]", " @1"),
        ("version: v1\nversion: v2", "version @2"),
        ("version: v1\na: &x 1", "a @2"),
        ("version: v1\na: *x", "a @2"),
        ("version: v1\na: !!int 1", "a @2"),
        ("version: v1\na: !own 1", "a @2"),
        ("version: v1\n<<: {a: 1}", '"<<" @2'),
        ("version: v1\n? [a]\n: 1", " @2"),
        ("version: v1\na: 1.5", "a @2"),
        ("version: v1\na: .nan", "a @2"),
        ("version: v1\n---\nversion: v1", " @2"),
        ("version: v1\naction: [http", " @2"),
        ("version: v1\n\taction: [http]", " @2"),
        ('{"version": "v1", "a": "\\ud800"}', "a @1"),
        ("version: v1\na: \x07", " @None"),
        ("version: v1\na: " + "[" * 40, "a" + "[0]" * (MAX_DEPTH - 1) + " @2"),
        ("version: v1\na: " + "{a: " * 4000, "a" + ".a" * (MAX_DEPTH - 1) + " @2"),
        ("version: v1\na: [" + "1," * MAX_ENTRIES + "]", f"a[{MAX_ENTRIES - 3}] @2"),
        ("#" * (MAX_BYTES + 1), " @None"),
        (r'version: "\UFFFFFFFF"', " @None"),
        (r'version: "\U00110000"', " @None"),
        pytest.param(f"%YAML {'1' * 5000}.1\n--- a", " @None", id="a version of many digits"),
        ("version: v1\naction: []", " @1"),
        ("version: v2\ndeny: []", " @1"),
        ("version: v1\naction: [http]\ndeny: [{where: {country: [NL]}}]", "deny @3"),
    ],
    ids=str,
)
def test_what_is_no_document_is_refused(text: str, fault: str) -> None:
    assert fault in faults(text)


def test_norway_and_times_of_day_are_what_they_seem() -> None:
    document = read_document(
        "version: v2\naction: [http]\ncondition:\n"
        "  where: {country: [NO, no]}\n  when: {time_of_day_after: 08:00}\n"
    )
    assert document.policy("p").where.countries == frozenset({"NO"})
    assert document.policy("p").when.day_starts == time(8)


def in_place(kind: str, key: str, value: Any, version: str = "v2") -> dict[str, Any]:
    return {"version": version, "action": ["http"], "condition": {kind: {key: value}}}


@pytest.mark.parametrize(
    ("kind", "key", "good", "bad"),
    [
        (
            "where",
            "allowed_ip",
            ["192.0.2.1", "192.0.2.0/24", "2001:db8::/32", "0.0.0.0/0", "::/0"],
            ["192.0.2.1/24", "192.0.2.0/255.255.255.0", "192.0.2.0/024", "192.0.2.0/33", "1.2.3",
             "010.1.1.1", "fe80::1%eth0", "::ffff:192.0.2.1", "::ffff:0:0/96", "192.0.2.0/ 24", "",
             "2001:db8::1/32", "192.0.2.0-9", "\u0661.2.3.4", 1, None, ["192.0.2.1"]],
        ),
        ("where", "country", ["NL", "gb", "XK"], ["UK", "NLD", "ZZ", "", "\u017fE", 1]),
        ("where", "asn", [1, 4294967295], [0, -1, 4294967296, "AS1", True, None]),
        ("where", "prefix_list", ["office", "aws-eu.1"], ["Office", "a b", "", "-a", 1]),
        ("who", "email", ["A@b.test", "a+b@c.test"],
         ["a@b.test.", "a@b", "m\u0131ke@b.test", "a@b@c.test", "a\uff20b.test", "", 1]),
        ("who", "domain", ["b.test", "B\u00dcCHER.test".lower()],
         ["b.test.", "*.b.test", ".b.test", "test", "users.noreply.github.com", "b_.test", 1]),
        ("who", "subject", ["google:a@b.test", "github:#1"],
         ["a@b.test", "Google:a@b.test", "google:", "google:#", "google:a", "google:a@b.test ", 1]),
        ("who", "group", ["github:acme/ops", "google:corp.test"], ["acme/ops", ":a", "okta:", 1]),
        ("who", "service_account", ["backup", "ci@corp.test"], ["", "a b", "-", "a\n", 1]),
        ("when", "weekday", ["mon", "sun"], ["Mon", "monday", "", 1]),
    ],
)  # fmt: skip
def test_the_entries_of_lists(kind: str, key: str, good: list[Any], bad: list[Any]) -> None:
    for one in good:
        value = in_place(kind, key, [one])
        assert PolicyDocument.from_json(value).to_json() == value
        assert schema_takes(value)
    for one in bad:
        with pytest.raises(DocumentError) as caught:
            PolicyDocument.from_json(in_place(kind, key, [one]))
        assert caught.value.faults[0].path.startswith(f"condition.{kind}"), one


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("after", ["2026-01-01", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.5-08:00"],
         ["2026-02-30", "01-01-2026", "2026-01-01T00:00:00", "2026-01-01 00:00:00Z", "now", "",
          "2026-01-01T24:00:00Z", "2026-W01-1", 20260101, "9999-12-31T23:59:60Z"]),
        ("time_of_day_after", ["08:00", "23:59:59"],
         ["8:00", "24:00", "08:00:00 UTC", "08:00+01:00", "08:60", "", 8, "\u0660\u0668:00"]),
        ("zone", ["UTC", "Europe/Amsterdam"], ["CET", "Mars/Base", "", "../x", "+01:00", 1]),
    ],
)  # fmt: skip
def test_the_words_for_times(key: str, good: list[Any], bad: list[Any]) -> None:
    for one in good:
        assert PolicyDocument.from_json(in_place("when", key, one))
        assert schema_takes(in_place("when", key, one))
    for one in bad:
        with pytest.raises(DocumentError):
            PolicyDocument.from_json(in_place("when", key, one))


@pytest.mark.parametrize("span", ["8h", "90s", "1h30m", "366d"])
@pytest.mark.parametrize("wrong", ["", "0s", "367d", "8", "8 h", "h", "30m1h", 8])
def test_the_length_of_a_session(span: str, wrong: Any) -> None:
    value = {"version": "v2", "action": ["http"], "condition": {"max_session": span}}
    assert PolicyDocument.from_json(value).max_session
    value["condition"] = {"max_session": wrong}
    with pytest.raises(DocumentError):
        PolicyDocument.from_json(value)


@pytest.mark.parametrize(
    "when",
    [
        {"after": "2026-01-02", "before": "2026-01-02"},
        {"time_of_day_after": "08:00", "time_of_day_before": "08:00:00"},
        {"weekday": []},
    ],
)
def test_times_that_never_come_are_refused(when: dict[str, Any]) -> None:
    with pytest.raises(DocumentError):
        PolicyDocument.from_json({"version": "v2", "action": ["http"], "condition": {"when": when}})


def test_v1_times_are_in_utc_and_say_so() -> None:
    for wrong in ("08:00:00", "08:00:00 CET", "8:00 UTC"):
        with pytest.raises(DocumentError):
            PolicyDocument.from_json(in_place("when", "time_of_day_after", wrong, "v1"))


@pytest.mark.parametrize(
    "rule",
    [{}, {"who": {}}, {"who": {"email": []}}, {"where": {}}, {"when": {}}, {"where": {"asn": []}}],
)
def test_a_deny_rule_says_something(rule: dict[str, Any]) -> None:
    with pytest.raises(DocumentError):
        PolicyDocument.from_json({"version": "v2", "deny": [rule]})


def test_a_document_may_do_nothing_but_deny() -> None:
    document = PolicyDocument.from_json({"version": "v2", "deny": [{"where": {"country": ["US"]}}]})
    assert document.policy("p").actions == frozenset()
    assert schema_takes(document.to_json())


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every mapping in ``value``."""
    found = [path] if isinstance(value, dict) else []
    members = value if isinstance(value, list) else ()
    for key, member in value.items() if isinstance(value, dict) else enumerate(members):
        found += places(member, (*path, key))
    return found


@pytest.mark.parametrize("value", [V1, read_document(V2).to_json()], ids=["v1", "v2"])
def test_an_unknown_key_is_refused_wherever_it_stands(value: dict[str, Any]) -> None:
    for path in places(value):
        if path[-1:] == ("prefix_lists",):
            continue
        changed = copy.deepcopy(value)
        place = changed
        for key in path:
            place = place[key]
        place["surprise"] = ["a"]
        with pytest.raises(DocumentError, match="unknown key"):
            PolicyDocument.from_json(changed)
        assert not schema_takes(changed)


@pytest.mark.parametrize(
    ("part", "path"),
    [
        ({"deny": [{"name": "x", "where": {"country": None}}]}, "deny[0].where"),
        ({"deny": [{"name": "x", "when": {"after": None}}]}, "deny[0].when"),
        ({"deny": [{"name": "x", "who": {"email": None}}]}, "deny[0].who"),
        ({"expect": [{"as": {"groups": []}, "allow": False}]}, "expect[0].as"),
        ({"expect": [{"as": {"groups": [], "email": None}, "allow": False}]}, "expect[0].as"),
    ],
)
def test_what_says_nothing_is_refused_before_it_is_kept(part: dict[str, Any], path: str) -> None:
    with pytest.raises(DocumentError) as refused:
        PolicyDocument.from_json({"version": "v2", "action": ["http"], **part})
    assert path in [fault.path for fault in refused.value.faults]


def test_json_that_is_too_much_is_refused_without_being_walked_into() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    for value in (deep, ["x"] * (MAX_ENTRIES + 1), {1: 2}):
        with pytest.raises(DocumentError):
            PolicyDocument.from_json(value)


def test_a_case_that_fails_says_what_was_expected_and_where() -> None:
    document = read_document(V2.replace("reason: denied-by-rule", "reason: not-on-list"))
    (failure,) = failures(document)
    assert str(failure) == (
        "line 33: expect[0]: expected deny (not-on-list), got deny (denied-by-rule)"
    )
    allowing = read_document(V2.replace("allow: false\n    reason: denied-by-rule", "allow: true"))
    assert "expected allow, got deny (denied-by-rule)" in str(failures(allowing)[0])


@pytest.mark.parametrize(
    "case",
    [
        {"as": {"email": "a@b.test"}},
        {"allow": True},
        {"as": {}, "allow": True},
        {"as": {"email": "a"}, "allow": True},
        {"as": {"email": "a@b.test"}, "allow": "yes"},
        {"as": {"email": "a@b.test"}, "allow": True, "reason": "because"},
        {"as": {"email": "a@b.test"}, "allow": True, "from": "192.0.2.0/24"},
        {"as": {"email": "a@b.test"}, "allow": True, "at": "noon"},
        {"as": {"email": "a@b.test"}, "allow": True, "asn": "64500"},
    ],
)
def test_a_case_that_cannot_be_tried_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(DocumentError) as caught:
        PolicyDocument.from_json({"version": "v2", "action": ["http"], "expect": [case]})
    assert caught.value.faults[0].path.startswith("expect[0]")


def test_the_document_in_the_documentation_holds() -> None:
    page = (ROOT / "docs" / "policies.md").read_text("utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    document = read_document(example)
    assert len(document.expect) == 2
    assert failures(document) == ()


def test_the_faults_in_the_documentation_are_what_is_said() -> None:
    page = (ROOT / "docs" / "policies.md").read_text("utf-8")
    value = "version: v2\naction: [http]\ncondition:\n  where:\n"
    value += "    {allowed_ip: [192.0.2.1/24], country: [UK]}\n\ndeny: [{name: x}]\n"
    with pytest.raises(DocumentError) as caught:
        read_document(value)
    assert "\n".join(map(str, caught.value.faults)) in page


def many_rules(names: int) -> dict[str, Any]:
    """A document with a long list, and rules that all name it."""
    listed = [f"10.{number >> 8}.{number & 255}.0/24" for number in range(2000)]
    rules = [
        {"who": {"email": [f"x{number}@b.test"]}, "where": {"prefix_list": ["long"]}}
        for number in range(names)
    ]
    return {"version": "v2", "deny": rules, "prefix_lists": {"long": listed}}


def test_rules_that_name_a_list_share_its_addresses() -> None:
    rules = PolicyDocument.from_json(many_rules(90)).policy("p").denies
    assert len(rules) == 90
    assert len({id(rule.where.prefixes) for rule in rules if rule.where is not None}) == 1


def test_rules_that_would_each_copy_a_list_are_refused() -> None:
    value = many_rules(30)
    for number, rule in enumerate(value["deny"]):
        rule["where"]["allowed_ip"] = [f"192.0.2.{number}"]
    with pytest.raises(DocumentError, match="come to 60030 networks, of 20000 at most"):
        PolicyDocument.from_json(value)
    value["deny"] = value["deny"][:9]
    assert len(PolicyDocument.from_json(value).denies) == 9


def test_a_document_has_a_hundred_deny_rules_at_most() -> None:
    rules = [{"who": {"email": [f"x{number}@b.test"]}} for number in range(101)]
    value = {"version": "v2", "deny": rules}
    with pytest.raises(DocumentError, match="101 deny rules, of 100 at most"):
        PolicyDocument.from_json(value)
    assert not schema_takes(value)
    assert len(PolicyDocument.from_json({**value, "deny": rules[:100]}).denies) == 100
    assert schema_takes({**value, "deny": rules[:100]})


def test_a_text_has_64_kibibytes_at_most() -> None:
    text = "version: v2\naction: [http]\n#"
    assert read_document(text + "x" * (65_536 - len(text))).actions
    with pytest.raises(DocumentError, match="larger than 64 KiB"):
        read_document(text + "x" * (65_537 - len(text)))


def test_equal_lists_of_different_documents_are_one_object() -> None:
    """Rules are told apart by them; thousands of networks would be compared one by one."""
    text = (
        "version: v2\nprefix_lists: {{{0}: [192.0.2.0/24, 198.51.100.0/24]}}\n"
        "deny:\n- where: {{prefix_list: [{0}]}}\n"
    )
    one, other = (read_document(text.format(name)).policy(name) for name in ("a", "b"))
    assert one.denies[0].where is not None
    assert other.denies[0].where is not None
    assert one.denies[0].where.prefixes is other.denies[0].where.prefixes
