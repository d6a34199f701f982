"""Coverage-guided fuzzing: ``python -m tests.fuzz TARGET [libFuzzer options] [folders]`` (Atheris).

What libFuzzer finds new it writes to the first folder given. ``make fuzz`` runs every target for a
while; a crash leaves a file ``crash-…`` that reproduces it when given in place of a folder. With
``each`` as the target every one is run, in a process of its own, with its corpus; ``{}`` in an
option stands for its name. Instrumenting takes longer than a short run.
"""

import os
import sys
from pathlib import Path

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


CORPUS = Path(__file__).parent / "corpus"


def fuzz(target: str, options: list[str]) -> None:
    """Fuzz one target; never returns."""
    atheris.Setup([sys.argv[0], "-len_control=0", *options], TARGETS[target])
    atheris.Fuzz()


def fuzz_each(options: list[str]) -> None:
    """Fuzz one target after the other; names those that failed, and fails if any did."""
    failed = []
    for target in TARGETS:
        print(f"target {target}", file=sys.stderr, flush=True)
        child = os.fork()
        if child == 0:
            fuzz(target, [*(one.replace("{}", target) for one in options), str(CORPUS / target)])
        if os.waitpid(child, 0)[1] != 0:
            failed.append(target)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


def main() -> None:
    """Fuzz what was asked for; never returns."""
    if len(sys.argv) > 1 and sys.argv[1] == "each":
        fuzz_each(sys.argv[2:])
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: python -m tests.fuzz {{each,{','.join(TARGETS)}}} [libFuzzer options]")
    fuzz(sys.argv[1], sys.argv[2:])


if __name__ == "__main__":
    main()
