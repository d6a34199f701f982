"""Whether a public key is strong enough to be certified, whatever envelope it came in.

Only what can be seen from the public half: size, exponent, and the families of keys whose private
half others can compute.
"""

from math import gcd, isqrt

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from ca.errors import KeyWeakError

MIN_SUBJECT_RSA_BITS = 2048
"""The original clients send RSA-2048; NIST SP 800-131A allows it to the end of 2030."""
MAX_RSA_BITS = 8192
"""Above this a verifier pays more than the key is worth."""

_MIN_EXPONENT = 65537
_FERMAT_ROUNDS = 64
_SMALL_PRIMES = tuple(
    candidate
    for candidate in range(3, 752, 2)
    if all(candidate % divisor for divisor in range(3, isqrt(candidate) + 1, 2))
)
_SMALL_PRIME_PRODUCT = 1
for _prime in _SMALL_PRIMES:
    _SMALL_PRIME_PRODUCT *= _prime


def _powers_of_65537(prime: int) -> frozenset[int]:
    powers, power = {1}, 65537 % prime
    while power not in powers:
        powers.add(power)
        power = power * 65537 % prime
    return frozenset(powers)


_ROCA_RESIDUES = tuple((prime, _powers_of_65537(prime)) for prime in _SMALL_PRIMES if prime <= 167)

_ED25519_SMALL_ORDER = frozenset(
    int.from_bytes(bytes.fromhex(text), "little")
    for text in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    )
)
"""The y coordinates of the eight points of order 8 or less (RFC 7748 §6, RFC 8032 §5.1)."""
_ED25519_FIELD = 2**255 - 19


def check_rsa(key: rsa.RSAPublicKey, *, min_bits: int = MIN_SUBJECT_RSA_BITS) -> None:
    """Refuse an RSA key that is short, oversized, or of a family known to be factored.

    Raises:
        KeyWeakError: with what is wrong.
    """
    if not min_bits <= key.key_size <= MAX_RSA_BITS:
        raise KeyWeakError(f"an RSA key has {min_bits} to {MAX_RSA_BITS} bits, not {key.key_size}")
    numbers = key.public_numbers()
    if numbers.e < _MIN_EXPONENT or numbers.e.bit_length() > 64:
        raise KeyWeakError("an RSA key's exponent is 65537 or a little more")
    if numbers.n % 2 == 0 or gcd(numbers.n, _SMALL_PRIME_PRODUCT) != 1:
        raise KeyWeakError("the RSA modulus has a small factor")
    if all(numbers.n % prime in residues for prime, residues in _ROCA_RESIDUES):
        raise KeyWeakError("the RSA key comes from a broken generator (ROCA, CVE-2017-15361)")
    if _has_close_factors(numbers.n):
        raise KeyWeakError("the RSA modulus is a product of two close primes (CVE-2022-26320)")


def check_ed25519(key: ed25519.Ed25519PublicKey) -> None:
    """Refuse the points for which anybody can make signatures.

    Raises:
        KeyWeakError: the key is a point of small order.
    """
    y = int.from_bytes(key.public_bytes_raw(), "little") & (2**255 - 1)
    if y % _ED25519_FIELD in _ED25519_SMALL_ORDER:
        raise KeyWeakError("the Ed25519 key is a point of small order")


def _has_close_factors(modulus: int) -> bool:
    """A few rounds of Fermat's method, enough for primes that share their upper half."""
    middle = isqrt(modulus)
    if middle * middle < modulus:
        middle += 1
    for candidate in range(middle, middle + _FERMAT_ROUNDS):
        square = candidate * candidate - modulus
        if isqrt(square) ** 2 == square:
            return True
    return False
