"""What people run: ``mysocketctl`` and the ``mysocket`` starter. Imports nothing of the servers."""
