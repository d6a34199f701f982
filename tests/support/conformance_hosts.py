"""Host certificates against OpenSSH's client: the cases.

The client knows ``@cert-authority *.edge.localhost`` and nothing else; ``ssh`` asks for the name
``db.edge.localhost`` unless the case says otherwise.
"""

from ca.formats.ssh_certificate import FOREVER
from ca.formats.ssh_keys import SK_ED25519
from tests.support.conformance import HOST_NAME, PTY, Case, case

_DAY = 24 * 60 * 60
_KNOWN = "is known and matches the"
_UNKNOWN = "host key is known for"
_NAME = "Certificate invalid: name is not a listed principal"
_NAMED = {"kind": "host", "principals": (HOST_NAME,), "extensions": ()}


def _host(group: str, name: str, outcome: str, says: str, **values: object) -> Case:
    return case(f"Hosts: {group}", name, outcome, says, **(_NAMED | values))


HOST_CASES: tuple[Case, ...] = (
    *(
        _host("keys", f"of a key `{key_type}`", "accepts", f"{_KNOWN} {shown}", subject=key_type)
        for key_type, shown in (
            ("ssh-ed25519", "ED25519-CERT"),
            ("ecdsa-sha2-nistp256", "ECDSA-CERT"),
            ("ecdsa-sha2-nistp384", "ECDSA-CERT"),
            ("ecdsa-sha2-nistp521", "ECDSA-CERT"),
            ("ssh-rsa", "RSA-CERT"),
        )
    ),
    _host("keys", f"of a security key, `{SK_ED25519}`", "accepts", f"{_KNOWN} ED25519-SK-CERT",
          subject=SK_ED25519, rule="spec-invalid"),
    _host("keys", "shown with somebody else's private key", "refuses", "incorrect signature",
          proof="other key"),
    _host("keys", "left out: the bare host key", "refuses", _UNKNOWN, proof="no certificate"),
    *(
        _host("CA keys", f"signed by {name}", "accepts", _KNOWN, authority=name)
        for name in ("Ed25519", "Next Ed25519", "P-256", "P-384", "RSA-3072", "RSA-4096")
    ),
    _host("CA keys", "signed by another CA, for instance a socket's user CA", "refuses", _UNKNOWN,
          authority="Other Ed25519"),
    _host("CA keys", "signed by RSA-3072 over SHA-1", "refuses",
          "Certificate signed with disallowed algorithm", authority="RSA-3072 with SHA-1",
          rule="signature-sha1"),
    _host("CA keys", "changed after it was signed", "refuses", "incorrect signature",
          spoil=lambda blob: blob[:-1] + bytes([blob[-1] ^ 1]), rule="signature-invalid"),
    _host("kinds", "a user certificate", "refuses",
          "Certificate invalid: not a host certificate", kind="user", extensions=PTY),
    _host("kinds", "of a kind that does not exist", "refuses",
          "unknown/unsupported certificate type", kind=3, rule="kind-unknown"),
    _host("names", "the name, among others", "accepts", _KNOWN,
          principals=("db", "db2.edge.localhost", HOST_NAME)),
    _host("names", "the name, dialled in capitals", "accepts", _KNOWN,
          dialled=HOST_NAME.upper()),
    _host("names", "another name", "refuses", _NAME, principals=("web.edge.localhost",)),
    _host("names", "the name of the domain above", "refuses", _NAME,
          principals=("edge.localhost",)),
    _host("names", "a name outside of what the CA is trusted for", "refuses", _UNKNOWN,
          principals=("db.example.org",), dialled="db.example.org"),
    _host("names", "a wildcard that fits", "refuses", _NAME, principals=("*.edge.localhost",),
          rule="host-wildcard"),
    _host("names", "the name in capitals", "refuses", _NAME, principals=(HOST_NAME.upper(),),
          rule="principal-no-host-name"),
    _host("names", "with a comma inside", "refuses", _NAME,
          principals=(f"web.edge.localhost,{HOST_NAME}",), rule="principal-comma"),
    _host("names", "none", "accepts", _KNOWN, principals=(), rule="principals-empty"),
    _host("validity", "of 31 days", "accepts", _KNOWN, window=(-300, 31 * _DAY - 300)),
    _host("validity", "of 32 days", "accepts", _KNOWN, window=(-300, 32 * _DAY),
          rule="validity-too-long"),
    _host("validity", "ended a second ago", "refuses", "Certificate invalid: expired",
          window=(-600, -1)),
    _host("validity", "begins in five minutes", "refuses", "Certificate invalid: not yet valid",
          window=(300, 600)),
    _host("validity", "always: from 0 to 2^64-1", "accepts", _KNOWN, window=(0, FOREVER),
          absolute=True, rule="validity-endless"),
    _host("options", "a critical option of users", "refuses",
          "Certificate contains unsupported critical options",
          critical=((b"source-address", b"127.0.0.0/8"),), rule="host-with-options"),
    _host("options", "an unknown critical option", "refuses",
          "Certificate contains unsupported critical options", critical=((b"unheard-of", b"x"),),
          rule="host-with-options"),
    _host("options", "an extension of users", "accepts", _KNOWN, extensions=PTY,
          rule="host-with-extensions"),
    *(
        _host("revocation", f"named by {krl} in `RevokedHostKeys`", "refuses",
              "revoked by file", krl=krl)
        for krl in ("serial", "key id", "key", "fingerprint", "the CA's key")
    ),
    _host("revocation", "not named by a list that names others", "accepts", _KNOWN, krl="others"),
    _host("revocation", "while the list is missing", "refuses",
          "Error checking host key", krl="missing"),
    _host("revocation", "the CA marked `@revoked` in known_hosts", "refuses",
          "REVOKED", krl="@revoked"),
)  # fmt: skip
