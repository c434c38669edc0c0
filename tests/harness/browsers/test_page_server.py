"""The harness answers as the module would, behind a path, and with the policy."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Iterator

import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.harness.browsers.page_server import PAGE, PageServer, status, top

OPENAPI = yaml.safe_load((Path(__file__).parents[3] / "docs/openapi.yaml").read_text())


@pytest.fixture
def server() -> Iterator[PageServer]:
    """Serve a status, but no top."""
    server = PageServer({"v1/status": status(), "v1/top": 401})
    server.start()
    try:
        yield server
    finally:
        server.stop()


def get(url: str) -> Any:
    """Ask for something, as the page does."""
    headers = {"Authorization": "Bearer token"}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 our own
    return urllib.request.urlopen(request, timeout=30)  # noqa: S310 our own


@pytest.mark.parametrize(("name", "answer"), [("Status", status()), ("Top", top())])
def test_its_answers_are_those_of_the_description(
    name: str, answer: dict[str, Any]
) -> None:
    """Or the page would be tested with what no module says."""
    schemas = {"components": OPENAPI["components"]}
    schema = {"$ref": f"#/components/schemas/{name}", **schemas}
    Draft202012Validator(schema).validate(answer)


def test_it_serves_the_page_under_its_policy(server: PageServer) -> None:
    """Byte for byte; without the policy nothing could violate it."""
    with get(server.url) as response:
        assert response.read() == PAGE.read_bytes()
        policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy


def test_it_remembers_what_it_was_asked_for(server: PageServer) -> None:
    """With the token, and whatever it answered."""
    get(f"{server.url}v1/status").close()
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(f"{server.url}v1/top?limit=10")
    assert refused.value.code == 401
    refused.value.close()
    asked = [("v1/status", "Bearer token"), ("v1/top?limit=10", "Bearer token")]
    assert server.asked == asked


def test_beside_its_path_there_is_nothing(server: PageServer) -> None:
    """So that an address from the root is not found."""
    root = server.url.replace("/matrix/", "/")
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(f"{root}v1/status")
    assert refused.value.code == 404
    refused.value.close()
    assert server.asked == []
