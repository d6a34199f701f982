"""How serial numbers are spelled."""

NONE = "0"
"""The serial number no certificate has. Not empty, which passes for "not asked for" in places."""


def as_kept(serial: str) -> str:
    """A serial number as the store spells it, whoever printed it.

    ``openssl x509 -serial`` prints upper-case hex with a leading zero to an even number of digits,
    ``openssl x509 -text`` puts colons between bytes. Never empty: what has no digit but zeros is
    ``NONE``.
    """
    return serial.replace(":", "").lower().lstrip("0") or NONE
