"""Kernels: functions compiled by Numba, cached on disk under a stamp of all their sources.

Numba's own cache looks at the file of the function alone. A kernel that calls one of another file would go on running
the old one after an upgrade, and score wrongly without a word. So the cache lies in a folder named after a SHA-256
over every file that holds kernels; when one changes, all are compiled anew (some seconds, once).
"""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import numba
from llvmlite import ir
from numba import types
from numba.core import caching, cgutils
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])

_PACKAGE: Final = Path(__file__).parents[1]
_settings: Any = numba.config
_njit: Any = numba.njit  # its types leave `_nrt` out
_caching: Any = caching
_item: Any = cgutils.get_item_pointer
_SOURCES: Final = ("features", "formats", "normalize", "reach", "score", "sources", "state")


def stamp() -> str:
    """16 hexadecimal digits that name the sources of all kernels, the version of their compiler, and whether it is to
    check every index."""
    digest = hashlib.sha256(f"{numba.__version__} {_settings.BOUNDSCHECK}".encode())
    for folder in _SOURCES:
        for source in sorted((_PACKAGE / folder).glob("*.py")):
            digest.update(source.name.encode() + source.read_bytes())
    return digest.hexdigest()[:16]


def _cache_folder() -> tuple[str | None, bool]:
    """``NUMBA_CACHE_DIR`` if set, else beside the package, else in the user's cache; and whether it may be written.

    Where none of them may be, one that was filled before is read, as in an image whose folders are read-only.
    None = there is none.
    """
    homes = [Path(_settings.CACHE_DIR)] if _settings.CACHE_DIR else [_PACKAGE / "__pycache__", *_users()]
    folders = [home / f"kernels-{stamp()}" for home in homes]
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return str(folder), True
        except OSError:
            continue
    return next((str(folder) for folder in folders if os.access(folder, os.R_OK | os.X_OK)), None), False


def _users() -> list[Path]:
    """The user's cache; none for an account without a home, as in a container."""
    try:
        return [Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "eastwest"]
    except RuntimeError:
        return []


_FOLDER, _WRITABLE = _cache_folder()
if _FOLDER is not None:
    _settings.CACHE_DIR = _FOLDER


class _Filled(_caching.UserProvidedCacheLocator):  # type: ignore[misc]
    """Numba's place of a cache, which it would try to write to."""

    def ensure_cache_path(self) -> None:
        """It is there, or holds nothing."""


class _Results(_caching.CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes = (_Filled,)


class _ReadOnlyCache(_caching.FunctionCache):  # type: ignore[misc]
    """What is in it is used; what is not is compiled at each start."""

    _impl_class = _Results

    def save_overload(self, sig: Any, data: Any) -> None:
        """Numba would end with the error of the disk."""


def _compiled(function: Function, **how: bool) -> Function:
    made = _njit(cache=_WRITABLE, nogil=True, _nrt=False, **how)(function)
    if _FOLDER is not None and not _WRITABLE:
        made._cache = _ReadOnlyCache(function)
    return cast("Function", made)


def kernel(function: Function) -> Function:
    """Compile ``function`` when first called; ``function.py_func`` stays the plain Python it was. It runs without
    Python's lock, so that models work side by side (`score.scorer`).

    A kernel makes no array: what it needs to work with it is given. So references need not be counted, which Numba
    does at every call of a helper and every look at an array, with atomic operations: 10 to 90 ns each where the work
    itself is 3 (``_nrt``; what would allocate does not compile).
    """
    return _compiled(function)


def inlined(function: Function) -> Function:
    """A `kernel` that becomes part of whoever calls it: for what takes less time than a call does."""
    return _compiled(function, forceinline=True)


@intrinsic
def fetch(_: Any, array: Any, index: Any) -> Any:
    """In a kernel: have the processor bring an item of an array near, to be written soon; waits for nothing and changes
    nothing (LLVM Language Reference, ``llvm.prefetch``)."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind, number, address = signature.args[0], ir.IntType(32), ir.IntType(8).as_pointer()
        made = context.make_array(kind)(context, builder, args[0])
        item = builder.bitcast(_item(context, builder, kind, made, [args[1]]), address)
        shape = ir.FunctionType(ir.VoidType(), [address, number, number, number])
        hint = builder.module.declare_intrinsic("llvm.prefetch", [address], shape)
        builder.call(hint, [item, number(1), number(3), number(1)])  # to write, into all caches, data
        return context.get_dummy_value()

    return types.void(array, index), generate
