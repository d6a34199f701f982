"""User certificates against sshd: the cases."""

from ca.formats.ssh_certificate import FOREVER, parse_certificate_blob
from ca.formats.ssh_keys import SK_ECDSA, SK_ED25519, USER_PRESENT, USER_VERIFIED
from ca.formats.wire import string
from tests.support.conformance import ALL_PERMITS, EMAIL, KEY_ID, PRINCIPALS, PTY, Case, Pairs, case

_DAY = 24 * 60 * 60
_NO_SUCH = "Failed publickey"
_ACCEPTED = "Accepted publickey"
_PRINCIPAL = "Certificate does not contain an authorized principal"


def _spoiled(blob: bytes) -> bytes:
    return blob[:-1] + bytes([blob[-1] ^ 1])


def _other_principal(blob: bytes) -> bytes:
    """Somebody changes a signed certificate, keeping its length."""
    return blob.replace(b"mysocket_ssh_signed", b"mysocket_ssh_singed")


def _nested(blob: bytes) -> bytes:
    """The certificate with itself in place of the CA's key (CVE-2025-49825)."""
    read = parse_certificate_blob(blob)
    body = read.signed.removesuffix(string(read.signature_key)) + string(blob)
    return body + string(read.signature)


def _forwarding(*options: tuple[bytes, bytes]) -> Pairs:
    return tuple(sorted((*options, (b"permit-port-forwarding", b""))))


KEY_TYPES = (
    *(
        case("Certified keys", f"of a key `{key_type}`", "accepts", says, subject=key_type)
        for key_type, says in (
            ("ssh-ed25519", "ED25519-CERT SHA256:"),
            ("ecdsa-sha2-nistp256", "ECDSA-CERT SHA256:"),
            ("ecdsa-sha2-nistp384", "ECDSA-CERT SHA256:"),
            ("ecdsa-sha2-nistp521", "ECDSA-CERT SHA256:"),
            ("ssh-rsa", "RSA-CERT SHA256:"),
            (SK_ED25519, "ED25519-SK-CERT SHA256:"),
            (SK_ECDSA, "ECDSA-SK-CERT SHA256:"),
        )
    ),
    case(
        "Certified keys", "of an RSA key of 1024 bits", "accepts", _ACCEPTED,
        subject="ssh-rsa, 1024 bits", rule="subject-key-weak",
    ),
    case(
        "Certified keys", "shown with somebody else's private key", "refuses",
        _NO_SUCH, proof="other key",
    ),
    case(
        "Certified keys", "left at home: the bare key of a valid certificate", "refuses",
        _NO_SUCH, proof="no certificate",
    ),
    case(
        "Certified keys", "left at home: the CA's own key", "refuses", _NO_SUCH,
        proof="the CA's key",
    ),
)  # fmt: skip

_UNTOUCHED: Pairs = ((b"no-touch-required", b""), *PTY)

SECURITY_KEYS = (
    *(one
    for key_type in (SK_ED25519, SK_ECDSA)
    for one in (
        case(
            "Security keys", f"`{key_type}`, not touched", "refuses",
            "user presence (authenticator touch) requirement not met", subject=key_type, flags=0,
        ),
        case(
            "Security keys", f"`{key_type}`, not touched, `no-touch-required`", "refuses",
            "user presence (authenticator touch) requirement not met", subject=key_type, flags=0,
            extensions=_UNTOUCHED, rule="touch-not-required",
        ),
        case(
            "Security keys",
            f"`{key_type}`, not touched, `no-touch-required` here and beside the principal",
            "accepts", _ACCEPTED, subject=key_type, flags=0, extensions=_UNTOUCHED,
            server="untouched principal", rule="touch-not-required",
        ),
        case(
            "Security keys", f"`{key_type}`, not touched, `no-touch-required` beside the principal",
            "refuses", "user presence (authenticator touch) requirement not met",
            subject=key_type, flags=0, server="untouched principal",
        ),
        case(
            "Security keys", f"`{key_type}`, touched without PIN, `verify-required`", "refuses",
            "user verification requirement not met", subject=key_type,
            critical=((b"verify-required", b""),),
        ),
        case(
            "Security keys", f"`{key_type}`, touched with PIN, `verify-required`", "accepts",
            _ACCEPTED, subject=key_type, critical=((b"verify-required", b""),),
            flags=USER_PRESENT | USER_VERIFIED,
        ),
    )),
    case(
        "Security keys", "`verify-required` for a plain key", "accepts", _ACCEPTED,
        critical=((b"verify-required", b""),), rule="verify-required-without-security-key",
    ),
)  # fmt: skip

AUTHORITIES = (
    *(
        case("CA keys", f"signed by {name}", "accepts", says, authority=name)
        for name, says in (
            ("Ed25519", "CA ED25519 SHA256:"),
            ("Next Ed25519", "CA ED25519 SHA256:"),
            ("P-256", "CA ECDSA SHA256:"),
            ("P-384", "CA ECDSA SHA256:"),
            ("RSA-3072", "CA RSA SHA256:"),
            ("RSA-4096", "CA RSA SHA256:"),
        )
    ),
    case(
        "CA keys", "signed by P-521", "accepts", "CA ECDSA SHA256:", authority="P-521",
        rule="no-signer",
    ),
    case(
        "CA keys", "signed by RSA-2048", "accepts", "CA RSA SHA256:", authority="RSA-2048",
        rule="signature-key-weak",
    ),
    case(
        "CA keys", "signed by RSA-3072 over SHA-256", "accepts", "CA RSA SHA256:",
        authority="RSA-3072 with SHA-256", rule="no-signer",
    ),
    case(
        "CA keys", "signed by RSA-3072 over SHA-1", "refuses",
        "certificate signature algorithm ssh-rsa: signature algorithm not supported",
        authority="RSA-3072 with SHA-1", rule="signature-sha1",
    ),
    *(
        case(
            "CA keys", f"signed by a security key, `{name}`", "accepts", "-SK SHA256:",
            authority=name, rule="no-signer",
        )
        for name in (SK_ED25519, SK_ECDSA)
    ),
    case(
        "CA keys", "signed by the CA of another socket", "refuses", _NO_SUCH,
        authority="Other Ed25519",
    ),
    case(
        "CA keys", "signed by the host CA", "refuses", _NO_SUCH, authority="Other P-256",
    ),
    case(
        "CA keys", "changed after it was signed: a principal", "refuses",
        "userauth_pubkey: parse key: incorrect signature", spoil=_other_principal,
        rule="signature-invalid",
    ),
    case(
        "CA keys", "changed after it was signed: the signature", "refuses",
        "userauth_pubkey: parse key: incorrect signature", spoil=_spoiled,
        rule="signature-invalid",
    ),
    case(
        "CA keys", "signed by a certificate instead of a key", "refuses",
        "userauth_pubkey: parse key: invalid certificate signing key", spoil=_nested,
        rule="signature-key-is-certificate",
    ),
)  # fmt: skip


KINDS = (
    case("Kinds", "a user certificate", "accepts", _ACCEPTED),
    case(
        "Kinds", "a host certificate", "refuses",
        "Certificate invalid: not a user certificate",
        kind="host", principals=("root",), extensions=(), server="login names",
    ),
    case(
        "Kinds", "of a kind that does not exist", "refuses",
        "userauth_pubkey: parse key: unknown/unsupported certificate type", kind=3,
        rule="kind-unknown",
    ),
)  # fmt: skip

_MANY = tuple(f"p{number}" for number in range(255))
_USERS = "Principals, where `AuthorizedPrincipalsFile` lists `mysocket_ssh_signed`"
_LOGINS = "Principals, where the principal is the login name"

PRINCIPALS_LISTED = (
    case(_USERS, "the listed one among others", "accepts", _ACCEPTED),
    case(_USERS, "the listed one alone", "accepts", _ACCEPTED, principals=PRINCIPALS[1:]),
    case(_USERS, "256 of them, the listed one last", "accepts", _ACCEPTED,
         principals=(*_MANY, PRINCIPALS[1])),
    case(_USERS, "257 of them", "refuses", "userauth_pubkey: parse key: invalid format",
         principals=(*_MANY, EMAIL, PRINCIPALS[1]), rule="principals-too-many"),
    case(_USERS, "none", "refuses", _PRINCIPAL, principals=(),
         rule="principals-empty"),
    case(_USERS, "only others", "refuses", _PRINCIPAL, principals=(EMAIL,)),
    case(_USERS, "the login name, which is not listed", "refuses", _PRINCIPAL,
         principals=("root",)),
    case(_USERS, "the listed one in capitals", "refuses", _PRINCIPAL,
         principals=("MYSOCKET_SSH_SIGNED",)),
    case(_USERS, "the listed one with something behind it", "refuses", _PRINCIPAL,
         principals=("mysocket_ssh_signed2",)),
    case(_USERS, "the listed one cut short", "refuses", _PRINCIPAL,
         principals=("mysocket_ssh",)),
    case(_USERS, "with a comma inside", "refuses", _PRINCIPAL,
         principals=("bob,mysocket_ssh_signed",), rule="principal-comma"),
    case(_USERS, "a wildcard", "refuses", _PRINCIPAL, principals=("*",),
         rule="principal-wildcard"),
    case(_USERS, "an empty one", "refuses", _PRINCIPAL, principals=("",), rule="principal-empty"),
    case(_USERS, "with a line end inside", "refuses", _PRINCIPAL,
         principals=("x\nmysocket_ssh_signed",), rule="principal-odd"),
    case(_USERS, "with a blank behind it", "refuses", _PRINCIPAL,
         principals=("mysocket_ssh_signed ",), rule="principal-odd"),
    case(_USERS, "the listed one twice", "accepts", _ACCEPTED,
         principals=(PRINCIPALS[1], PRINCIPALS[1]), rule="principal-duplicate"),
)  # fmt: skip

PRINCIPALS_LOGIN = (
    case(_LOGINS, "the login name", "accepts", _ACCEPTED, server="login names",
         principals=(EMAIL, "root")),
    case(_LOGINS, "without the login name", "refuses",
         "Certificate invalid: name is not a listed principal", server="login names"),
    case(_LOGINS, "none", "refuses", "Certificate lacks principal list", server="login names",
         principals=(), rule="principals-empty"),
    case(_LOGINS, "a wildcard", "refuses", "Certificate invalid: name is not a listed principal",
         server="login names", principals=("*",), rule="principal-wildcard"),
    case(_LOGINS, "with a comma inside", "refuses",
         "Certificate invalid: name is not a listed principal", server="login names",
         principals=("bob,root",), rule="principal-comma"),
)  # fmt: skip

VALIDITY = (
    case("Validity", "from five minutes ago to in five minutes", "accepts", _ACCEPTED),
    case("Validity", "from this second", "accepts", _ACCEPTED, window=(0, 600)),
    case("Validity", "of a whole day", "accepts", _ACCEPTED, window=(-300, _DAY - 300)),
    case("Validity", "of two days", "accepts", _ACCEPTED, window=(-300, 2 * _DAY),
         rule="validity-too-long"),
    case("Validity", "ended a second ago", "refuses", "Certificate invalid: expired",
         window=(-600, -1)),
    case("Validity", "ends this very second", "refuses", "Certificate invalid: expired",
         window=(-600, 0)),
    case("Validity", "begins in five minutes", "refuses", "Certificate invalid: not yet valid",
         window=(300, 600)),
    case("Validity", "always: from 0 to 2^64-1", "accepts", _ACCEPTED, window=(0, FOREVER),
         absolute=True, rule="validity-endless"),
    case("Validity", "ends before it begins", "refuses", "Certificate invalid: not yet valid",
         window=(300, -300), rule="validity-empty"),
    case("Validity", "ends when it begins", "refuses", "Certificate invalid: expired",
         window=(0, 0), rule="validity-empty"),
    case("Validity", "ends in 1970", "refuses", "Certificate invalid: expired", window=(0, 600),
         absolute=True, rule="validity-no-start"),
)  # fmt: skip

_FORCED = ((b"force-command", b"echo forced"),)

CRITICAL_OPTIONS = (
    case("Critical options", "`force-command`", "accepts", "key options: command", critical=_FORCED,
         wish="forced command"),
    case("Critical options", "`force-command` with forwarding permitted", "accepts",
         "key options: command port-forwarding", critical=_FORCED, extensions=_forwarding(),
         wish="forwarding", rule="force-command-with-forwarding"),
    case("Critical options", "`force-command` without forwarding permitted", "accepts",
         "key options: command", critical=_FORCED, wish="forwarding", works=False),
    case("Critical options", "`force-command` without a command", "refuses",
         "Unable to parse \"force-command\" section",
         critical=((b"force-command", b""),), rule="option-value-missing"),
    case("Critical options", "`force-command` other than the principal's own", "refuses",
         "forced command options do not match", server="forced principal", critical=_FORCED),
    case("Critical options", "`force-command` and the principal's own are the same", "accepts",
         "key options: command", server="forced principal",
         critical=((b"force-command", b"echo listed"),), wish="listed command"),
    case("Critical options", "no `force-command`, but the principal has one", "accepts",
         "key options: command", server="forced principal", wish="listed command"),
    case("Critical options", "`source-address` with this address", "accepts", _ACCEPTED,
         critical=((b"source-address", b"127.0.0.1/32"),)),
    case("Critical options", "`source-address` with this network among others", "accepts",
         _ACCEPTED, critical=((b"source-address", b"192.0.2.0/24,127.0.0.0/8,2001:db8::/32"),)),
    case("Critical options", "`source-address` with other networks", "refuses",
         "not from a permitted source address",
         critical=((b"source-address", b"192.0.2.0/24,2001:db8::/32"),)),
    case("Critical options", "`source-address` with the unspecified networks", "accepts",
         _ACCEPTED, critical=((b"source-address", b"0.0.0.0/0,::/0"),)),
    case("Critical options", "`source-address` that is no network", "refuses",
         "Certificate source-address contents invalid",
         critical=((b"source-address", b"localhost"),), rule="source-address-invalid"),
    case("Critical options", "`source-address` with bits set behind its network", "refuses",
         "Certificate source-address contents invalid",
         critical=((b"source-address", b"127.0.0.1/8"),), rule="source-address-invalid"),
    case("Critical options", "`source-address` without a network", "refuses",
         "Unable to parse \"source-address\" section",
         critical=((b"source-address", b""),), rule="option-value-missing"),
    case("Critical options", "both: a command and a network", "accepts", "key options: command",
         critical=(*_FORCED, (b"source-address", b"127.0.0.0/8")), wish="forced command"),
    case("Critical options", "unknown", "refuses",
         "Certificate critical option \"unheard-of\" is not supported",
         critical=((b"unheard-of", b"x"),), rule="option-unknown"),
    case("Critical options", "unknown, with a domain", "refuses",
         "Certificate critical option \"decision@mysocket.io\" is not supported",
         critical=((b"decision@mysocket.io", b"d1"),), rule="option-unknown"),
    case("Critical options", "an extension among the critical options", "refuses",
         "Certificate critical option \"permit-pty\" is not supported",
         critical=((b"permit-pty", b""),), rule="option-unknown"),
    case("Critical options", "the same twice", "refuses", "multiple force-command",
         critical=_FORCED * 2, rule="option-duplicate"),
    case("Critical options", "out of order", "accepts", "key options: command",
         critical=((b"source-address", b"127.0.0.0/8"), *_FORCED), wish="forced command",
         rule="options-unordered"),
)  # fmt: skip

EXTENSIONS = (
    case("Extensions", "none", "accepts", _ACCEPTED, extensions=()),
    *(
        case("Extensions", f"none, and somebody asks for: {wish}", "accepts", _ACCEPTED,
             extensions=(), wish=wish, works=False)
        for wish in ("terminal", "forwarding", "agent")
    ),
    *(
        case("Extensions", f"`{name}` alone", "accepts", f"key options: {option}",
             extensions=((name.encode(), b""),), wish=wish)
        for name, option, wish in (
            ("permit-pty", "pty", "terminal"),
            ("permit-port-forwarding", "port-forwarding", "forwarding"),
            ("permit-agent-forwarding", "agent-forwarding", "agent"),
            ("permit-X11-forwarding", "x11-forwarding", "command"),
            ("permit-user-rc", "user-rc", "command"),
        )
    ),
    case("Extensions", "all five, as `ssh-keygen -s` gives", "accepts",
         "key options: agent-forwarding port-forwarding pty user-rc x11-forwarding",
         extensions=ALL_PERMITS, wish="terminal"),
    case("Extensions", "`decision@mysocket.io` of ours", "accepts", "key options: pty",
         extensions=((b"decision@mysocket.io", b"0b7a2f04 7"), *PTY), wish="terminal"),
    case("Extensions", "unknown, without a domain", "accepts",
         "Certificate extension \"permit-everything\" is not supported",
         extensions=((b"permit-everything", b""), *PTY), rule="extension-unknown"),
    case("Extensions", "a flag with a value", "refuses",
         "Certificate option \"permit-pty\" corrupt (extra data)",
         extensions=((b"permit-pty", b"yes"),), rule="flag-with-value"),
    case("Extensions", "the same twice", "accepts", "key options: pty", extensions=PTY * 2,
         rule="option-duplicate"),
    case("Extensions", "out of order", "accepts", "key options: port-forwarding pty",
         extensions=(*PTY, (b"permit-port-forwarding", b"")), wish="forwarding",
         rule="options-unordered"),
)  # fmt: skip

IDENTITY = (
    case("Serial and key id", "the greatest serial", "accepts",
         "(serial 18446744073709551615) CA ED25519", serial=2**64 - 1),
    case("Serial and key id", "serial 1", "accepts", "(serial 1) CA ED25519", serial=1),
    case("Serial and key id", "serial 0", "accepts", "(serial 0) CA ED25519", serial=0,
         rule="serial-zero"),
    case("Serial and key id", "e-mail, decision and policy version", "accepts",
         f"ID {KEY_ID} (serial"),
    case("Serial and key id", "a key id of 320 characters", "accepts",
         f"ID {'a' * 320} (serial", key_id="a" * 320),
    case("Serial and key id", "no key id", "accepts", "ID  (serial", key_id="",
         rule="key-id-empty"),
    case("Serial and key id", "a key id with a line end", "accepts",
         "ID x\nAccepted (serial", key_id="x\nAccepted", rule="key-id-odd"),
    case("Serial and key id", "something in the reserved field", "accepts", _ACCEPTED,
         reserved=b"x", rule="reserved-not-empty"),
    case("Serial and key id", "bytes behind the end", "refuses",
         "userauth_pubkey: parse key: invalid format", spoil=lambda blob: blob + b"\0",
         rule="certificate-malformed"),
    case("Serial and key id", "cut in the middle", "refuses", "userauth_pubkey: parse key",
         spoil=lambda blob: blob[: len(blob) // 2], rule="certificate-malformed"),
)  # fmt: skip

REVOCATION = (
    *(
        case("Revocation", f"named by {krl} in `RevokedKeys`", "refuses",
             "revoked by file", krl=krl)
        for krl in ("serial", "a range of serials", "key id", "key", "fingerprint",
                    "the CA's key")
    ),
    case("Revocation", "not named by a list that names others", "accepts", _ACCEPTED,
         krl="others"),
    case("Revocation", "whose serial another CA revoked", "accepts", _ACCEPTED, krl="another CA"),
    case("Revocation", "serial 0, with a list that names serial 1", "accepts", _ACCEPTED,
         serial=0, krl="serial 1", rule="serial-zero"),
    case("Revocation", "while the list is empty", "accepts", _ACCEPTED, krl="nothing"),
    case("Revocation", "while the list is missing", "refuses", "Error checking authentication key",
         krl="missing"),
    case("Revocation", "while the list is cut short", "refuses",
         "Error checking authentication key", krl="cut short"),
)  # fmt: skip

USER_CASES: tuple[Case, ...] = (
    *KEY_TYPES,
    *SECURITY_KEYS,
    *AUTHORITIES,
    *KINDS,
    *PRINCIPALS_LISTED,
    *PRINCIPALS_LOGIN,
    *VALIDITY,
    *CRITICAL_OPTIONS,
    *EXTENSIONS,
    *IDENTITY,
    *REVOCATION,
)
