"""Keys of the CAs, each made and found again in the place the settings name for its purpose.

A key stays where it was made: changing a setting counts from the next generation on.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from threading import Lock

from cryptography import x509
from cryptography.hazmat.primitives.serialization import ssh

from ca import signers
from ca.ca_keys import CaAlgorithm, CaPrivateKey, CaPublicKey
from ca.errors import KeyStoreError
from ca.keybox import KeyBox
from ca.signers.base import HeldKey, Signer, SignerBackend, SignerOptions
from ca.signers.probe import check_signs
from idp_gateway.errors import SettingsError
from idp_gateway.records import CaGenerationRecord
from idp_gateway.settings import CaSettings, Settings

FILE = "file"

_MOST_OPEN = 4096
"""Signers kept open: a socket's CA is used again and again while somebody works through it."""

IDLE_SECONDS = 900.0
"""An open signer nobody used for so long is let go, with the key it may hold: another gateway may
have ended its generation since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeKey:
    """A new key: its signer, and what its ``CaGenerationRecord`` keeps of it."""

    signer: Signer
    backend: str
    """For ``CaGenerationRecord.signer``."""
    private_sealed: bytes | None = field(default=None, repr=False)
    key_reference: str = ""


class Signing:
    """Makes, opens and destroys the keys of generations; may be used from several threads."""

    def __init__(
        self, settings: Settings, box: KeyBox, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Reach for nothing yet but the built-in and installed backends the settings name.

        Raises:
            SettingsError: a signer of that name does not exist.
        """
        self._settings = settings.ca
        self._options = _options(settings.ca, box)
        self._backends: dict[str, SignerBackend] = {}
        self._monotonic = monotonic
        self._open: OrderedDict[tuple[str, int, str], tuple[Signer, float]] = OrderedDict()
        self._lock = Lock()
        try:
            for name in settings.ca.signers:
                self._backend(name)
        except KeyStoreError as error:
            raise SettingsError(f"ca: {error}") from error

    def make(self, ca_id: str, *, taken: Collection[str] = ()) -> MadeKey:
        """A new key for a CA, in the place and of the algorithm its purpose has in the settings.

        ``taken``: key references of every generation there is; an agent's keys are not made but
        chosen, and no two generations may have the same.

        Raises:
            ca.errors.IssuanceError: the place is out of reach, or has no key to give.
        """
        name, algorithm = _place(self._settings, ca_id)
        signer, held = self._backend(name).create(ca_id, algorithm, taken=taken)
        return _made(name, signer, held)

    def adopt(self, ca_id: str, key: CaPrivateKey) -> MadeKey:
        """Take over a key of before there were generations, sealed anew.

        Raises:
            ca.errors.SubjectKeyError: the key is too weak for a CA.
        """
        signer, held = signers.SealedKeys(box=self._options.box).adopt(ca_id, key)
        return _made(FILE, signer, held)

    def open(self, record: CaGenerationRecord) -> Signer:
        """The signer of a generation; open ones are kept.

        Raises:
            ca.errors.KeyStoreError: the key is gone, does not open, or is not the generation's.
            ca.errors.IssuanceError: the place is out of reach.
        """
        key = (record.ca_id, record.generation, record.key_id)
        with self._lock:
            if key in self._open:
                signer, _ = self._open.pop(key)
                self._open[key] = signer, self._monotonic()
                return signer
        signer = self._backend(record.signer).load(_held(record))
        if signer.public_key != _public_key(record):
            raise KeyStoreError(f"the key kept for {record.ca_id} is not its generation's")
        with self._lock:
            self._open[key] = signer, self._monotonic()
            self._let_go()
        return signer

    def _let_go(self) -> None:
        """Drop what was not used for long, and more than may be kept; longest unused first."""
        idle = self._monotonic() - IDLE_SECONDS
        for key, (_, used) in list(self._open.items()):
            if used > idle and len(self._open) <= _MOST_OPEN:
                return
            del self._open[key]

    def give_back(self, record: CaGenerationRecord) -> None:
        """Undo ``make`` for a record that did not come to be a generation.

        Raises:
            ca.errors.IssuanceError: the place is out of reach.
        """
        self._backend(record.signer).give_back(_held(record))

    def destroy(self, record: CaGenerationRecord) -> None:
        """Make a generation's key unusable; the caller drops ``private_sealed`` from its row.

        Raises:
            ca.errors.IssuanceError: the place is out of reach.
        """
        with self._lock:
            self._open.pop((record.ca_id, record.generation, record.key_id), None)
        self._backend(record.signer).destroy(_held(record))

    def try_out(self, ca_id: str, *, taken: Collection[str] = ()) -> MadeKey:
        """What ``make`` would do now; the key is given back at once.

        Raises:
            ca.errors.IssuanceError: the place is out of reach, or has no key to give.
        """
        name, algorithm = _place(self._settings, ca_id)
        backend = self._backend(name)
        signer, held = backend.create(ca_id, algorithm, taken=taken)
        try:
            return _made(name, signer, held)
        finally:
            backend.give_back(held)

    def close(self) -> None:
        """Let go of tokens and agents; a later question takes them up again."""
        with self._lock:
            backends = tuple(self._backends.values())
        for backend in backends:
            backend.close()

    def _backend(self, name: str) -> SignerBackend:
        with self._lock:
            if name not in self._backends:
                self._backends[name] = _factory(name)(self._options)
            return self._backends[name]


def _made(name: str, signer: Signer, held: HeldKey) -> MadeKey:
    check_signs(signer)
    return MadeKey(
        signer=signer,
        backend=name,
        private_sealed=held.sealed,
        key_reference=held.reference,
    )


def _held(record: CaGenerationRecord) -> HeldKey:
    return HeldKey(name=record.ca_id, reference=record.key_reference, sealed=record.private_sealed)


def _public_key(record: CaGenerationRecord) -> CaPublicKey:
    try:
        if record.public.startswith("-----BEGIN"):
            return _ca_key(x509.load_pem_x509_certificate(record.public.encode()).public_key())
        return _ca_key(ssh.load_ssh_public_key(record.public.encode()))
    except ValueError as error:
        raise KeyStoreError(f"the public half kept for {record.ca_id} is unreadable") from error


def _ca_key(key: object) -> CaPublicKey:
    if not isinstance(key, CaPublicKey):
        raise KeyStoreError("no CA has a key of this kind")
    return key


def _place(settings: CaSettings, ca_id: str) -> tuple[str, CaAlgorithm]:
    """Signer and algorithm for a CA id: the word before the colon names its purpose."""
    places = {
        "ssh-user": (settings.user_signer, settings.user_algorithm),
        "ssh-host": (settings.host_signer, settings.host_algorithm),
        "ssh-tunnel": (settings.tunnel_signer, settings.tunnel_algorithm),
        "x509-issuing": (settings.x509_signer, settings.x509_algorithm),
    }
    return places[ca_id.partition(":")[0]]


def _options(settings: CaSettings, box: KeyBox) -> SignerOptions:
    return SignerOptions(
        box=box,
        pkcs11_module=settings.pkcs11_module,
        pkcs11_token=settings.pkcs11_token,
        pkcs11_pin_file=settings.pkcs11_pin_file,
        agent_socket=settings.agent_socket,
        extra=settings.options,
    )


def _factory(name: str) -> signers.BackendFactory:
    if name in signers.BUILT_IN:
        return signers.BUILT_IN[name]
    for entry in entry_points(group=signers.ENTRY_POINTS, name=name):
        factory: signers.BackendFactory = entry.load()
        return factory
    # Also for a generation whose signer was installed when its key was made.
    raise KeyStoreError(f"no signer {name!r} is installed")
