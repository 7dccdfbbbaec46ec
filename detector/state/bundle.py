"""A model bundle: what of a network's learning travels to another, as one file that is verified before it is parsed.

::

    eastwest model, format 1⏎
    sha256 DIGEST⏎                     over the first line and all behind the third
    unsigned⏎                          or: ed25519 SIGNATURE⏎, base64, over the first two lines (RFC 8032)
    {"name": ...}⏎                     the manifest, JSON
    zstd frame                         all arrays one after another, little-endian

What the digest proves is that nothing was damaged; anybody can make one. So nothing behind it is trusted: there is no
reader that could be led astray (no pickle, no Arrow, no zip), the manifest says how long everything is and has bounds,
and whoever uses the arrays checks their shapes and values (`score.portable`).
"""

import base64
import binascii
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
import orjson
import zstandard
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from detector.errors import ConfigError
from detector.state import signing

FORMAT: Final = 1
LIMIT: Final = 64 << 20  # bytes of a file, and of its arrays; those of one network take 6 MB before compression
MANIFEST_LIMIT: Final = 1 << 20  # bytes; a thousand data files take a sixth of it
_HEAD: Final = b"eastwest model, format "
_FIRST: Final = b"%s%d\n" % (_HEAD, FORMAT)
_LEVEL: Final = 19  # of zstd: written once, carried often
_WINDOW: Final = 1 << 27  # bytes of memory that a frame may ask for; level 19 asks for 8 MiB
_UNSIGNED: Final = b"unsigned"
_SIGNED: Final = b"ed25519 "
_MOST_DIMENSIONS: Final = 3
_SHORT: Final = 16  # digits of a digest: 64 bits tell the models of all sites apart
SHIPPED: Final = Path(__file__).resolve().parents[1] / "models" / "shipped"
"""Where the bundles are that come with eastwest."""

_Text = Annotated[str, Field(max_length=200)]
_Count = Annotated[int, Field(ge=0, lt=1 << 53)]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Part(BaseModel):
    """What the parts of a manifest have in common."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ArraySpec(Part):
    """One array of the frame."""

    name: _Text
    dtype: Literal["float64", "float32", "int64", "int32"]
    shape: list[Annotated[int, Field(ge=0, lt=1 << 31)]] = Field(max_length=_MOST_DIMENSIONS)

    @property
    def bytes(self) -> int:
        """How many it takes."""
        size = np.dtype(self.dtype).itemsize
        for side in self.shape:
            size *= side
        return size


class DataFile(Part):
    """One file that taught."""

    name: Annotated[str, Field(max_length=4096)]
    bytes: _Count
    sha256: _Sha256


class Training(Part):
    """What taught: the window (ISO 8601), how much of what, and its hashes.

    ``files`` are the first of them, by name; ``data_sha256`` is over the digests of all, sorted, so that it depends
    neither on names nor on order.
    """

    first: _Text
    last: _Text
    days: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    rows: _Count
    hosts: _Count
    file_count: _Count
    files: list[DataFile] = Field(max_length=1000)
    data_sha256: _Sha256
    plant_sha256: _Sha256 | None


class Manifest(Part):
    """What a bundle says of itself.

    Args:
        name: of the bundle.
        detector: version of eastwest that made it.
        description: the written part of the model card, Markdown.
        models: those that ran, in order, beside the structure model.
        features: what each part that looks at several things looks at, in order.
        strata: kinds of rows that are compared with each other, by class and place.
        settings: of the engine that learned, as far as they are not defaults.
        training: what taught.
        metrics: numbers that were measured, by what they were measured on.
        libraries: versions with which it was made.
        arrays: what is in the frame, in order.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    detector: _Text
    description: Annotated[str, Field(max_length=1 << 16)]
    models: list[_Text] = Field(max_length=64)
    features: dict[_Text, list[_Text]]
    strata: list[_Text] = Field(max_length=1000)
    settings: dict[_Text, Any]
    training: Training
    metrics: dict[_Text, dict[_Text, Annotated[float, Field(allow_inf_nan=False)]]]
    libraries: dict[_Text, _Text]
    arrays: list[ArraySpec] = Field(max_length=1000)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that was read and is what was written.

    Args:
        manifest: what it says of itself.
        arrays: by name, read-only; whoever uses them checks what is in them.
        sha256: names the bundle: of the manifest and the arrays, whoever signed them.
        signature: ``unsigned``, ``signed`` (nobody asked by whom) or ``verified``.
    """

    manifest: Manifest
    arrays: Mapping[str, NDArray[Any]]
    sha256: str
    signature: Literal["unsigned", "signed", "verified"]

    @property
    def short(self) -> str:
        """The digest as far as people read it."""
        return self.sha256[:_SHORT]


def packed(manifest: Manifest, arrays: Mapping[str, NDArray[Any]], private_key: Path | None = None) -> bytes:
    """Bytes of a bundle: the same for the same content and key, with the same version of zstd.

    Args:
        manifest: its ``arrays`` are replaced by what ``arrays`` are.
        private_key: Ed25519, PEM; None = unsigned.

    Raises:
        ConfigError: the key cannot be used.
        MissingLibrary: signing needs what is not installed.
    """
    specs = [
        ArraySpec(name=name, dtype=str(array.dtype), shape=list(array.shape))  # type: ignore[arg-type]  # it is checked
        for name, array in sorted(arrays.items())
    ]
    content = b"".join(np.ascontiguousarray(array).tobytes() for _, array in sorted(arrays.items()))
    told = manifest.model_copy(update={"arrays": specs}).model_dump(mode="json")
    body = orjson.dumps(told, option=orjson.OPT_SORT_KEYS) + b"\n" + zstandard.compress(content, _LEVEL)
    second = b"sha256 " + _digest(body).encode() + b"\n"
    third = _UNSIGNED
    if private_key is not None:
        third = _SIGNED + base64.b64encode(signing.sign(private_key, _FIRST + second))
    return _FIRST + second + third + b"\n" + body


def read_bundle(path: Path, public_key: Path | None = None) -> Bundle:
    """The bundle of `load`."""
    return load(path, public_key)[0]


def load(path: Path, public_key: Path | None = None) -> tuple[Bundle, bytes]:
    """A bundle of a file, verified and then parsed; and the bytes it was made of.

    Args:
        path: of a file, or the bare name of one that comes with eastwest.
        public_key: Ed25519, PEM; when there is one, only what is signed with its other half is read.

    Raises:
        ConfigError: it cannot be read, is damaged, is not signed as it should be, or is none.
        MissingLibrary: checking signatures needs what is not installed.
    """
    try:
        with _place(path).open("rb") as file:
            content = file.read(LIMIT + 1)
    except OSError as problem:
        raise ConfigError(str(path), "", f"cannot be read: {problem.strerror}") from None
    try:
        return unpacked(content, public_key), content
    except BundleRefused as problem:
        raise ConfigError(str(path), "", str(problem)) from None


def is_shipped(path: Path) -> bool:
    """Whether it names a bundle that comes with eastwest: whoever can change it can change the program, too."""
    return path.parent == Path() and (SHIPPED / f"{path.name}.model").is_file()


def _place(path: Path) -> Path:
    return SHIPPED / f"{path.name}.model" if is_shipped(path) else path


class BundleRefused(Exception):
    """Bytes are no bundle that may be used; the message says why."""


def unpacked(content: bytes, public_key: Path | None = None) -> Bundle:
    """The bundle that bytes are.

    Raises:
        BundleRefused: they are none, or none that may be used.
        ConfigError: the key cannot be used.
        MissingLibrary: checking signatures needs what is not installed.
    """
    if len(content) > LIMIT:
        raise BundleRefused(f"is longer than {LIMIT} bytes")
    digest, signature, body = _verified(content, public_key)
    text, _, frame = body.partition(b"\n")
    manifest = _manifest(text)
    return Bundle(manifest, _arrays(manifest, frame), digest, signature)


def _verified(content: bytes, public_key: Path | None) -> tuple[str, Literal["unsigned", "signed", "verified"], bytes]:
    """Digest, state of the signature, and what they are of; nothing is parsed."""
    first, second, third, body = (*content.split(b"\n", 3), b"", b"", b"")[:4]
    if not first.startswith(_HEAD):
        raise BundleRefused("is no model bundle")
    if first + b"\n" != _FIRST:
        found = first.removeprefix(_HEAD)[:20].decode("utf-8", "backslashreplace")
        raise BundleRefused(f"is a model bundle of format {found}; this version reads {FORMAT}")
    digest = _digest(body)
    if second != b"sha256 " + digest.encode():
        raise BundleRefused("is damaged: its content does not match its SHA-256")
    if third != _UNSIGNED and not third.startswith(_SIGNED):
        raise BundleRefused("is damaged: its third line says nothing of a signature")
    if public_key is None:
        return digest, "unsigned" if third == _UNSIGNED else "signed", body
    if third == _UNSIGNED:
        raise BundleRefused("is not signed, and a key is set")
    if not signing.verifies(public_key, _signature(third), first + b"\n" + second + b"\n"):
        raise BundleRefused("was signed with another key than the one that is set, or its signature is damaged")
    return digest, "verified", body


def _digest(body: bytes) -> str:
    return hashlib.sha256(_FIRST + body).hexdigest()


def _signature(line: bytes) -> bytes:
    try:
        return base64.b64decode(line.removeprefix(_SIGNED), validate=True)
    except binascii.Error:
        return b""


def _manifest(text: bytes) -> Manifest:
    if len(text) > MANIFEST_LIMIT:
        raise BundleRefused(f"has a manifest of more than {MANIFEST_LIMIT} bytes")
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))[:100]
        raise BundleRefused(f"has a manifest that is none: {place or 'all'}: {first['msg']}") from None


def _arrays(manifest: Manifest, frame: bytes) -> dict[str, NDArray[Any]]:
    """The arrays, which take exactly what the manifest says."""
    if len({spec.name for spec in manifest.arrays}) < len(manifest.arrays):
        raise BundleRefused("names an array twice")
    wanted = sum(spec.bytes for spec in manifest.arrays)
    if wanted > LIMIT:
        raise BundleRefused(f"holds arrays of {wanted} bytes, more than the limit of {LIMIT}")
    content = _unpacked(frame, wanted)
    arrays, at = {}, 0
    for spec in manifest.arrays:
        flat = np.frombuffer(content, spec.dtype, offset=at, count=spec.bytes // np.dtype(spec.dtype).itemsize)
        arrays[spec.name] = flat.reshape(spec.shape)
        at += spec.bytes
    return arrays


def _unpacked(frame: bytes, wanted: int) -> bytes:
    """Never more than what is wanted, whatever the frame says of itself."""
    try:
        with zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(io.BytesIO(frame)) as reader:
            content = reader.read(wanted + 1)
    except zstandard.ZstdError as problem:
        raise BundleRefused(f"holds no arrays that can be unpacked: {problem}") from None
    if len(content) != wanted:
        raise BundleRefused("holds other arrays than its manifest says")
    return content
