"""The edge: follows the feed, runs Envoy and ends the tunnels. Never opens the database."""
