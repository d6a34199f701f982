"""Tunnels by the system's OpenSSH: ``ssh -R``, whose session prints the live log."""

import shutil
import subprocess

from clients.mysocketctl.names import dial_address
from clients.mysocketctl.processes import die_with_parent
from clients.mysocketctl.tunnels import TunnelPlan

_STOP_SECONDS = 3.0


def is_installed() -> bool:
    return shutil.which("ssh") is not None


def command(plan: TunnelPlan) -> list[str]:
    """The whole command; ``-F none``, as the person's own configuration is not about this."""
    target = f"[{plan.target_host}]" if ":" in plan.target_host else plan.target_host
    options = {
        "HostName": dial_address(plan.server),
        "HostKeyAlias": plan.server,
        "Port": str(plan.server_port),
        "User": plan.user_name,
        "UserKnownHostsFile": str(plan.known_hosts),
        "GlobalKnownHostsFile": "none",
        "StrictHostKeyChecking": "yes",
        "BatchMode": "yes",
        "ExitOnForwardFailure": "yes",
        "ServerAliveInterval": "10",
        "ServerAliveCountMax": "3",
        "ConnectTimeout": "15",
        "TCPKeepAlive": "yes",
        "IdentityFile": str(plan.key),
        "IdentitiesOnly": "no",
        "PreferredAuthentications": "publickey",
        "LogLevel": "ERROR",
    }
    if plan.certificate is not None:
        options["CertificateFile"] = str(plan.certificate)
    flags = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    forward = f"{plan.local_port}:{target}:{plan.target_port}"
    return ["ssh", "-F", "none", "-T", *flags, "-R", forward, "--", plan.server]


def run(plan: TunnelPlan) -> str:
    """One connection; its log goes to our standard output. On interruption ssh is stopped first."""
    process = subprocess.Popen(
        command(plan),
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # a ^C is for us; we end ssh in order
        preexec_fn=die_with_parent(),  # noqa: PLW1509 - one system call, needs no lock of the renewal thread
    )
    try:
        code = process.wait()
    except BaseException:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise
    return f"the tunnel ended (ssh exit code {code})"
