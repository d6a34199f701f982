"""The routes of the gateway, one file per resource."""
