"""The document's form as JSON Schema (2020-12), for editors and other programs.

It says what a document looks like. What only reading can tell (host bits, zones, whether a case of
``expect`` holds) is refused by ``policy.document`` alone, which is the one to ask.
"""

from typing import Any

from policy import texts
from policy.countries import COUNTRIES
from policy.document import MAX_DENIES
from policy.parts import MAX_ASN
from policy.types import Assurance, Reason

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string", "minLength": 1}
_PERSON: Schema = {"type": "string", "pattern": "^[^@\\s]+@[^@\\s]+$", "maxLength": 254}
_NAMED: Schema = {"type": "string", "pattern": "^[a-z0-9-]+:."}
_COUNTRY: Schema = {
    "type": "string",
    "enum": sorted(COUNTRIES | {code.lower() for code in COUNTRIES}),
}
_ASN: Schema = {"type": "integer", "minimum": 1, "maximum": MAX_ASN}
_CIDR: Schema = {
    "type": "string",
    "pattern": "^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$",
    "description": "A network without bits set after its prefix, or one address.",
}
_LIST_NAME: Schema = {"type": "string", "pattern": f"^{texts.NAME}$"}
_MOMENT: Schema = {
    "type": "string",
    "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:.]+(Z|[-+][0-9]{2}:[0-9]{2}))?$",
    "description": "A date (its first moment in the zone) or a time with its offset.",
}
_CLOCK: Schema = {"type": "string", "pattern": "^[0-9]{2}:[0-9]{2}(:[0-9]{2})?$"}
_ASSURANCE: Schema = {"enum": [str(word) for word in Assurance]}


def json_schema() -> Schema:
    """A new copy of the schema."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Policy",
        "description": "Who may use a socket, from where and when.",
        "oneOf": [_v1(), _v2()],
    }


def _v1() -> Schema:
    clock = {"type": ["string", "null"], "pattern": "^$|^[0-9]{2}:[0-9]{2}(:[0-9]{2})? UTC$"}
    moment = {**_MOMENT, "type": ["string", "null"], "pattern": f"^$|{_MOMENT['pattern']}"}
    return _object(
        {
            "version": {"const": "v1"},
            "action": _list({"enum": list(texts.ACTIONS)}, least=1),
            "condition": _nullable(
                _object(
                    {
                        "who": _nullable(_lists({"email": _PERSON, "domain": _TEXT})),
                        "where": _nullable(
                            _lists(
                                {"allowed_ip": _CIDR, "country": _COUNTRY, "country_not": _COUNTRY}
                            )
                        ),
                        "when": _nullable(
                            _object(
                                {
                                    "after": moment,
                                    "before": moment,
                                    "time_of_day_after": clock,
                                    "time_of_day_before": clock,
                                }
                            )
                        ),
                    }
                )
            ),
        },
        required=["version", "action"],
    )


def _v2() -> Schema:
    who, where, when = _who(), _where(), _when()
    condition = {
        "who": who,
        "where": where,
        "when": when,
        "assurance": _ASSURANCE,
        "client_proof": {"type": "boolean"},
        "max_session": {"type": "string", "pattern": "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$"},
    }
    deny = _object({"name": _TEXT, "who": who, "where": where, "when": when}, least=1)
    return _object(
        {
            "version": {"const": "v2"},
            "action": _list({"enum": list(texts.ACTIONS)}),
            "condition": _nullable(
                _object({key: _nullable(one) for key, one in condition.items()})
            ),
            "deny": _nullable({**_list(deny), "maxItems": MAX_DENIES}),
            "prefix_lists": _nullable(
                {
                    "type": "object",
                    "propertyNames": _LIST_NAME,
                    "additionalProperties": _list(_CIDR, least=1),
                }
            ),
            "expect": _nullable(_list(_case())),
        },
        required=["version"],
    )


def _who() -> Schema:
    program = {"type": "string", "pattern": f"^{texts.PROGRAM}$"}
    return _lists(
        {
            "email": _PERSON,
            "domain": _TEXT,
            "subject": _NAMED,
            "group": _NAMED,
            "service_account": program,
        }
    )


def _where() -> Schema:
    lists = {
        "allowed_ip": _CIDR,
        "prefix_list": _LIST_NAME,
        "country": _COUNTRY,
        "country_not": _COUNTRY,
        "asn": _ASN,
        "asn_not": _ASN,
    }
    return _lists(lists, least=1)


def _when() -> Schema:
    parts = {
        "after": _MOMENT,
        "before": _MOMENT,
        "time_of_day_after": _CLOCK,
        "time_of_day_before": _CLOCK,
        "weekday": _list({"enum": list(texts.WEEKDAYS)}, least=1),
        "zone": {**_TEXT, "description": "UTC or an IANA name like Europe/Amsterdam."},
    }
    return _object({key: _nullable(part) for key, part in parts.items()})


def _case() -> Schema:
    caller = {
        "email": _PERSON,
        "provider": _LIST_NAME,
        "subject": _TEXT,
        "groups": _list(_NAMED),
        "assurance": _ASSURANCE,
        "service_account": _TEXT,
    }
    parts = {
        "as": _object({key: _nullable(part) for key, part in caller.items()}, least=1),
        "from": _nullable(_TEXT),
        "at": _nullable(_MOMENT),
        "action": _nullable({"enum": list(texts.ACTIONS)}),
        "country": _nullable(_COUNTRY),
        "asn": _nullable({"type": "integer"}),
        "client_proof": _nullable({"type": "boolean"}),
        "allow": {"type": "boolean"},
        "reason": _nullable({"enum": [str(reason) for reason in Reason]}),
        "name": _nullable(_TEXT),
    }
    return _object(parts, required=["as", "allow"])


def _object(properties: Schema, *, required: list[str] | None = None, least: int = 0) -> Schema:
    made: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        made["required"] = required
    return {**made, "minProperties": least} if least else made


def _lists(entries: Schema, *, least: int = 0) -> Schema:
    return _object({key: _nullable(_list(entry, least=least)) for key, entry in entries.items()})


def _list(items: Schema, *, least: int = 0) -> Schema:
    made: Schema = {"type": "array", "items": items}
    return {**made, "minItems": least} if least else made


def _nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}
