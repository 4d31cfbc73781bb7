"""What students hand in is collected, and what is not is named with the reason."""

from __future__ import annotations

import os
import struct
import zipfile

from tests import courses
from tests.lessons import LESSONS
from tests.systems import needs_linux

import nbformat
import pytest

pytestmark = needs_linux
FIRST = LESSONS[0]
NAME = f"__{FIRST.name}.ipynb"
NOTEBOOK = nbformat.writes(nbformat.v4.new_notebook())
OTHER = nbformat.writes(
    nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("another")])
)


@pytest.fixture
def course(tmp_path):
    folder = courses.make_course(tmp_path / "course", FIRST, whole=False)
    (folder / "downloaded" / FIRST.name / "archive").mkdir(parents=True)
    return folder


def archive(course):
    return course / "downloaded" / FIRST.name / "archive"


def collect(course, *options):
    """Collect; give the students' names and the lines about what was passed over."""
    ran = courses.nbgrader_command(course, "zip_collect", FIRST.name, *options)
    lines = (ran.stdout + ran.stderr).splitlines()
    passed_over = [line for line in lines if "Passed over" in line]
    found = sorted(
        path.parent.parent.name
        for path in (course / "submitted").rglob(FIRST.notebook.name)
    )
    return found, passed_over


def make_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(name, content)


def encrypt(path):
    """Say in an archive's heads that its member is encrypted."""
    content = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = content.index(mark) + at
        flags = struct.unpack_from("<H", content, place)[0]
        struct.pack_into("<H", content, place, flags | 1)
    path.write_bytes(bytes(content))


def test_what_cannot_be_collected_is_named_and_the_rest_goes_on(course, tmp_path):
    at = archive(course)
    good = ["mary", "ann+1@uni.edu", "jürgen-2", "李雷", "a__b"]
    for student in good:
        (at / f"{student}{NAME}").write_text(NOTEBOOK)
    (at / f"m.o'hara{NAME}").write_text(NOTEBOOK)
    (at / f"bom{NAME}").write_text("\ufeff" + NOTEBOOK, encoding="utf-8")
    (at / f".hidden{NAME}").write_text(NOTEBOOK)
    (at / f"*{NAME}").write_text(NOTEBOOK)
    (at / f"-rf{NAME}").write_text(NOTEBOOK)
    (at / f"paul{NAME}").write_text("my answers")
    (at / f"page{NAME}").write_text("<html>Please log in</html>")
    (at / "essay.docx").write_bytes(b"PK")
    (tmp_path / "key").write_text(NOTEBOOK)
    (at / f"link{NAME}").symlink_to(tmp_path / "key")
    os.mkfifo(at / f"pipe{NAME}")
    (at / f"eve\x1b[2J{NAME}").write_text(NOTEBOOK)
    copies = (f"__{FIRST.name} (1).ipynb", f"__{FIRST.name}-Copy1.ipynb")
    for copy in copies:
        (at / f"anna{copy}").write_text(NOTEBOOK)
    make_zip(
        at / "batch.zip",
        {
            f"group/zoe{NAME}": NOTEBOOK,
            f"__MACOSX/group/._zoe{NAME}": "junk",
            f"group/.ipynb_checkpoints/zoe{NAME}": OTHER,
            f"../../up{NAME}": NOTEBOOK,
            f"/etc/root{NAME}": NOTEBOOK,
            "group/Thumbs.db": "junk",
            f"same{NAME}": NOTEBOOK,
            f"again/same{NAME}": NOTEBOOK,
            f"twice{NAME}": NOTEBOOK,
            f"again/twice{NAME}": OTHER,
        },
    )
    with zipfile.ZipFile(at / "links.zip", "w") as made:
        info = zipfile.ZipInfo(f"linked{NAME}")
        info.external_attr = 0o120777 << 16
        made.writestr(info, "/etc/passwd")
    grows = at / "grows.zip"
    with zipfile.ZipFile(grows, "w", zipfile.ZIP_DEFLATED) as made:
        with made.open(f"big{NAME}", "w") as member:
            for _ in range(70):
                member.write(bytes(1 << 20))
    make_zip(at / "secret.zip", {f"locked{NAME}": NOTEBOOK})
    encrypt(at / "secret.zip")
    (at / "login.zip").write_text("<html>Please log in</html>")
    whole = (at / "batch.zip").read_bytes()
    (at / "half.zip").write_bytes(whole[: len(whole) // 2])
    damaged = bytearray(whole)
    damaged[60 + len(f"group/zoe{NAME}")] ^= 0xFF
    (at / "damaged.zip").write_bytes(bytes(damaged))
    found, passed_over = collect(course)
    assert found == sorted(["bom", "same", "zoe", *good])
    text = "\n".join(passed_over)
    for words in (
        f".hidden{NAME}: it is hidden",
        f"*{NAME}: it is not named",
        f"-rf{NAME}: it is not named",
        f"paul{NAME}: paul{NAME} is not JSON",
        f"page{NAME}: page{NAME} is not JSON",
        "essay.docx: it is not named",
        f"link{NAME}: it is a link",
        f"pipe{NAME}: it is a link or no regular file",
        "eve\\x1b[2J",
        f"rename it to anna{NAME}",
        "__MACOSX",
        ".ipynb_checkpoints",
        f"batch.zip/../../up{NAME}: its path leads out",
        f"batch.zip//etc/root{NAME}: its path leads out",
        "Thumbs.db: it is hidden, or left behind",
        f"again/twice{NAME}",
        "twice handed in different notebooks",
        f"linked{NAME}: it is a link",
        "login.zip: it is not a whole zip archive",
        "half.zip: it is not a whole zip archive",
        f"m.o'hara{NAME}: it is not named STUDENT__",
        f"big{NAME} is larger than 64 MB",
        f"locked{NAME}: it is encrypted",
        f"damaged.zip/group/zoe{NAME}: it is damaged",
    ):
        assert words in text, words
    assert "\x1b" not in text
    assert not (course.parent / f"up{NAME}").exists()


def test_a_later_batch_replaces_an_earlier_one(course):
    (archive(course) / f"mary{NAME}").write_text(NOTEBOOK)
    assert collect(course)[0] == ["mary"]
    (archive(course) / f"mary{NAME}").write_text(OTHER)
    assert collect(course, "--force")[0] == ["mary"]
    text = (
        course / "submitted" / "mary" / FIRST.name / FIRST.notebook.name
    ).read_text()
    assert "another" in text
