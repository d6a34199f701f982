"""What takes long where rules, lists or logs are large: each account does one of it at a time."""

from idp_gateway.capacity import Place
from idp_gateway.composition import Gateway
from idp_gateway.errors import TooManyAttempts

RETRY_SECONDS = 2


def trial(gateway: Gateway, account_id: str) -> Place:
    """The account's turn to try cases, to explain a decision or to look through the log, until it
    is left.

    Raises:
        TooManyAttempts: the account has its turn already, or too many others have theirs.
    """
    place = gateway.capacity.trials.take(account_id)
    if place is None:
        raise TooManyAttempts(
            "cases are tried, decisions explained or the log looked through already, for you or for"
            " many others; try again soon",
            retry_after=RETRY_SECONDS,
        )
    return place
