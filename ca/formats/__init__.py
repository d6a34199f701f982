"""Formats that both sides read: keys, certificates, signatures, KRLs, and the log's proofs.

Nothing here signs for a CA, decides, or does I/O; it needs ``cryptography`` alone. It is the only
part of ``ca`` that the client imports: what it checks is what the gateway makes.
"""
