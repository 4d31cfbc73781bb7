"""Folders of photos, a class each: checked, cleaned, split, ready for Keras.

Whatever Pillow can read becomes an RGB picture of at most 320 pixels, written to a
folder of its own in the cache, because Keras's reader knows neither WebP nor CMYK.
Photos of the same thing (a copy, a smaller copy, a mirror image) stay together on
one side of the split.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
import re
import shutil
import stat
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_utils.data.fetch import cache_folder, digest, fetch
from course_utils.errors import DataError

import numpy as np

# Part of a prepared folder's name: raise it when the pictures would come out otherwise.
RECIPE = 1
LONGEST_SIDE = 320
SHORTEST_SIDE = 16
MOST_PIXELS = 60_000_000
# Five folds need five different photos of each class.
FEWEST_PHOTOS = 5
# Of 64 bits. Measured on the course's 319 photos: a copy at half the size and JPEG
# quality 40 differs in at most 6 bits, the two most alike different photos in 11.
SAME_BITS = 8
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
ENDINGS = (
    ".bmp .gif .jfif .jpe .jpeg .jpg .mpo .png .ppm .pgm .pnm .tif .tiff .webp".split()
)
CREDITS = "credits"
# What systems and programs leave behind, beside what begins with "." or "@".
LEFT_BEHIND = (
    "__macosx __pycache__ #recycle #snapshot $recycle.bin lost+found desktop.ini "
    "ehthumbs.db thumbs.db"
).split() + ["system volume information"]
HIDDEN = "it is hidden, or left behind by a system or program"


@dataclass(frozen=True, eq=False)
class Photos:
    """Photos prepared for ``keras.utils.image_dataset_from_directory``.

    Attributes
    ----------
    train, test : pathlib.Path
        Folders of class folders with PNG pictures, longest side 320 pixels.
    class_names : tuple of str
        In alphabetical order, as Keras numbers them.
    train_files, test_files : tuple of str
        ``class/name.png`` below `train` or `test`, in the order in which Keras
        reads them without shuffling.
    train_labels, test_labels : numpy.ndarray of shape (n,), int64
        Places in `class_names`.
    train_groups, test_groups : numpy.ndarray of shape (n,), int64
        The same number for photos that are near-duplicates; no number occurs on
        both sides.
    skipped : tuple of (str, str)
        Name and reason of what was left out: each file that is no usable photo, what
        systems leave behind, folders that cannot be read.
    """

    train: Path
    test: Path
    class_names: tuple[str, ...]
    train_files: tuple[str, ...]
    test_files: tuple[str, ...]
    train_labels: np.ndarray
    test_labels: np.ndarray
    train_groups: np.ndarray
    test_groups: np.ndarray
    skipped: tuple[tuple[str, str], ...]


def load_photos(
    source: str | Path = "shipped", *, test_size: float = 0.25, seed: int = 0
) -> Photos:
    """Prepare photos in one folder for each class.

    Parameters
    ----------
    source : {"shipped", "animals"} or path
        ``"shipped"``: the 121 photos that come with the course, four classes.
        ``"animals"``: 197 cats, dogs and horses, fetched from their original
        address. A path: your own folder, with one folder of photos for each class;
        hidden files and folders in it are left out.
    test_size : float
        Share of each class that is held out, between 0 and 1.
    seed : int
        Seed of the split.

    Returns
    -------
    Photos
        Folders, labels, groups of near-duplicates, and what was skipped.

    Raises
    ------
    ValueError
        When `test_size` is not between 0 and 1.
    DataError
        When there is no such folder, it holds fewer than two classes, or a class
        has fewer than five different photos; or when ``"animals"`` cannot be had.
    """
    if not 0 < test_size < 1:
        raise ValueError(f"test_size is {test_size}; choose a number between 0 and 1.")
    root = _folder(source)
    files, left_out = _list_files(root)
    arguments = json.dumps([RECIPE, test_size, seed, LONGEST_SIDE, SAME_BITS])
    about = hashlib.sha256(arguments.encode())
    for name in files:
        about.update(f"{name}\0{_content(root / name)}\n".encode("utf-8", "replace"))
    name = f"photos-{about.hexdigest()[:20]}"
    prepared = cache_folder() / "prepared" / name
    index = _read_index(prepared)
    if index is None:
        prepared, index = _prepare(root, files, prepared, test_size, seed)
    sides: dict[str, Any] = {}
    for side in ("train", "test"):
        rows = [row for row in index["photos"] if row["side"] == side]
        sides[f"{side}_files"] = tuple(row["file"] for row in rows)
        for key in ("label", "group"):
            numbers = np.array([row[key] for row in rows], np.int64)
            sides[f"{side}_{key}s"] = numbers
    return Photos(
        train=prepared / "train",
        test=prepared / "test",
        class_names=tuple(index["class_names"]),
        skipped=tuple(sorted([*map(tuple, index["skipped"]), *left_out])),
        **sides,
    )


def load_photo_credits() -> dict[str, dict[str, str]]:
    """Who made each of the shipped photos, where it comes from, and its licence.

    Returns
    -------
    dict of str to dict
        By ``class/name`` without ending; each holds ``"author"``, ``"source"`` and
        ``"licence"``.
    """
    credits = {}
    keys = {"Copyright": "author", "Source": "source", "License": "licence"}
    for path in sorted(fetch("photos").glob("*/CREDITS")):
        for block in path.read_text(encoding="utf-8").split("\n\n"):
            head, _, names = block.partition("Files:")
            pairs = [line.split(": ", 1) for line in head.splitlines() if ": " in line]
            entry = {keys[k]: v.strip() for k, v in pairs if k in keys}
            for name in names.split():
                credits[f"{path.parent.name}/{Path(name).stem}"] = entry
    return credits


# --- finding ---------------------------------------------------------------------


def _folder(source: str | Path) -> Path:
    if source == "shipped":
        return fetch("photos")
    if source == "animals":
        return fetch("animals")
    root = Path(os.path.expanduser(source))
    try:
        found = stat.S_ISDIR(root.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        found = False
    except OSError as error:
        raise _unreadable(root, error) from None
    if not found:
        raise DataError(
            f"There is no folder {root}. Choose 'shipped', 'animals', or a folder that "
            "holds one folder of photos for each class."
        )
    return root


def _unreadable(folder: Path, error: OSError) -> DataError:
    return DataError(
        f"{folder} cannot be read ({error.strerror or error}): ask for the right to "
        "read it, or choose another folder."
    )


def _list_files(root: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """List whatever might be a photo, and what is left out with the reason.

    Names are below the folder: ``class/name``, or ``class/folder/name``.
    """
    files: list[str] = []
    left_out: list[tuple[str, str]] = []
    loose = False
    try:
        entries = _entries(root)
    except OSError as error:
        raise _unreadable(root, error) from None
    for entry in entries:
        if _is_left_behind(entry.name):
            left_out.append((entry.name, HIDDEN))
            continue
        try:
            is_folder = entry.is_dir()
        except OSError as error:  # a link to itself
            left_out.append((entry.name, _cannot_be_read(error)))
            continue
        if is_folder:
            try:
                own = _list_class(root, Path(entry), left_out)
            except OSError as error:
                raise _unreadable(Path(entry), error) from None
            if not own:
                left_out.append((entry.name, "it holds no photos"))
            files += own
        elif entry.name.lower() != CREDITS:
            loose |= Path(entry).suffix.lower() in ENDINGS
            left_out.append((entry.name, "it is beside the folders of classes"))
    if not files:
        hint = " The photos in it lie loose." if loose else " It holds no photos."
        raise DataError(
            f"I expected one folder of photos for each class in {root}.{hint}"
        )
    return sorted(files), left_out


def _is_left_behind(name: str) -> bool:
    return name[0] in ".@" or name.lower() in LEFT_BEHIND


def _cannot_be_read(error: OSError) -> str:
    return f"it cannot be read ({error.strerror or error})"


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _list_class(root: Path, folder: Path, left_out: list[tuple[str, str]]) -> list[str]:
    """List the files of a class, at any depth, without following links to folders."""
    files = []
    for entry in _entries(folder):
        path = Path(entry)
        name = path.relative_to(root).as_posix()
        if _is_left_behind(entry.name):
            left_out.append((name, HIDDEN))
            continue
        try:
            if entry.is_dir(follow_symlinks=False):
                files += _list_class(root, path, left_out)
            elif not entry.is_file():
                what = "a link to a folder" if entry.is_dir() else "no regular file"
                left_out.append((name, f"it is {what}"))
            elif entry.name.lower() != CREDITS:
                files.append(name)
        except OSError as error:
            left_out.append((name, _cannot_be_read(error)))
    return files


def _content(path: Path) -> str:
    try:
        return digest(path)
    except OSError:
        return "unreadable"


# --- one photo -------------------------------------------------------------------


def _read_photo(path: Path) -> Any:
    """Read a file as a small RGB picture; raise ValueError with the reason if not."""
    from PIL import Image, ImageOps

    if path.suffix.lower() not in ENDINGS:
        raise ValueError(f"its ending is none of {', '.join(ENDINGS)}")
    try:
        with warnings.catch_warnings():
            # Pillow warns at 89 million pixels and refuses twice as many. JPEG is
            # opened at a fraction of its size; the others are counted below.
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as photo:
                width, height = photo.size
                if min(width, height) < SHORTEST_SIDE:
                    raise ValueError(f"it has only {width} × {height} pixels")
                photo.draft("RGB", (2 * LONGEST_SIDE, 2 * LONGEST_SIDE))
                if photo.size[0] * photo.size[1] > MOST_PIXELS:
                    raise ValueError(
                        f"it has {width:,} × {height:,} pixels; make it smaller"
                    )
                photo.load()
                with contextlib.suppress(Exception):  # a damaged EXIF block
                    ImageOps.exif_transpose(photo, in_place=True)
                photo = _to_rgb(photo)
        photo.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    except Image.DecompressionBombError:
        raise ValueError("it has more pixels than Pillow dares to read") from None
    except Image.UnidentifiedImageError:
        raise ValueError("it is no picture, whatever its name says") from None
    except ValueError:
        raise
    except PermissionError as error:
        raise ValueError(_cannot_be_read(error)) from None
    except Exception as error:  # decoders raise many kinds
        reason = str(error).replace(str(path), path.name) or type(error).__name__
        raise ValueError(f"it cannot be read ({reason})") from None
    if min(photo.size) < 2:
        raise ValueError(f"it is a strip of {width:,} × {height:,} pixels")
    return photo


def _to_rgb(photo: Any) -> Any:
    """Turn any mode into RGB: transparent places white, 16 bits to 8."""
    from PIL import Image

    if photo.mode.startswith("I") or photo.mode == "F":
        values = np.nan_to_num(np.asarray(photo, np.float32))
        top = float(values.max(initial=0))
        full = 255 if top <= 255 else 65_535 if top <= 65_535 else top
        if photo.mode == "F" and top <= 1:
            full = 1
        scaled = np.clip(values / full * 255, 0, 255).astype(np.uint8)
        return Image.fromarray(scaled).convert("RGB")
    if photo.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in photo.info:
        photo = photo.convert("RGBA")
        paper = Image.new("RGB", photo.size, "white")
        paper.paste(photo, mask=photo.getchannel("A"))
        return paper
    return photo if photo.mode == "RGB" else photo.convert("RGB")


def _fingerprints(photo: Any) -> tuple[np.ndarray, np.ndarray]:
    """Difference hash of a photo and of its mirror image, 64 bits each.

    Eight rows of nine grey pixels; a bit says whether the next pixel is brighter.
    """
    from PIL import Image

    grey = photo.convert("L").resize((9, 8), Image.Resampling.LANCZOS)
    pixels = np.asarray(grey, np.int16)
    mirrored = pixels[:, ::-1]
    own, other = ((p[:, 1:] > p[:, :-1]).ravel() for p in (pixels, mirrored))
    return own, other


def group_near_duplicates(fingerprints: Sequence[Any], mirrored: Any) -> np.ndarray:
    """Give near-duplicates the same number.

    Parameters
    ----------
    fingerprints, mirrored : bool arrays of shape (n, 64)
        Difference hashes of the photos and of their mirror images.

    Returns
    -------
    numpy.ndarray of shape (n,), int64
        Numbers from 0; two photos share one when a chain of photos, each within
        `SAME_BITS` of the next, joins them.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    bits = np.asarray(fingerprints, np.int32) * 2 - 1
    other = np.asarray(mirrored, np.int32) * 2 - 1
    # The product counts equal bits less different ones.
    near = 64 - np.maximum(bits @ bits.T, bits @ other.T) <= 2 * SAME_BITS
    _, groups = connected_components(csr_array(near), directed=False)
    return groups.astype(np.int64)


# --- all of them -----------------------------------------------------------------


def _prepare(
    root: Path, files: Sequence[str], final: Path, test_size: float, seed: int
) -> tuple[Path, dict[str, Any]]:
    """Write the prepared folder under another name, then move it into place."""
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".part-", dir=final.parent))
        keep = True
    except OSError as error:
        try:
            staging = Path(tempfile.mkdtemp(prefix="embeddings-course-photos-"))
        except OSError:
            raise _not_prepared(final.parent, error) from None
        atexit.register(shutil.rmtree, staging, ignore_errors=True)
        keep = False
        print(
            f"{final.parent} cannot be written ({error.strerror}): the photos are "
            "prepared for this session only.",
            file=sys.stderr,
        )
    try:
        index = _write_photos(root, files, staging, test_size, seed)
        if not keep:
            return staging, index
        shutil.rmtree(final, ignore_errors=True)  # one that lost some of its pictures
        os.chmod(staging, 0o755)
        try:
            staging.rename(final)
        except OSError:
            # Another process was faster; its folder has the same name and content.
            if _read_index(final) is None:
                raise
            shutil.rmtree(staging, ignore_errors=True)
        return final, index
    except OSError as error:
        shutil.rmtree(staging, ignore_errors=True)
        raise _not_prepared(staging.parent, error) from None
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _not_prepared(folder: Path, error: OSError) -> DataError:
    return DataError(
        f"The photos could not be prepared in {folder} ({error.strerror or error}). "
        "Free some space, or set COURSE_DATA_DIR to a folder on another disk."
    )


def _write_photos(
    root: Path, files: Sequence[str], folder: Path, test_size: float, seed: int
) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    prints, skipped, taken = [], [], set()
    everything = folder / "all"
    everything.mkdir()
    for number, name in enumerate(files):
        try:
            photo = _read_photo(root / name)
        except ValueError as reason:
            skipped.append((name, str(reason)))
            continue
        prints.append(_fingerprints(photo))
        # The file's own name, as far as every system and TensorFlow can read it.
        stem = re.sub(r"[^\w .,()=+-]", "_", Path(name).stem)[:80].strip() or "photo"
        kind = name.split("/", 1)[0]
        if (kind, stem.casefold()) in taken:
            stem = f"{stem} {number}"
        taken.add((kind, stem.casefold()))
        photo.save(everything / f"{number}.png", compress_level=3)
        size = (everything / f"{number}.png").stat().st_size
        rows.append({"number": number, "class": kind, "bytes": size})
        rows[-1]["file"] = f"{kind}/{stem}.png"
    if prints:
        groups = group_near_duplicates(*zip(*prints, strict=True))
        for row, group in zip(rows, groups, strict=True):
            row["group"] = int(group)
    class_names = sorted({name.split("/", 1)[0] for name in files})
    _need_enough(root, rows, class_names, skipped)
    _split(rows, test_size, seed)
    for row in rows:
        row["label"] = class_names.index(row.pop("class"))
        target = folder / row["side"] / row["file"]
        target.parent.mkdir(parents=True, exist_ok=True)
        (everything / f"{row.pop('number')}.png").rename(target)
    everything.rmdir()
    # Keras reads class after class, in each the names in order.
    rows.sort(key=lambda row: (row["label"], row["file"].split("/", 1)[1]))
    index = {"class_names": class_names, "photos": rows, "skipped": skipped}
    (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")
    return index


def _need_enough(
    root: Path,
    rows: Sequence[dict[str, Any]],
    class_names: Sequence[str],
    skipped: Sequence[tuple[str, str]],
) -> None:
    """Raise the sentence that names what keeps these photos from being classes."""
    lost = Counter(name.split("/", 1)[0] for name, _ in skipped)
    if len(class_names) < 2:
        raise DataError(
            f"{root} holds photos of one class, '{class_names[0]}'. Add a folder with "
            "photos of another: there is nothing to tell apart."
        )
    for name in class_names:
        different = len({row["group"] for row in rows if row["class"] == name})
        if different >= FEWEST_PHOTOS:
            continue
        also = ""
        if lost[name]:
            file, reason = next(s for s in skipped if s[0].startswith(f"{name}/"))
            also = f" {lost[name]} could not be used; of {file}: {reason}."
        raise DataError(
            f"Class '{name}' in {root} has {different} different photos, and "
            f"{FEWEST_PHOTOS} are needed at least.{also} Add some, or remove the class."
        )


def _split(rows: Sequence[dict[str, Any]], test_size: float, seed: int) -> None:
    """Put a share of each class on the test side, groups kept whole."""
    rng = np.random.default_rng(seed)
    members: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        members.setdefault(row["group"], []).append(row)
    for kind in sorted({row["class"] for row in rows}):
        # A group that spans two classes is dealt out with the first of them.
        own = [g for g, photos in members.items() if photos[0]["class"] == kind]
        own = [own[place] for place in rng.permutation(len(own))]
        n_photos = sum(len(members[group]) for group in own)
        room = min(max(1, round(test_size * n_photos)), n_photos - 1)
        held_out = []
        for group in own[:-1]:
            if len(members[group]) <= room:
                held_out.append(group)
                room -= len(members[group])
        if not held_out:
            held_out = [min(own, key=lambda group: len(members[group]))]
        for group in own:
            for row in members[group]:
                row["side"] = "test" if group in held_out else "train"


def _read_index(folder: Path) -> dict[str, Any] | None:
    """Read what a prepared folder holds; None unless all of it is there."""
    try:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        for row in index["photos"]:
            with open(folder / row["side"] / row["file"], "rb") as photo:
                if os.fstat(photo.fileno()).st_size != row["bytes"]:
                    return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return index
