"""What to put into ``~/.ssh/config`` so that plain ``ssh`` reaches a socket by identity.

Two forms. The original service's has two blocks: the outer ``ssh`` only signs and starts an inner
one, so it needs a terminal. The one-block form signs in ``Match exec`` before the connection, and
works for everything ``ssh`` does.
"""

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from clients.mysocketctl.errors import InvalidInput
from clients.mysocketctl.names import DUMMY_SUFFIX, parse_host_name
from clients.mysocketctl.settings import DEFAULT_API, Settings
from clients.mysocketctl.ssh_keys import KeyChoice

_MODERN = """\
Match host {host} exec "{program} client ssh-keysign{options} --host %n"
    ProxyCommand {program} client tls --host %n
    IdentityFile {key}
    CertificateFile {ssh}/%n-cert.pub
    IdentitiesOnly yes
"""

_ORIGINAL = """\
Host {host}
    ProxyCommand bash -c '{sign} && ssh -tt %r@%h{dummy} >&2 <&1; exit $?'
Host {host}{dummy}
    ProxyCommand {program} client tls --host %h
    IdentityFile {key}
    CertificateFile {ssh}/{name}-cert.pub
    IdentitiesOnly yes
{alias}"""


def recipe(settings: Settings, host: str, choice: KeyChoice | None = None, *, modern: bool) -> str:
    """The block or blocks for ``host``, a name or ``*.domain``. Raises InvalidInput."""
    wildcard = host.startswith("*.")
    name = parse_host_name(host.removeprefix("*."))
    if wildcard and not modern:
        raise InvalidInput("the two-block form is for one host; use --modern for a whole domain")
    program = _program(settings)
    choice = choice or KeyChoice()
    options, ssh = _key_words(choice), _quoted_path(settings.home / ".ssh")
    own = choice.own.expanduser().absolute() if choice.own is not None else None
    return (_MODERN if modern else _ORIGINAL).format(
        host=f"*.{name}" if wildcard else name,
        name=name,
        program=program,
        options=options,
        sign=f"{program} client ssh-keysign{options} --host %h",
        ssh=ssh,
        key=_quoted_path(own) if own is not None else f"{ssh}/{'%n' if modern else name}",
        dummy=DUMMY_SUFFIX,
        alias=f"    HostKeyAlias {name}\n",
    )


def _program(settings: Settings) -> str:
    """This program with the options it was given, as a shell command inside ``ssh_config``."""
    found = shutil.which("mysocketctl") or str(Path(sys.argv[0]).absolute())
    words = [found]
    if settings.api_url != DEFAULT_API:
        words += ["--api", settings.api_url]
    if settings.ca_file is not None:
        words += ["--ca-file", str(Path(settings.ca_file).absolute())]
    return _plain(words)


def _key_words(choice: KeyChoice) -> str:
    """The options of ``ssh-keysign`` that stand for ``choice``, each with a blank before it."""
    words = [f"--identity={choice.own.expanduser().absolute()}"] if choice.own is not None else []
    words += ["--agent-only"] if choice.agent_only else []
    words += ["--confirm"] if choice.confirm else []
    return f" {_plain(words)}" if words else ""


def _plain(words: Sequence[str]) -> str:
    # Quoting differs between ssh_config, sh and the two nested; plain words mean the same in all.
    if any(shlex.quote(word) != word or "%" in word for word in words):
        raise InvalidInput("a path with blanks or quotes does not fit into ssh_config")
    return " ".join(words)


def _quoted_path(path: Path) -> str:
    text = str(path)
    if set(text) & set("\"' \n%"):
        raise InvalidInput(f"{text!r} does not fit into ssh_config")
    return text
