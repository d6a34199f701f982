"""What counts as one place attempts come from."""

from ipaddress import ip_address

import pytest

from idp_gateway import accounts
from idp_gateway.client_access import Audience
from idp_gateway.composition import Gateway
from idp_gateway.device_codes import MAX_STARTS, start_device_login
from idp_gateway.errors import LoginFailed, TooManyAttempts
from idp_gateway.rates import counted_address


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("::1", "::/64"),
    ],
)
def test_an_ipv6_network_counts_as_one_address(address: str, counted: str) -> None:
    assert counted_address(ip_address(address)) == counted


def test_another_address_of_the_same_network_buys_no_guesses(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "check_password", lambda *_: False)

    def guess(number: int, network: str = "2001:db8::") -> None:
        accounts.authenticate(
            gateway.store,
            email=f"nobody{number}@lab.test",
            password="p",
            source_ip=ip_address(f"{network}{number + 1:x}"),
            now=gateway.clock(),
        )

    for number in range(accounts.MAX_FAILURES_PER_ADDRESS):
        with pytest.raises(LoginFailed):
            guess(number)
    with pytest.raises(TooManyAttempts):
        guess(200)
    with pytest.raises(LoginFailed):
        guess(201, "2001:db8:0:1::")


def test_nor_accounts_nor_device_logins(gateway: Gateway) -> None:
    def sign_up(number: int) -> None:
        accounts.regulate_signups(
            gateway.store, ip_address(f"2001:db8::{number + 1:x}"), gateway.clock()
        )

    def start(number: int) -> None:
        start_device_login(
            gateway.store,
            Audience(),
            source_ip=ip_address(f"2001:db8::{number + 1:x}"),
            now=gateway.clock(),
        )

    for attempt, limit in ((sign_up, accounts.MAX_SIGNUPS_PER_ADDRESS), (start, MAX_STARTS)):
        for number in range(limit):
            attempt(number)
        with pytest.raises(TooManyAttempts):
            attempt(limit)
