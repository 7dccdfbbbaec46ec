"""``python -m tests.fuzz [TARGET ...] --seconds N``: fuzz each target so long; what is found goes to the corpus.

Inputs are drawn, the same for the same seed; with ``--guided`` atheris makes them, by what code they reach.
"""

import argparse
import hashlib
import random
import subprocess
import sys
import time
import traceback

from tests.fuzz.mutations import mutated
from tests.fuzz.targets import TARGETS, Target

_GUIDED = [sys.executable, "-m", "tests.fuzz.guided"]


def main() -> int:
    """Exit code 1 when something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="names; all by default")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each target")
    parser.add_argument("--seed", type=int, default=0, help="another one makes other inputs")
    parser.add_argument("--guided", action="store_true", help="by atheris, which must be installed")
    wish = parser.parse_args()
    found = 0
    for name in wish.targets or TARGETS:
        if wish.guided:
            print(name, flush=True)
            found += subprocess.run([*_GUIDED, name, str(round(wish.seconds))], check=False).returncode != 0
        else:
            found += fuzz(TARGETS[name], wish.seconds, wish.seed)
    return int(found > 0)


def fuzz(target: Target, seconds: float, seed: int) -> bool:
    """Until something is found, at most so long. Says how many inputs were tried."""
    chance, seeds, tried = random.Random(f"{target.name} {seed}"), target.seeds(), 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = mutated(seeds, chance)
        tried += 1
        try:
            target.check(data)
        except Exception:  # noqa: BLE001 - whatever it is, it was found
            traceback.print_exc()
            target.folder.mkdir(parents=True, exist_ok=True)
            path = target.folder / hashlib.sha256(data).hexdigest()[:16]
            path.write_bytes(data)
            print(f"{target.name}: input {tried} breaks it: {path}", flush=True)
            return True
    print(f"{target.name}: {tried} inputs", flush=True)
    return False


if __name__ == "__main__":
    sys.exit(main())
