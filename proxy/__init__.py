"""The edge: follows the gateway's feed, runs Envoy and ends the tunnels. Never opens the database."""
