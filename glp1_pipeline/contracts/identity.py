"""The signed matching model, read and checked: `identity.yaml` and `nicknames.csv`.

Here: which part of the two files becomes what. Not here: what is compared (`domain.identity`).
"""

from __future__ import annotations

from pathlib import Path

from ..domain.identity.names import plain
from ..domain.identity_model import IdentityModel
from .reading import ContractError, Folder, Lined

HERE = Path(__file__).parent
COLUMNS = ("given_name", "short_forms")


def load_identity(path: Path | None = None) -> IdentityModel:
    """Read and check the two files of a contract folder; raises ContractError with every fault at once."""
    folder = Folder(path or HERE)
    model = read_identity(folder)
    if folder.faults or model is None:
        raise ContractError(folder.faults)
    return model


def read_identity(folder: Folder) -> IdentityModel | None:
    """From a folder that is being read; None with a fault where it cannot be used."""
    tree = folder.tree("identity.yaml")
    values = Lined({**tree, "nicknames": read_nicknames(folder)})
    values.lines = tree.lines
    return folder.build(IdentityModel, values, "identity", "model", ("identity.yaml", 1)) if tree else None


def read_nicknames(folder: Folder) -> dict[str, tuple[str, ...]]:
    """Given name -> its short forms; none where the name has no usual one (that it is a name is a fact, too)."""
    found: dict[str, tuple[str, ...]] = {}
    for line, row in folder.rows("nicknames.csv", COLUMNS):
        name, shorts = row["given_name"], tuple(row["short_forms"].split())
        if any(plain(each) != each or not each for each in (name, *shorts)):
            folder.fault("nicknames.csv", line, "a name is not in its plain form", "small letters, no accents")
        elif name in found:
            folder.fault("nicknames.csv", line, f"`{name}` stands twice", "put all its short forms on one line")
        else:
            found[name] = shorts
    return found
