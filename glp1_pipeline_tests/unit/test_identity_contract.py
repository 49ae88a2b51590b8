"""The signed matching model is read whole or refused with the line and the mend."""

import shutil
from pathlib import Path

import pytest

from glp1_pipeline.contracts.identity import HERE, load_identity
from glp1_pipeline.contracts.reading import ContractError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("identity.yaml", "nicknames.csv"):
        shutil.copy(HERE / name, tmp_path)
    return tmp_path


def faults(folder: Path) -> str:
    with pytest.raises(ContractError) as raised:
        load_identity(folder)
    return str(raised.value)


def change(file: Path, before: str, after: str) -> None:
    text = file.read_text("utf-8")
    assert before in text
    file.write_text(text.replace(before, after, 1), "utf-8")


def test_the_model_of_this_product_can_be_read(folder):
    assert load_identity(folder) == load_identity()


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("    slip:", "    slipp:", "comparison `dob` needs exactly the levels"),
        ("  sex:\n", "  gender:\n", "comparison `sex` needs exactly the levels"),
        ("same: 13.3", "same: -1.0", "prior < review < same does not hold"),
        ("review: 0.0", "review: 0.0\nreveiw: 1.0", "`reveiw`"),
        ("prior: -24.3", "prior: unlikely", "`prior`"),
    ],
)
def test_a_mistake_in_the_model_is_told(folder, before, after, told):
    change(folder / "identity.yaml", before, after)
    assert told.lower() in faults(folder).lower()


def test_a_name_that_stands_twice_or_is_not_plain_is_told_with_its_line(folder):
    file = folder / "nicknames.csv"
    file.write_text(file.read_text("utf-8") + "zoe,\nZoë,zo\n", "utf-8")
    last = len(file.read_text("utf-8").splitlines())
    assert f"nicknames.csv:{last - 1}: `zoe` stands twice" in faults(folder)
    assert f"nicknames.csv:{last}: a name is not in its plain form" in faults(folder)


def test_a_missing_file_is_told(folder):
    (folder / "nicknames.csv").unlink()
    assert "nicknames.csv" in faults(folder)
