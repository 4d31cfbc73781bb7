"""The surnames come as their docstrings promise, and no name crosses the split."""

from __future__ import annotations

import sys

from course_tools.lessons import ROOT
from course_utils import DataError
from course_utils.data import load_surnames, romanise, surname_nationalities, surnames
from course_utils.data.fetch import _problem, catalog

import numpy as np
import pytest

ORIGINALS = ROOT.parent / "shared" / "data" / "names"
needs_originals = pytest.mark.skipif(
    not ORIGINALS.is_dir(),
    reason="the original sources' files are not beside this checkout",
)
each_source = pytest.mark.parametrize(
    "source", ["faker", pytest.param("pytorch-names", marks=needs_originals)]
)


@pytest.fixture(autouse=True)
def original_files(monkeypatch):
    """Stand in for the download by the original files beside the checkout."""
    monkeypatch.setattr(surnames, "fetch", lambda name: ORIGINALS)


def keys(names):
    return {romanise(name).casefold() for name in names}


def test_there_are_as_many_names_as_the_docstring_says():
    (x_train, y_train), (x_test, y_test) = load_surnames()
    assert (len(x_train), len(x_test)) == (14_262, 3_568)
    assert len(surname_nationalities()) == len(surnames.FAKER) == 23
    assert x_train.dtype == x_test.dtype == object
    assert y_train.dtype == y_test.dtype == np.int64
    said = load_surnames.__doc__
    for number in ("17,830", "23 nationalities", "29 lists", "20,074"):
        assert number in said, number
    assert sum(map(len, surnames.FAKER.values())) == 29
    names = list(zip([*x_train, *x_test], [*y_train, *y_test], strict=True))
    assert len(names) == len({(name.casefold(), label) for name, label in names})


@needs_originals
def test_the_tutorials_names_are_all_there_with_their_repeats():
    entry = catalog()["surnames-pytorch"]
    assert _problem(entry.files, ORIGINALS) == ""
    (x_train, _), (x_test, _) = load_surnames("pytorch-names")
    assert len(x_train) + len(x_test) == 20_074
    assert len(surname_nationalities("pytorch-names")) == 18


def test_what_a_system_leaves_among_the_tutorials_files_is_no_nationality(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(surnames, "fetch", lambda name: tmp_path)
    for file in catalog()["surnames-pytorch"].files:
        path = tmp_path / file.name
        path.write_text("\n".join(f"{path.stem}{n}" for n in "abcde"))
        path.with_name(f"._{path.name}").write_bytes(b"\x00\x05\x16\x07\xff\xfe")
    (tmp_path / "Copy of Greek.txt").write_text("Pappas")
    nationalities = surname_nationalities("pytorch-names")
    assert len(nationalities) == 18
    assert not any(name.startswith((".", "Copy")) for name in nationalities)


@each_source
@pytest.mark.parametrize("seed", [0, 1])
def test_no_surname_stands_on_both_sides(source, seed):
    (x_train, _), (x_test, _) = load_surnames(source, seed=seed)
    assert not keys(x_train) & keys(x_test)


@each_source
@pytest.mark.parametrize("test_size", [0.2, 0.5])
def test_each_nationality_is_held_out_in_proportion(source, test_size):
    (_, y_train), (_, y_test) = load_surnames(source, test_size=test_size)
    n = len(surname_nationalities(source))
    held_out = np.bincount(y_test, minlength=n)
    everything = held_out + np.bincount(y_train, minlength=n)
    assert np.abs(held_out - test_size * everything).max() <= 0.01 * len(y_test)
    assert np.abs(held_out / everything - test_size).max() < 0.1
    assert held_out.min() > 0


@each_source
def test_a_name_of_several_nationalities_keeps_all_of_them(source):
    (x_train, y_train), (x_test, y_test) = load_surnames(source)
    homes = {}
    for name, label in zip([*x_train, *x_test], [*y_train, *y_test], strict=True):
        homes.setdefault(name.casefold(), set()).add(label)
    assert sum(len(labels) > 1 for labels in homes.values()) > 100


@each_source
def test_the_split_follows_the_seed(source):
    (first, _), (held_out, _) = load_surnames(source)
    (again, _), _ = load_surnames(source)
    (other, _), (other_held_out, _) = load_surnames(source, seed=1)
    assert list(first) == list(again) != list(other)
    assert keys(held_out) != keys(other_held_out)


def test_names_are_romanised_or_the_same_rows_as_written():
    (romanised, y), _ = load_surnames()
    (written, y_written), _ = load_surnames(romanised=False)
    assert np.array_equal(y, y_written)
    assert [romanise(name) for name in written] == list(romanised)
    assert all(name and name.isascii() for name in romanised)
    greek = surname_nationalities().index("Greek")
    assert not any(name.isascii() for name in written[y == greek])


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("Хрущёв", "Khrushchev"),
        ("Παπαδόπουλος", "Papadopoylos"),
        ("Wiśniewski", "Wisniewski"),
        ("აბაშიძე", "Abashidze"),
        ("CHEN", "Chen"),
        ("O'Neill-Smith", "O'Neill-Smith"),
        ("  van  Dijk ", "Van Dijk"),
        ("1234", ""),
    ],
)
def test_a_name_is_written_in_the_letters_a_to_z(written, expected):
    assert romanise(written) == expected


@pytest.mark.parametrize("arguments", [{"source": "phone book"}, {"test_size": 1}])
def test_a_wrong_argument_is_refused_in_one_sentence(arguments):
    with pytest.raises(ValueError, match="choose") as caught:
        load_surnames(**arguments)
    assert "\n" not in str(caught.value)


def test_an_unknown_source_of_nationalities_is_refused():
    with pytest.raises(ValueError, match="choose one of faker, pytorch-names"):
        surname_nationalities("phone book")


def test_without_faker_the_error_names_the_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "faker.providers.person.ar_AA", None)
    surnames._faker_rows.cache_clear()
    with pytest.raises(DataError, match="pip install Faker==40.54.0"):
        load_surnames()
    surnames._faker_rows.cache_clear()
