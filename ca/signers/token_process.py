"""``python -m ca.signers.token_process MODULE LABEL PIN_FILE``: the process that holds a token.

The library of a token's maker is foreign code: it may hang, crash, or want one thread alone. It
runs here, in a process of its own that the gateway can end at any moment. Standard input is a unix
socket with questions and answers in JSON (``ca.signers.channel``); at its end the process ends.
After an answer ``unavailable`` it ends as well: the next one starts with a library fresh from disk.
"""

import json
import os
import select
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pkcs11
from pkcs11 import exceptions

from ca import errors
from ca.ca_keys import CaAlgorithm
from ca.signers.channel import ChannelBroken, receive, send
from ca.signers.file import read_private_file
from ca.signers.token_keys import Refused, TokenKeys

_PIN_REFUSED = (
    exceptions.PinIncorrect,
    exceptions.PinLocked,
    exceptions.PinExpired,
    exceptions.PinInvalid,
    exceptions.PinLenRange,
)


GRACE_SECONDS = 20.0
"""How long an operation that is under way may go on after the gateway is gone."""


def main(module: str, label: str, pin_file: str) -> None:
    """Serve one gateway until it hangs up."""
    with socket.socket(fileno=0) as channel:
        end_with(channel, GRACE_SECONDS)
        keys: TokenKeys | None = None
        while True:
            try:
                question = json.loads(receive(channel))
            except (ChannelBroken, OSError, ValueError):
                return
            try:
                keys = keys or _open(module, label, pin_file)
                answer = _OPERATIONS[question["op"]](keys, question)
            except Exception as error:  # noqa: BLE001 - every failure is an answer
                answer = _failure(error)
            send(channel, json.dumps(answer).encode("ascii"))
            if answer.get("error") == "unavailable":
                return


def end_with(channel: socket.socket, grace: float) -> None:
    """End this process, ``grace`` seconds after the other side hung up at the latest.

    The main thread sees the end by itself, unless the library holds it for ever.
    """

    def watch() -> None:
        ended = select.poll()
        ended.register(channel.fileno(), select.POLLRDHUP)
        ended.poll()
        threading.Event().wait(grace)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _open(module: str, label: str, pin_file: str) -> TokenKeys:
    pin = read_private_file(Path(pin_file)).decode("utf-8").strip()
    token = pkcs11.lib(module).get_token(token_label=label)
    return TokenKeys(token.open(rw=True, user_pin=pin))


def _create(keys: TokenKeys, question: Mapping[str, Any]) -> dict[str, str]:
    return keys.create(question["name"], CaAlgorithm(question["algorithm"]))


def _load(keys: TokenKeys, question: Mapping[str, Any]) -> dict[str, str]:
    return keys.load(bytes.fromhex(question["reference"]))


def _sign(keys: TokenKeys, question: Mapping[str, Any]) -> dict[str, str]:
    reference, digest = bytes.fromhex(question["reference"]), question["hash"]
    return {"signature": keys.sign(reference, bytes.fromhex(question["data"]), digest).hex()}


def _destroy(keys: TokenKeys, question: Mapping[str, Any]) -> dict[str, str]:
    keys.destroy(bytes.fromhex(question["reference"]))
    return {}


_OPERATIONS: Mapping[str, Callable[[TokenKeys, Mapping[str, Any]], dict[str, str]]] = {
    "create": _create,
    "load": _load,
    "sign": _sign,
    "destroy": _destroy,
}


def _failure(error: Exception) -> dict[str, str]:
    """An answer for the gateway. The library's words are names of conditions, never a PIN."""
    message = f"{type(error).__name__} {error}".strip()[:300]
    if isinstance(error, _PIN_REFUSED):
        return {"error": "pin-refused", "message": type(error).__name__}
    if isinstance(error, Refused):
        return {"error": error.kind, "message": str(error)}
    if isinstance(error, errors.KeyFileError):
        return {"error": "unavailable", "message": str(error)}
    return {"error": "unavailable", "message": message}


if __name__ == "__main__":
    main(*sys.argv[1:])
