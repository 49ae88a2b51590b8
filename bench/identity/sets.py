"""The linkage sets as canonical values of our fields, with what is true of them, in two parts.

Here: one reader for each set. Nothing that names a person across records is passed on: no SSN, no Medicaid or record
number, no simulant's id. Not here: what is done with them (`score`).
"""

from __future__ import annotations

import csv
import json
import lzma
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import combinations
from pathlib import Path
from typing import Any

Values = dict[str, Any]
Pair = tuple[str, str]


@dataclass
class LinkageSet:
    """Records, and which pairs are one person: by clusters, or told pair by pair."""

    name: str
    records: dict[str, Values]
    entity: dict[str, str] = field(default_factory=dict)
    """Record -> whom it is of; empty where pairs were labelled."""
    left: frozenset[str] | None = None
    """Where two files are linked: the records of the first. None: duplicates within one file."""
    labels: dict[Pair, str] = field(default_factory=dict)

    def is_compared(self, a: str, b: str) -> bool:
        return self.left is None or (a in self.left) != (b in self.left)

    def true_pairs(self) -> set[Pair]:
        if self.labels:
            return {pair for pair, label in self.labels.items() if label == "Match"}
        clusters: dict[str, list[str]] = {}
        for record in sorted(self.records):
            clusters.setdefault(self.entity[record], []).append(record)
        return {pair for cluster in clusters.values() for pair in combinations(cluster, 2) if self.is_compared(*pair)}


def in_part(entity: str, training: bool | None) -> bool:
    """Half of the people train, for ever the same half; nobody is in both. None: everybody."""
    return training is None or (sha256(f"glp1 {entity}".encode()).digest()[0] % 2 == 0) == training


def values(first: str, last: str, dob: str, **more: str) -> Values:
    """Canonical values; what is empty is left out. `dob` in eight digits, year first."""
    digits = "".join(c for c in dob if c.isdigit())
    home = {part: more.get(part, "") for part in ("line1", "line2", "city", "state", "postal_code")}
    told: Values = {
        "demo.legal_first": first,
        "demo.legal_last": last,
        "demo.dob": f"{digits[:4]}-{digits[4:6]}-{digits[6:]}" if len(digits) == 8 else "",
        "demo.sex_at_birth": {"f": "female", "m": "male"}.get(more.get("sex", "")[:1].lower(), ""),
        "demo.email": more.get("email", ""),
        "demo.mobile": more.get("phone", ""),
        "demo.address": {part: text for part, text in home.items() if text},
    }
    return {name: value for name, value in told.items() if value}


def rows(path: Path) -> Iterator[dict[str, str]]:
    with lzma.open(path, "rt", encoding="utf-8", newline="") if path.suffix == ".xz" else path.open(newline="") as file:
        yield from ({k.strip(): (v or "").strip() for k, v in row.items() if k} for row in csv.DictReader(file))


def febrl(*paths: Path) -> LinkageSet:
    """Without its soc_sec_id column. Two files (4a and 4b) are linked with each other."""
    records, entity, left = {}, {}, set()
    for path in paths:
        for row in rows(path):
            record = row["rec_id"]
            entity[record] = record.split("-")[1]
            records[record] = values(
                row["given_name"], row["surname"], row["date_of_birth"],
                line1=f"{row['street_number']} {row['address_1']}".strip(), line2=row["address_2"],
                city=row["suburb"], state=row["state"], postal_code=row["postcode"],
            )  # fmt: skip
            if path == paths[0]:
                left.add(record)
    return LinkageSet(f"FEBRL {febrl_number(paths[0])}", records, entity, frozenset(left) if len(paths) > 1 else None)


def febrl_number(path: Path) -> str:
    return "".join(c for c in path.name if c.isdigit())


def fake(path: Path, training: bool | None) -> LinkageSet:
    records, entity = {}, {}
    for row in rows(path):
        if in_part(row["cluster"], training):
            entity[row["unique_id"]] = row["cluster"]
            records[row["unique_id"]] = values(
                row["first_name"], row["surname"], row["dob"], city=row.get("city", ""), email=row.get("email", ""),
                postal_code=row.get("postcode_fake", ""), sex=row.get("gender", ""),
            )  # fmt: skip
    return LinkageSet(f"splink {path.name.split('.')[0]}", records, entity)


def miis(path: Path, training: bool | None) -> LinkageSet:
    """Pairs that people labelled; S-1 and D-1 share a record, so that a number is in one part alone."""
    records, labels = {}, {}
    with lzma.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            told = json.loads(line)
            name = told["test"].split(":")[0]
            if not in_part(name[2:], training):
                continue
            for side in ("a", "b"):
                row = told[side]
                records[f"{name}{side}"] = values(
                    f"{row.get('nameFirst', '')} {row.get('nameMiddle', '')}".strip(), row.get("nameLast", ""), row.get("birthDate", ""),
                    sex=row.get("gender", ""), phone=row.get("phone", ""), line1=row.get("addressStreet1", ""),
                    city=row.get("addressCity", ""), state=row.get("addressState", ""),
                    postal_code=row.get("addressZip", ""),
                )  # fmt: skip
            labels[f"{name}a", f"{name}b"] = told["expect"]
    return LinkageSet("MIIS", records, labels=labels)


def month_first(dob: str) -> str:
    digits = "".join(c for c in dob if c.isdigit())
    return digits[4:] + digits[:4] if len(digits) == 8 else ""


DOB: dict[str, Callable[[str], str]] = {
    "decennial_census": month_first, "wic": month_first, "social_security": str, "w2_and_1099": str,
}  # fmt: skip


def simulated(data: Path, files: tuple[str, ...], training: bool | None) -> LinkageSet:
    """Files of pseudopeople: the first is linked with the others. The simulant's id is the truth and goes no further."""
    records, entity = {}, {}
    for file in files:
        mail = "mailing_address_" if file == "w2_and_1099" else ""
        for at, row in enumerate(rows(data / "pseudopeople" / f"{file}.csv.xz")):
            if not in_part(row["simulant_id"], training):
                continue
            record = f"{file}-{at}"
            entity[record] = row["simulant_id"]
            box = row.get(f"{mail}po_box", "")
            line1 = f"{row.get(f'{mail}street_number', '')} {row.get(f'{mail}street_name', '')}".strip()
            records[record] = values(
                f"{row['first_name']} {row.get('middle_initial') or row.get('middle_name', '')}".strip(), row["last_name"], DOB[file](row.get("date_of_birth", "")), sex=row.get("sex", ""),
                line1=f"po box {box}" if box and not line1 else line1,
                line2=f"unit {unit}" if (unit := row.get(f"{mail}unit_number", "")) else "",
                state=row.get(f"{mail}state", ""),  # each town is Anytown and each code 00000: nothing is said by them
            )  # fmt: skip
    left = frozenset(record for record in records if record.startswith(files[0]))
    short = {"decennial_census": "census", "w2_and_1099": "W-2", "social_security": "social security", "wic": "WIC"}
    return LinkageSet(" x ".join(short[file] for file in files), records, entity, left)


def to_train_on(data: Path) -> list[LinkageSet]:
    return [
        febrl(data / "febrl" / "dataset1.csv"),
        fake(data / "splink" / "fake_1000.csv", True),
        *(miis(path, True) for path in sorted(data.glob("miis/*.ndjson.xz"))),
        simulated(data, ("decennial_census", "social_security", "w2_and_1099", "wic"), True),
    ]


def to_judge_on(data: Path) -> list[LinkageSet]:
    """What a folder has, without the training parts: no person is in both."""
    return found_in(data, False)


def everything(data: Path) -> list[LinkageSet]:
    return found_in(data, None)


def found_in(data: Path, training: bool | None) -> list[LinkageSet]:
    numbered: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(data.glob("febrl/dataset*.csv*")):
        numbered[febrl_number(path)].append(path)
    return [
        *(febrl(*paths) for number, paths in numbered.items() if training is None or number != "1"),
        *(fake(path, training) for path in sorted(data.glob("splink/*.csv*")) if "labels" not in path.name),
        *(miis(path, training) for path in sorted(data.glob("miis/*.ndjson.xz"))),
        *(
            simulated(data, ("decennial_census", other), training)
            for other in ("wic", "w2_and_1099", "social_security")
            if (data / "pseudopeople" / f"{other}.csv.xz").is_file()
        ),
    ]
