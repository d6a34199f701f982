"""The API describes itself: every call, what it takes, and how it fails."""

import httpx
import pytest

from idp_gateway.app import API_ROUTERS, application


@pytest.fixture
def description(api: httpx.Client) -> dict:
    reply = api.get("/openapi.json")
    assert reply.status_code == 200
    return reply.json()


def test_every_route_of_the_api_is_described_with_a_summary_and_a_tag(description: dict) -> None:
    described = {
        (method.upper(), path)
        for path, operations in description["paths"].items()
        for method in operations
    }
    served = {
        (method, f"/api/v1{route.path}")
        for router in API_ROUTERS
        for route in router.routes
        if route.include_in_schema
        for method in route.methods
    }
    assert served <= described
    for operations in description["paths"].values():
        for operation in operations.values():
            assert operation["summary"]
            assert operation["description"]
            assert operation["tags"]


def test_failures_are_described_as_problem_documents(description: dict) -> None:
    responses = description["paths"]["/api/v1/socket"]["post"]["responses"]
    assert {"200", "400", "401"} <= responses.keys()
    assert "422" not in responses
    assert responses["400"]["content"].keys() == {"application/problem+json"}
    assert "reason" in description["components"]["schemas"]["Problem"]["properties"]


def test_references_lead_somewhere(description: dict) -> None:
    schemas = description["components"]["schemas"]
    references = set()

    def walk(value: object) -> None:
        if isinstance(value, dict):
            if "$ref" in value:
                references.add(value["$ref"].removeprefix("#/components/schemas/"))
            for part in value.values():
                walk(part)
        elif isinstance(value, list):
            for part in value:
                walk(part)

    walk(description)
    assert references <= schemas.keys()


def test_the_page_for_people_needs_no_script_and_nothing_from_elsewhere(api: httpx.Client) -> None:
    reply = api.get("/docs")
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/html")
    assert "/api/v1/socket/{socket_id}/tunnel" in reply.text
    assert "cloud_authentication_email_allowed_addressses" in reply.text
    assert "<script" not in reply.text
    assert "script-src" not in reply.headers["content-security-policy"]


def test_no_call_succeeds_with_201() -> None:
    """The clients of 2021 take it for a failure, and those of 2022 too where a body matters."""
    created = [
        f"{method} {path}"
        for path, calls in application().openapi()["paths"].items()
        for method, call in calls.items()
        if "201" in call["responses"]
    ]
    assert created == []
