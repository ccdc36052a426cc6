"""Whether an Ed25519 signature is right (RFC 8032): by `cryptography` where it is installed, otherwise in pure Python.

The pure one is the module that securesystemslib carries along; the rest of that package costs 18 MB and is not loaded.
It takes about 9 ms on a desktop and five times as long on a small device, and holds the interpreter meanwhile: callers
have a budget of checks. Both agree bit by bit, because what they see differently is refused here first.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

PUBLIC_BYTES = 32
SIGNATURE_BYTES = 64
_ORDER = 2**252 + 27742317777372353535851937790883648493
_PRIME = 2**255 - 19
_SIGN_BIT = 1 << 255
_ORDER_8_Y = 2707385501144840649318225287225658788936804267575313519463743609750303402022
_SMALL_ORDER_Y = frozenset({0, 1, _PRIME - 1, _ORDER_8_Y, _PRIME - _ORDER_8_Y})
"""Of the eight points whose order is 4, 1, 2 and 8."""
Check = Callable[[bytes, bytes, bytes], bool]
"""(public key, signature, message) -> right or not."""


def public_fault(public: bytes) -> str:
    """Why these bytes can not be a public key; empty if they can.

    A point of small order would make one signature right for many messages; a second spelling of one point would give
    one key two names.
    """
    if len(public) != PUBLIC_BYTES:
        return f"it has {len(public)} bytes, {PUBLIC_BYTES} were expected"
    y = int.from_bytes(public, "little") & ~_SIGN_BIT
    if y >= _PRIME:
        return "it is not written in the one way that a point has"
    if y in _SMALL_ORDER_Y:
        return "it is a point of small order, which vouches for nothing"
    return ""


def is_signed(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether `signature` over `message` was made with the private half of `public`. Never raises for what was sent."""
    if len(signature) != SIGNATURE_BYTES or public_fault(public):
        return False
    if int.from_bytes(signature[32:], "little") >= _ORDER:
        return False  # a second spelling of another signature
    if int.from_bytes(signature[:32], "little") & ~_SIGN_BIT >= _PRIME:
        return False
    return _check()(public, signature, message)


@cache
def _check() -> Check:
    try:
        return _fast_check()
    except ImportError:
        return _pure_check()


def _fast_check() -> Check:
    """Raises ImportError where the package is not installed."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    def check(public: bytes, signature: bytes, message: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True

    return check


def _pure_check() -> Check:
    from securesystemslib._vendor.ed25519.ed25519 import SignatureMismatch, checkvalid

    def check(public: bytes, signature: bytes, message: bytes) -> bool:
        try:
            checkvalid(signature, message, public)  # type: ignore[no-untyped-call]
        except (SignatureMismatch, ValueError):
            return False
        return True

    return check
