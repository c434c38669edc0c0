"""Answer a Synapse that delegates authentication what an access token may do."""

from __future__ import annotations

from typing import Any

import attrs

from tests.harness.homeservers.listening import Listener, answer

SECRET = "only on loopback"  # noqa: S105 between two servers of a test
ADMIN_SCOPE = "urn:synapse:admin:*"
_API_SCOPE = "urn:matrix:org.matrix.msc2967.client:api:*"

# What no homeserver may do by itself that delegates it.
_LEFT_OUT = {"password_config": {"enabled": False}}


@attrs.define(eq=False)
class Introspection:
    """A server in the place of matrix-authentication-service, without any of its own.

    Attributes:
        tokens: Each access token's user, and whether it has an admin's scope.
    """

    tokens: dict[str, tuple[str, bool]] = attrs.field(factory=dict)
    _listener: Listener = attrs.field(factory=Listener, init=False)

    @property
    def url(self) -> str:
        return f"http://{self._listener.address}/"

    def start(self) -> None:
        self._listener.start(self._answer)

    async def stop(self) -> None:
        await self._listener.stop()

    def config(self) -> dict[str, Any]:
        """Return what `homeserver.yaml` says to delegate to it."""
        try:
            import synapse.config.mas  # noqa: F401, PLC0415 since 1.136
        except ImportError:
            delegated = {
                "enabled": True,
                "issuer": self.url,
                "client_id": "synapse",
                "client_auth_method": "client_secret_post",
                "client_secret": SECRET,
            }
            return {**_LEFT_OUT, "experimental_features": {"msc3861": delegated}}
        delegated = {"enabled": True, "endpoint": self.url, "secret": SECRET}
        return {**_LEFT_OUT, "matrix_authentication_service": delegated}

    def _answer(self, request: Any) -> bytes:
        """Tell about a token, or where what is."""
        if request.method == b"GET":
            return answer(
                request,
                200,
                {
                    "issuer": self.url,
                    "introspection_endpoint": f"{self.url}oauth2/introspect",
                    "account_management_uri": f"{self.url}account",
                },
            )
        token = request.args[b"token"][0].decode()
        if token not in self.tokens:
            return answer(request, 200, {"active": False})
        user, is_admin = self.tokens[token]
        scope = f"{_API_SCOPE} {ADMIN_SCOPE}" if is_admin else _API_SCOPE
        told = {"active": True, "scope": scope, "username": user, "sub": user}
        return answer(request, 200, told)
