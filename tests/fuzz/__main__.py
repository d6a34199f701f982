"""Coverage-guided fuzzing: ``python -m tests.fuzz TARGET [libFuzzer options] [folders]`` (Atheris).

What libFuzzer finds new it writes to the first folder given. ``make fuzz`` runs every target for a
while; a crash leaves a file ``crash-…`` that reproduces it when given in place of a folder.
"""

import sys

import atheris

INSTRUMENTED = [
    "ca",
    "clients.mysocketctl.sightings",
    "clients.mysocketctl.sshd_lines",
    "proxy.tunnels.ssh.login",
    "cryptography.hazmat.primitives.serialization.ssh",
    "sshpubkeys",
]

with atheris.instrument_imports(include=INSTRUMENTED):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Fuzz one target; never returns."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: python -m tests.fuzz {{{','.join(TARGETS)}}} [libFuzzer options]")
    target = TARGETS[sys.argv[1]]
    atheris.Setup([sys.argv[0], "-len_control=0", *sys.argv[2:]], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
