"""``mysocketctl``: what people run on their own machines. Talks to the gateway's API only."""
