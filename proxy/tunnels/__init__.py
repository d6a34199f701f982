"""Tunnels: how an origin's outbound connection becomes an address that Envoy can dial."""
