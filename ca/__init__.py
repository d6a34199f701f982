"""Certificates: makes and reads X.509 and SSH certificates. Never decides who gets one."""
