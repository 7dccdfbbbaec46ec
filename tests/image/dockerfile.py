"""The instructions of a Dockerfile, as far as ours goes: no here-documents, no escapes but at the end of a line."""

import json
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Instruction:
    """One of them: its word, and what follows on one line."""

    word: str
    rest: str

    def array(self) -> list[str]:
        """The exec form, ``["program", "argument"]``; an error if it is the other one."""
        found = json.loads(self.rest[self.rest.index("[") :])
        assert isinstance(found, list)
        return found


def stages(path: Path) -> list[list[Instruction]]:
    """What comes before the first FROM, then each stage."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    found: list[list[Instruction]] = [[]]
    for line in filter(None, map(str.strip, text.splitlines())):
        word, _, rest = re.sub(r" {2,}", " ", line).partition(" ")
        if word == "FROM":
            found.append([])
        found[-1].append(Instruction(word, rest.strip()))
    return found
