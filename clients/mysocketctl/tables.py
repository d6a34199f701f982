"""Tables for people and JSON for programs."""

import json
from collections.abc import Iterable, Sequence

import click
from prettytable import PrettyTable

from clients.mysocketctl.api import Json
from clients.mysocketctl.names import printable


def show_json(document: Json) -> None:
    click.echo(json.dumps(document, indent=2, ensure_ascii=True))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[Json]]) -> None:
    """A left-aligned table; cells are made printable."""
    table = PrettyTable(field_names=list(columns))
    table.align = "l"
    for row in rows:
        table.add_row([cell(value) for value in row])
    click.echo(table.get_string())


def show_pairs(pairs: Iterable[tuple[str, Json]]) -> None:
    """One thing: its fields down the page."""
    table = PrettyTable(field_names=["field", "value"], header=False)
    table.align = "l"
    for name, value in pairs:
        table.add_row([name, cell(value)])
    click.echo(table.get_string())


def counted(number: int, one: str, many: str = "") -> str:
    """``1 case``, ``2 cases``."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def cell(value: Json) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "\n".join(cell(item) for item in value)
    return "" if value is None else printable(str(value), 2000)


SOCKET_COLUMNS = ["socket_id", "dns_name", "type", "port(s)", "cloud authentication", "name"]


def socket_row(socket: dict[str, Json]) -> list[Json]:
    ports = socket.get("socket_tcp_ports")
    return [
        socket.get("socket_id"),
        socket.get("dnsname"),
        socket.get("socket_type"),
        " ".join(str(port) for port in ports) if isinstance(ports, list) else "",
        bool(socket.get("cloud_authentication_enabled")),
        socket.get("name"),
    ]


def show_socket(socket: dict[str, Json]) -> None:
    """A socket with what belongs to it: rules, password, SSH CA."""
    show_table(SOCKET_COLUMNS, [socket_row(socket)])
    if socket.get("protected_socket"):
        show_table(
            ["username", "password"],
            [[socket.get("protected_username"), socket.get("protected_password")]],
        )
    if socket.get("cloud_authentication_enabled"):
        show_table(
            ["Allowed email addresses", "Allowed email domains"],
            [
                [
                    socket.get("cloud_authentication_email_allowed_addressses"),
                    socket.get("cloud_authentication_email_allowed_domains"),
                ]
            ],
        )
    if socket.get("socket_type") == "tls" and socket.get("ssh_ca"):
        click.echo(
            "\nSSH certificate authority of this socket, for TrustedUserCAKeys in sshd_config:"
        )
        click.echo(printable(str(socket["ssh_ca"]), 4000))
        if socket.get("ssh_key_proof_required"):
            click.echo("It certifies a key only for who proves to have it.")
        if isinstance(places := socket.get("ssh_source_addresses"), list):
            named = ", ".join(printable(str(one), 64) for one in places)
            click.echo(f"Where a policy names addresses, sshd has to see people come from: {named}")


TUNNEL_COLUMNS = ["socket_id", "tunnel_id", "tunnel_server", "relay_port", "connected"]


def tunnel_row(socket_id: str, tunnel: dict[str, Json]) -> list[Json]:
    return [
        socket_id,
        tunnel.get("tunnel_id"),
        tunnel.get("tunnel_server"),
        tunnel.get("local_port"),
        bool(tunnel.get("connected")),
    ]
