"""How serial numbers are spelled."""


def as_kept(serial: str) -> str:
    """A serial number as the store spells it, whoever printed it.

    ``openssl x509 -serial`` prints upper-case hex with a leading zero to an even number of digits,
    ``openssl x509 -text`` puts colons between bytes. What is no serial number stays none.
    """
    return serial.replace(":", "").lower().lstrip("0")
