"""Bodies of ``/socket/{socket_id}/tunnel``."""

from pydantic import BaseModel, Field


class TunnelReply(BaseModel):
    """One way from the tunnel server to an origin."""

    tunnel_id: str
    local_port: int = Field(description="Port to ask the tunnel server for (`ssh -R`).")
    tunnel_server: str = Field(description="Host name of the tunnel server.")
    tunnel_server_port: int
    tunnel_server_host_keys: list[str] = Field(
        description="Host keys of the connected tunnel servers, in `authorized_keys` form."
    )
    connected: bool = Field(description="Whether an origin holds the tunnel at this moment.")
