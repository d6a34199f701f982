"""``mysocketctl ca``: why a certificate was issued, what the log has, and what it has not."""

import re

import click

from clients.mysocketctl.api import Json, segment
from clients.mysocketctl.commands.ca_log import log
from clients.mysocketctl.commands.ca_reconcile import reconcile
from clients.mysocketctl.commands.ca_revoke import lift, revocations, revoke
from clients.mysocketctl.commands.options import json_option, logged_in
from clients.mysocketctl.errors import GatewayRefused, InvalidInput
from clients.mysocketctl.logged import LoggedCertificate, read_certificate
from clients.mysocketctl.tables import show_json, show_pairs


@click.group()
def ca() -> None:
    """Certificates: why they were issued, and whether they were."""


for _command in (log, reconcile, revoke, revocations, lift):
    ca.add_command(_command)


@ca.command()
@click.argument("certificate", metavar="CERT")
@json_option
@click.pass_context
def explain(context: click.Context, certificate: str, *, as_json: bool) -> None:
    """Say why a certificate was issued: to its holder, or to the owner of its socket.

    CERT is a file with an SSH certificate or a PEM certificate, - for standard input, or a serial
    number.
    """
    given = _certificate_or_serial(certificate)
    serial = given.serial if isinstance(given, LoggedCertificate) else given
    with logged_in(context) as api:
        answer = api.get(f"/ca/certificates/{segment(serial)}")
    if isinstance(given, LoggedCertificate) and not given.is_in(answer.get("certificate")):
        raise GatewayRefused(
            "the gateway issued another certificate under this serial number: "
            "somebody else may have signed this one",
            status=200,
            reason="certificate-different",
        )
    if as_json:
        show_json(answer)
        return
    _show_explanation(answer)


def _certificate_or_serial(text: str) -> LoggedCertificate | str:
    if re.fullmatch(r"[0-9A-Fa-f:]{1,64}", text):
        try:
            return read_certificate(text)
        except InvalidInput:
            return text
    return read_certificate(text)


def _show_explanation(answer: Json) -> None:
    decision = answer.get("decision") or {}
    show_pairs(
        [
            ("certificate", f"{answer.get('kind')} {answer.get('serial')}"),
            ("issued to", answer.get("subject")),
            ("issued at", answer.get("issued_at")),
            ("valid", f"{answer.get('not_before')} to {answer.get('not_after')}"),
            ("key", answer.get("public_key_fingerprint")),
            ("holder proved the key", bool(answer.get("proven"))),
            ("socket", answer.get("socket_id")),
            ("login", answer.get("login")),
            ("from", decision.get("source_ip")),
            ("decision", answer.get("decision_id")),
            ("because", decision.get("reasons")),
            ("policies", decision.get("policy_ids")),
            ("policy version", answer.get("policy_version")),
            ("signed by", answer.get("ca")),
            ("place in the log", answer.get("index")),
        ]
    )
