"""Request and reply bodies of the API: the only place of the gateway that knows its JSON."""
