"""Ed25519 (RFC 8032) with keys as OpenSSL writes them: PEM, private in PKCS #8, public as SubjectPublicKeyInfo.

The library is an extra (``eastwest[signing]``): who neither signs nor checks needs none.
"""

from pathlib import Path
from typing import Any

from detector.errors import ConfigError, MissingLibrary


def sign(private_key: Path, content: bytes) -> bytes:
    """The signature, 64 bytes; the same for the same key and content.

    Raises:
        ConfigError: the file cannot be read or holds no such key.
        MissingLibrary: see `_library`.
    """
    serialization, ed25519 = _library()
    content_of_file = _read(private_key)
    try:
        key = serialization.load_pem_private_key(content_of_file, password=None)
    except (ValueError, TypeError) as problem:
        raise ConfigError(str(private_key), "", "holds no private key (PEM, without a password)") from problem
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise ConfigError(str(private_key), "", "is no Ed25519 key; openssl genpkey -algorithm ed25519 makes one")
    signature: bytes = key.sign(content)
    return signature


def verifies(public_key: Path, signature: bytes, content: bytes) -> bool:
    """Whether the signature is that of the key's owner over the content.

    Raises:
        ConfigError: the file cannot be read or holds no such key.
        MissingLibrary: see `_library`.
    """
    serialization, ed25519 = _library()
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - an extra

    content_of_file = _read(public_key)
    try:
        key = serialization.load_pem_public_key(content_of_file)
    except ValueError as problem:
        raise ConfigError(str(public_key), "", "holds no public key (PEM)") from problem
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise ConfigError(str(public_key), "", "is no Ed25519 key; openssl pkey -pubout writes the public half of one")
    try:
        key.verify(signature, content)
    except InvalidSignature:
        return False
    return True


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise ConfigError(str(path), "", f"cannot be read: {problem.strerror}") from problem


def _library() -> tuple[Any, Any]:
    """
    Raises:
        MissingLibrary: cryptography is not installed.
    """
    try:
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - an extra
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 - an extra
    except ImportError as problem:
        raise MissingLibrary("signatures of models need cryptography: pip install 'eastwest[signing]'") from problem
    return serialization, ed25519
