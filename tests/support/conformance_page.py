"""Writes ``docs/ssh-conformance.md``: ``python -m tests.support.conformance_page``."""

from pathlib import Path

from tests.support.conformance import table
from tests.support.conformance_hosts import HOST_CASES
from tests.support.conformance_users import USER_CASES

PATH = Path(__file__).parents[2] / "docs" / "ssh-conformance.md"

_PAGE = """\
# What OpenSSH makes of SSH certificates

Every line of these tables is a certificate that was made and shown to a real OpenSSH: user
certificates to `sshd`, host certificates to `ssh`, both of version 9.2 (Debian 12). The test suite
does it again on every run, so the tables say what is, not what should be: {users} cases of users
and {hosts} of hosts.

*Our CA* says whether the product issues such a certificate. Where it never does, the name is the
rule of the [linter](ssh-lint.md) that forbids it; several of those certificates work very well with
`sshd`, which is why there is a rule. *And says* is part of what the verifier writes about it, at
`LogLevel DEBUG1` and with `ssh -v`; ⏎ is the end of a line.

What to take from it:

* **A host trusts what its CA signs.** `sshd` accepts certificates without end, for two days, with
  duplicate or unordered options, with serial 0, which no revocation list can name, and key ids that
  break its own log into two lines. Nothing of that is issued here, and another CA in the same
  `TrustedUserCAKeys` is trusted as much as ours.
* **`force-command` does not close forwardings**; they have to be missing, and are.
* **`no-touch-required` needs two to say it**: the certificate and the line of the principal.
  `verify-required` needs one, and means nothing for a plain key.
* **A host certificate without names is good for every host**, for this client at least.
* **A missing or broken `RevokedKeys` file locks everybody out.** Write it before `sshd` is told of
  it, and replace it in one step, as `mysocketctl host sync` does.

## User certificates, seen by `sshd`

`TrustedUserCAKeys` lists every CA key named "signed by" at once, as it does while a CA is rotated.
The principal of the login is `mysocket_ssh_signed` unless the group says otherwise.

{user_table}
## Host certificates, seen by `ssh`

`known_hosts` has `@cert-authority *.edge.localhost` and the keys of the host CAs, and no plain
host key; the name dialled is `db.edge.localhost`.

{host_table}"""


def page() -> str:
    """The whole page."""
    return _PAGE.format(
        users=len(USER_CASES),
        hosts=len(HOST_CASES),
        user_table=table(USER_CASES, "`sshd`"),
        host_table=table(HOST_CASES, "`ssh`"),
    )


if __name__ == "__main__":
    PATH.write_text(page())
