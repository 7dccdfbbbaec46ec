"""A bundle is read as it was written, or refused with a reason: nothing crafted gets further."""

import hashlib
import random
from pathlib import Path

import numpy as np
import orjson
import pytest
import zstandard

from detector.config import Settings
from detector.engine import Engine
from detector.errors import ConfigError, StateMismatch
from detector.score.portable import adopt, portable
from detector.state import bundle as module
from detector.state.bundle import BundleRefused, packed, read_bundle, unpacked

SMALL = Settings(max_entries=1000, max_seen=1000)


def parts(content: bytes) -> tuple[dict, bytes]:
    """Manifest and unpacked arrays."""
    _, _, _, manifest, frame = content.split(b"\n", 4)
    return orjson.loads(manifest), zstandard.ZstdDecompressor().decompress(frame)


def crafted(manifest: object, frame: bytes) -> bytes:
    """What somebody writes who can make a digest, too."""
    body = (manifest if isinstance(manifest, bytes) else orjson.dumps(manifest)) + b"\n" + frame
    first = b"eastwest model, format 1\n"
    return first + b"sha256 " + hashlib.sha256(first + body).hexdigest().encode() + b"\nunsigned\n" + body


def refusal(content: bytes, key=None) -> str:
    with pytest.raises(BundleRefused) as refused:
        unpacked(content, key)
    return str(refused.value)


def test_what_was_written_is_read(content, bundle):
    again = packed(bundle.manifest, bundle.arrays)
    assert again == content
    assert unpacked(again).sha256 == bundle.sha256
    assert bundle.signature == "unsigned"
    assert len(content) < 200_000
    scorer = Engine(SMALL).scorer
    adopt(scorer, bundle.arrays)
    taken = portable(scorer)
    assert taken.keys() == bundle.arrays.keys()
    for name, array in taken.items():
        np.testing.assert_array_equal(array, bundle.arrays[name], err_msg=name)


@pytest.mark.parametrize("place", [0, 20, 30, 60, 100, 105, 2000, -1])
def test_one_changed_bit_is_noticed_before_anything_is_parsed(content, place, monkeypatch):
    monkeypatch.setattr(module, "_manifest", lambda _: pytest.fail("was parsed"))
    damaged = bytearray(content)
    damaged[place] ^= 4
    assert refusal(bytes(damaged))


def test_what_is_cut_off_or_something_else_is_refused(content):
    for short in (b"", b"\n\n\n", content[:10], content[:200], content[:-1], b"eastwest state, format 4\n" + content):
        assert refusal(short)
    assert "format 2; this version reads 1" in refusal(content.replace(b"format 1", b"format 2", 1))
    assert "longer than" in refusal(bytes(module.LIMIT + 1))


# --- signatures ---


def test_with_a_key_only_what_its_owner_signed_is_read(bundle, content, keys, tmp_path):
    private, public = keys
    signed = packed(bundle.manifest, bundle.arrays, private)
    assert packed(bundle.manifest, bundle.arrays, private) == signed
    assert (unpacked(signed, public).signature, unpacked(signed).signature) == ("verified", "signed")
    assert unpacked(signed).sha256 == bundle.sha256, "who signed it does not change what it is"
    assert refusal(content, public) == "is not signed, and a key is set"
    lines = signed.split(b"\n")
    lines[2] = lines[2][:20] + (b"A" if lines[2][20:21] != b"A" else b"B") + lines[2][21:]
    assert "signed with another key" in refusal(b"\n".join(lines), public)
    manifest, arrays = parts(signed)
    manifest["name"] = "other"
    forged = crafted(manifest, zstandard.compress(arrays)).split(b"\n", 3)
    assert "signed with another key" in refusal(b"\n".join([*forged[:2], signed.split(b"\n")[2], forged[3]]), public)
    with pytest.raises(ConfigError, match="no public key"):
        unpacked(signed, private)
    with pytest.raises(ConfigError, match="no private key"):
        packed(bundle.manifest, bundle.arrays, public)
    with pytest.raises(ConfigError, match=r"missing\.pem: cannot be read"):
        unpacked(signed, tmp_path / "missing.pem")


# --- what is behind a digest that fits ---


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.update(surprise=1), "manifest that is none: surprise"),
        (lambda m: m.update(name="../../etc"), "manifest that is none: name"),
        (lambda m: m.pop("training"), "manifest that is none: training"),
        (lambda m: m["training"].update(rows=-1), "training.rows"),
        (lambda m: m["arrays"][0].update(dtype="object"), "arrays.0.dtype"),
        (lambda m: m["arrays"][0].update(shape=[1 << 30] * 3), "more than the limit"),
        (lambda m: m["arrays"][0].update(shape=[-1, 8]), "arrays.0.shape"),
        (lambda m: m["arrays"].append(m["arrays"][0]), "names an array twice"),
        (lambda m: m["arrays"].pop(), "holds other arrays than its manifest says"),
        (lambda m: m["arrays"][0]["shape"].__setitem__(0, 99), "holds other arrays than its manifest says"),
    ],
)
def test_a_manifest_that_lies_is_refused(content, change, said):
    manifest, arrays = parts(content)
    change(manifest)
    assert said in refusal(crafted(manifest, zstandard.compress(arrays)))


def test_a_frame_that_unpacks_to_too_much_is_given_up_in_time(content):
    manifest, _ = parts(content)
    bomb = zstandard.compress(bytes(1 << 30))
    assert "other arrays" in refusal(crafted(manifest, bomb))
    assert "unpacked" in refusal(crafted(manifest, b"no frame"))
    assert "manifest" in refusal(crafted(b"[" * 100_000, b""))


@pytest.fixture(scope="module")
def shipped():
    """It has a forest, which takes more than two days of a small plant."""
    return read_bundle(Path("simulated"))


def arrays_of(bundle) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in bundle.arrays.items()}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("structure.scores", np.nan, "no count"),
        ("structure.scores", -1.0, "no count"),
        ("fusion.rates", np.inf, "no count"),
        ("forest.grown.rows", np.nan, "no surprise"),
        ("forest.grown.draws", np.nan, "no number"),
        ("forest.grown.paths.feature", 6, "what is not there"),
        ("forest.grown.paths.child", -1, "what is not there"),
        ("forest.grown.paths.child", 1 << 40, "what is not there"),
        ("forest.grown.paths.roots", 1 << 20, "what is not there"),
        ("forest.grown.paths.threshold", 1e300, "no number"),
        ("forest.grown.paths.length", np.inf, "no length"),
        ("forest.grown.paths.shape", 1e9, "no length"),
        ("windows.trees.masses", 251, "another mass"),
        ("windows.trees.progress", 250, "progress"),
    ],
)
def test_arrays_that_would_lead_a_kernel_astray_are_refused(shipped, name, value, said):
    engine, arrays = Engine(SMALL), arrays_of(shipped)
    before = engine.snapshot()
    arrays[name].flat[0] = value
    with pytest.raises(StateMismatch, match=said):
        adopt(engine.scorer, arrays)
    assert engine.snapshot() == before, "nothing was changed"


def test_arrays_of_another_shape_or_name_are_refused(shipped):
    scorer = Engine(SMALL).scorer
    for name in shipped.arrays.keys() - {"forest.grown.paths.roots"}:  # a forest may have fewer trees
        arrays = arrays_of(shipped)
        arrays[name] = arrays[name][:-1]
        with pytest.raises(StateMismatch, match="does not fit"):
            adopt(scorer, arrays)
        del arrays[name]
        with pytest.raises(StateMismatch, match="does not fit"):
            adopt(scorer, arrays)
    with pytest.raises(StateMismatch, match="which nothing here has"):
        adopt(scorer, arrays_of(shipped) | {"more": np.zeros(1)})


def test_any_numbers_give_a_clear_error_or_an_engine_that_scores(shipped):
    """Cells changed at random: what passes the checks must not lead out of an array, nor give what is no p-value."""
    chance = random.Random(7)
    odd = [0.0, -0.0, 0.5, 1e-300, 1e11, 1e300, -1.0, 2.0, 63.0, np.nan, np.inf, -np.inf]
    passed, scorer = 0, Engine(SMALL).scorer
    x = np.linspace(0, 70, 60, dtype=np.float32).reshape(10, 6)
    for _ in range(150):
        arrays = arrays_of(shipped)
        array = arrays[chance.choice(sorted(arrays))]
        for _ in range(chance.choice((1, 3, 50))):
            value = chance.choice(odd)
            whole = np.issubdtype(array.dtype, np.integer)
            cell = chance.choice((-1, 0, 1, 249, 1 << 40, chance.randrange(20_000))) if whole else value
            with np.errstate(over="ignore"):  # 1e300 as float32
                array.flat[chance.randrange(array.size)] = cell
        try:
            adopt(scorer, arrays)
        except StateMismatch:
            continue
        passed += 1
        forest = next(model for model in scorer.models if model.name == "forest")
        scores = forest.paths.score(x)
        assert ((scores >= 0) & (scores <= 1)).all()
    assert passed > 10


def test_a_file_that_is_none_says_so(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_bundle(tmp_path / "missing")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ConfigError, match="is no model bundle"):
        read_bundle(tmp_path / "text")
