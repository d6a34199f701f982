"""The SSH tunnel server: ``ssh -R`` of any client, on asyncssh."""
