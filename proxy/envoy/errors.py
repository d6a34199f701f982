"""What can go wrong between the edge and its Envoy; each with a stable ``reason``."""

from typing import ClassVar


class EnvoyError(Exception):
    """Base of this package's errors."""

    reason: ClassVar[str] = "envoy-error"


class EnvoyMissingError(EnvoyError):
    """The program is not installed."""

    reason = "envoy-missing"


class EnvoyNotReadyError(EnvoyError):
    """Envoy did not report itself live in time."""

    reason = "envoy-not-ready"


class WrongThreadError(EnvoyError):
    """Envoy was to be started from a thread that may end before it does."""

    reason = "envoy-wrong-thread"


class DiscoveryTimeoutError(EnvoyError):
    """Envoy has not acknowledged a revision in time, or is not connected."""

    reason = "envoy-not-answering"


class DiscoveryRejectedError(EnvoyError):
    """Envoy refused a resource; the rest of the revision is in force."""

    reason = "envoy-rejected-configuration"

    def __init__(self, detail: str) -> None:
        super().__init__(f"Envoy refused its configuration: {detail}")
        self.detail = detail
