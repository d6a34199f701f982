"""The control plane: identity gateway, API, certificate issuance and the feed for the edges."""
