"""A small plant that teaches, and the bundle it gives."""

import subprocess
from pathlib import Path

import pytest

from detector.config import Settings
from detector.models.train import train
from detector.simulate import SimulatedPlant
from detector.state.bundle import Bundle, packed, unpacked
from tests.scenarios.world import plant_of, simulated


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> SimulatedPlant:
    return simulated(tmp_path_factory, days=2, hosts=40, seed=3, density=0.4)


@pytest.fixture(scope="session")
def content(world) -> bytes:
    """An unsigned bundle of the plant, as a file holds it."""
    bundle = train([world.zeek_dir], Settings(), "small", plant=plant_of(world), plant_file=world.plant)
    return packed(bundle.manifest, bundle.arrays)


@pytest.fixture(scope="session")
def bundle(content) -> Bundle:
    return unpacked(content)


@pytest.fixture(scope="session")
def keys(tmp_path_factory, require_tool) -> tuple[Path, Path]:
    """A private key and its public half, as OpenSSL makes them."""
    openssl, folder = require_tool("openssl"), tmp_path_factory.mktemp("keys")
    private, public = folder / "private.pem", folder / "public.pem"
    subprocess.run([openssl, "genpkey", "-algorithm", "ed25519", "-out", private], check=True)
    subprocess.run([openssl, "pkey", "-in", private, "-pubout", "-out", public], check=True)
    return private, public
