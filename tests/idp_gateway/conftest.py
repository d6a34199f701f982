"""A gateway on a database of its own, under a clock the test turns, and its API in process."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from idp_gateway.app import application
from idp_gateway.composition import Gateway, build_gateway
from idp_gateway.settings import Settings
from tests.support.in_process import client_of
from tests.support.ready_database import place_state

BEGINNING = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@dataclass(slots=True)
class FixedClock:
    """A clock that stands still until it is told to go on."""

    now: datetime = BEGINNING

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **how_far: float) -> None:
        self.now += timedelta(**how_far)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    place_state(tmp_path / "state", BEGINNING)
    return Settings(state_dir=tmp_path / "state")


@pytest.fixture(scope="session")
def routes() -> FastAPI:
    """The application without a gateway; it keeps nothing, and making its routes takes long."""
    return application()


@pytest.fixture
def gateway(settings: Settings, clock: FixedClock) -> Iterator[Gateway]:
    gateway = build_gateway(settings, clock=clock)
    yield gateway
    gateway.close()


@pytest.fixture
def api(gateway: Gateway, routes: FastAPI) -> Iterator[httpx.Client]:
    """The application, asked directly; an unexpected error in it fails the test."""
    routes.state.gateway = gateway
    with client_of(routes, gateway.settings.base_url) as client:
        yield client
    del routes.state.gateway
