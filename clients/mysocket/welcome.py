"""What ``up`` prints when everything is ready: where to look first and what to type next."""

import shutil
import sys
from pathlib import Path

from clients.mysocket.configuration import Stack
from clients.mysocket.first_account import FirstAccount
from clients.mysocket.layout import Layout

_TEXT = """
Ready. Open this page and log in; it shows who you are:

    {url}
    email     {email}
    password  {password}

Its certificate comes from this machine's own authority. Trust {ca} in your
browser, or see the page with: curl --cacert {ca} {url}

To publish something of your own, tell the client where the gateway is (in another terminal):

    export MYSOCKET_API={api}
    export MYSOCKET_CA_FILE={ca}
{path}    mysocketctl login --email {email}

A private web app, for the addresses you list:

    python3 -m http.server 8000 --bind 127.0.0.1
    mysocketctl connect --port 8000 --name files --allowed_email_addresses {email}

A private sshd: create a socket, let sshd trust its certificate authority, connect it:

    mysocketctl socket create --name server --type tls --allowed_email_addresses {email}
    # the printed authority goes into /etc/ssh/mysocket_ca.pub, and into sshd_config:
    #   TrustedUserCAKeys /etc/ssh/mysocket_ca.pub
    #   AuthorizedPrincipalsFile /etc/ssh/principals/%u      (its line: {email})
    mysocketctl tunnel create --socket_id SOCKET_ID
    mysocketctl tunnel connect --socket_id SOCKET_ID --tunnel_id TUNNEL_ID --port 22
    mysocketctl client ssh-config --modern --host '*.{edge_domain}' >> ~/.ssh/config
    ssh LOGIN@DNS_NAME

Logs are in {logs}. Stop with ^C or: {program} down --state {state}
"""


def welcome(layout: Layout, stack: Stack, account: FirstAccount) -> str:
    """The whole text; holds the password."""
    programs = Path(sys.executable).parent
    on_path = shutil.which("mysocketctl") is not None
    return _TEXT.format(
        url=account.url,
        email=account.email,
        password=account.password or "(its file was removed; nobody knows it)",
        ca=layout.authority,
        api=stack.base_url,
        path="" if on_path else f"    export PATH={programs}:$PATH\n",
        edge_domain=stack.edge_domain,
        logs=layout.logs,
        program="mysocket" if on_path else programs / "mysocket",
        state=layout.state,
    )
