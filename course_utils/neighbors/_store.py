"""An index in a folder: files that are named after what they hold."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any, Self

from course_utils.errors import DataError
from course_utils.neighbors._common import (
    BackendError,
    Misfit,
    ParameterError,
    expect,
)

import numpy as np
from sklearn.utils.validation import check_is_fitted

FORMAT = 3
ROLES = ("index", "labels", "classes", "center", "groups", "aside")
FILE_NAME = re.compile(rf"({'|'.join(ROLES)})-[0-9a-f]{{16}}\.[a-z]+")
STAGED = re.compile(r"\.part-\w{8}")
# Parameters that count as they were at `fit`.
FITTED = ("metric", "backend", "index", "storage", "n_components", "rerank")


class Stored:
    """The part of FastANN that saves and loads."""

    def save(self: Any, path: str | os.PathLike[str]) -> Path:
        """Write the fitted index into a folder, without pickle.

        Parameters
        ----------
        path : path
            A folder, made where it is missing. It gets the index, a few arrays
            (``.npy``) and ``about.json``, which names them with their sha256. A
            former index there counts until ``about.json`` is replaced, which is
            the last step and a single one. What a killed save left is removed.

        Returns
        -------
        pathlib.Path
            The folder.

        Raises
        ------
        DataError
            When it cannot be written; what was there is untouched.
        ParameterError
            When the labels are neither numbers nor text, or `weights` is a function.
        """
        from filelock import FileLock

        check_is_fitted(self)
        folder = Path(path)
        classes = _plain(self.classes_)
        self._check_parameters()
        if callable(self.weights):
            raise ParameterError(
                "weights is a function, which cannot be saved without pickle; save "
                "with set_params(weights='uniform') and set the function after load."
            )
        params = {name: _jsonable(v) for name, v in self.get_params(False).items()}
        fitted = dict(self._fitted)
        if self._reranked and self.rerank is not None:
            del fitted["rerank"]  # read at each search
        about = {
            "format": FORMAT,
            "params": params | fitted,
            "scale": self._scale,
            "n_features": self.n_features_in_,
            "n_samples": len(self._labels),
            "kind": self._engine.kind,
        }
        if hasattr(self, "feature_names_in_"):
            about["feature_names"] = list(self.feature_names_in_)
        arrays = {"labels": self._labels, "classes": classes}
        if self._center is not None:
            arrays["center"] = self._center
        if self._copies is not None:
            arrays["groups"] = self._copies.groups
        if getattr(self._engine, "aside", self._labels[:0]).size:
            arrays["aside"] = self._engine.aside
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / ".lock"):
                _sweep(folder)
                with tempfile.TemporaryDirectory(
                    prefix=".part-", dir=folder, ignore_cleanup_errors=True
                ) as staging:
                    self._write(folder, Path(staging), arrays, about)
        except (OSError, RuntimeError) as error:
            raise DataError(
                f"The index could not be written to {folder} ({_reason(error)}); what "
                "was there is untouched: free some space or choose another folder."
            ) from None
        return folder

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, verify: bool = True) -> Self:
        """Open a saved index by memory map: only what is read takes memory.

        Parameters
        ----------
        path : path
            A folder that `save` wrote.
        verify : bool
            Whether each file is compared with its sha256, which reads it once.

        Returns
        -------
        FastANN
            Fitted. Text labels come back as NumPy text; a `random_state` that
            was no whole number comes back as None.

        Raises
        ------
        DataError
            When a file is missing or is not what was saved.
        BackendError
            When the backend is missing.

        Notes
        -----
        While another process saves into the folder, the former or the new index is
        opened. The digests find damage, not malice: who can write the folder can write
        them too. faiss and annoy parse the index in C++, and a crafted one may run code
        as a pickle may; open only what you or somebody you trust saved.
        """
        folder = Path(path)
        about = _read_about(folder)
        while True:
            try:
                return cls._open(folder, about, verify)
            except DataError:
                former, about = about, _read_about(folder)
                if former == about:
                    raise  # else a save came between

    @classmethod
    def _open(cls, folder, about, verify):
        try:
            self: Any = cls(**about["params"])
            kind, n = about["kind"], about["n_samples"]
            _expect_sizes(about)
            self._read_parameters()
            expect(
                kind == self._asked or (kind == "exact" and self._auto),
                "kind is none that its parameters make",
            )
            engine = self._engine_of(kind)
            engine.library()
            self.n_features_in_, self.n_samples_fit_ = about["n_features"], n
            self._scale = about["scale"]
            if "feature_names" in about:
                self.feature_names_in_ = np.array(about["feature_names"], object)
            files = {
                role: _checked(folder, file, verify)
                for role, file in about["files"].items()
            }
            self._engine = engine.read(
                files["index"], kind, self._metric, self.n_features_in_
            )
            arrays = {
                role: np.load(path, mmap_mode="r", allow_pickle=False)
                for role, path in files.items()
                if role != "index"
            }
            self._labels, self.classes_ = arrays["labels"], np.array(arrays["classes"])
            _expect_labels(self._labels, self.classes_, n)
            self._center = None
            if "center" in arrays:
                self._center = np.array(arrays["center"])
                expect(
                    self._measures_gaps()
                    and self._center.shape == (self.n_features_in_,)
                    and self._center.dtype == np.float64
                    and np.isfinite(self._center).all(),
                    "the center is not one number a column",
                )
            self._copies = None
            n_rows = self._engine.n_rows()
            if "groups" in arrays:
                _expect_groups(arrays["groups"], n, n_rows)
                self._set_groups(np.array(arrays["groups"]))
            else:
                expect(n_rows == n, "the index has other rows")
            if "aside" in arrays:
                able = kind == "hnsw" or self._reranked
                expect(able, "such an index sets no rows aside")
                _expect_aside(arrays["aside"], n_rows)
                self._engine.set_aside(arrays["aside"])
        except BackendError:
            raise
        except ParameterError as error:
            raise DataError(_not_saved_here(folder, str(error).rstrip("."))) from None
        except Misfit as error:
            raise DataError(_not_saved_here(folder, str(error))) from None
        except (AttributeError, KeyError, TypeError, ValueError, OSError, RuntimeError):
            raise DataError(
                _not_saved_here(folder, "a part of it is missing")
            ) from None
        return self

    def _write(self: Any, folder, staging, arrays, about):
        exact = self._engine.kind == "exact"
        index = staging / f"index.{'npy' if exact else self._fitted['backend']}"
        self._engine.write(index)
        for role, array in arrays.items():
            with open(staging / f"{role}.npy", "wb") as stream:
                np.save(stream, array, allow_pickle=False)
        about["files"] = files = {}
        for part in sorted(staging.iterdir()):
            with open(part, "rb") as stream:
                sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            name = f"{part.stem}-{sha256[:16]}{part.suffix}"
            files[part.stem] = {
                "name": name,
                "bytes": part.stat().st_size,
                "sha256": sha256,
            }
        about["sha256"] = _digest(about)
        text = json.dumps(about, indent=1) + "\n"
        (staging / "about.json").write_text(text, encoding="utf-8")
        for role, file in files.items():
            _move(next(staging.glob(f"{role}.*")), folder, file)
        # From here on the folder holds the new index, before it the former one.
        os.replace(staging / "about.json", folder / "about.json")
        kept = {file["name"] for file in files.values()}
        for old in folder.iterdir():
            if FILE_NAME.fullmatch(old.name) and old.name not in kept:
                with contextlib.suppress(PermissionError):  # mapped, as in `_move`
                    old.unlink(missing_ok=True)


def _plain(classes: np.ndarray) -> np.ndarray:
    """Labels as an array that needs no pickle."""
    if classes.dtype.kind in "biufU":
        return classes
    if all(isinstance(label, str) for label in classes):
        return classes.astype(str)
    raise ParameterError(
        "The labels are neither numbers nor text, so they cannot be saved without "
        "pickle; fit with text labels."
    )


def _jsonable(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    return value if isinstance(value, bool | int | str) else None


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or " ".join(str(error).split())
    return text.rsplit("Error: ", 1)[-1][:160]


def _not_saved_here(folder: Path, why: str) -> str:
    return (
        f"{folder} does not hold an index that this version of FastANN saved ({why}); "
        "save it again."
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and value > 0


def _digest(about: dict[str, Any]) -> str:
    parts = {name: part for name, part in about.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _read_about(folder: Path) -> dict[str, Any]:
    path = folder / "about.json"
    try:
        if not path.exists() and (folder / ".lock").exists():
            _wait_for_a_save(folder)
        about = json.loads(path.read_text(encoding="utf-8"))
        expect(isinstance(about, dict), "about.json is no description")
        expect(
            about.get("format") == FORMAT,
            f"its format is {str(about.get('format'))[:20]}, not {FORMAT}: fit again",
        )
        expect(about["sha256"] == _digest(about), "about.json failed its checksum")
        return about
    except (FileNotFoundError, NotADirectoryError):
        if folder.is_dir():
            text = f"No saved index is in {folder}: give the folder that `save` wrote."
        else:
            what = "is a file" if folder.exists() else "does not exist"
            text = f"{folder} {what}: give the folder that `save` wrote."
        raise DataError(text) from None
    except OSError as error:
        raise DataError(
            f"{path} could not be read ({_reason(error)}): allow reading it, or save "
            "the index again."
        ) from None
    except Misfit as error:
        raise DataError(_not_saved_here(folder, str(error))) from None
    except (ValueError, KeyError, RecursionError):
        raise DataError(_not_saved_here(folder, "about.json is damaged")) from None


def _wait_for_a_save(folder: Path) -> None:
    from filelock import FileLock

    # Where this may not write, nothing is waited for.
    with contextlib.suppress(OSError), FileLock(folder / ".lock", timeout=60):
        pass


def _expect_sizes(about: dict[str, Any]) -> None:
    """Refuse counts, names and files of other kinds than `save` writes."""
    n, width, scale = about["n_samples"], about["n_features"], about["scale"]
    expect(_is_count(n), "n_samples is no count")
    expect(_is_count(width), "n_features is no count")
    power = isinstance(scale, float) and 0 < scale < np.inf
    expect(power and np.frexp(scale)[0] == 0.5, "scale is no power of 2")
    seed = about["params"]["random_state"]
    expect(seed is None or type(seed) is int, "random_state is no whole number")
    if "feature_names" in about:
        names = about["feature_names"]
        good = isinstance(names, list) and len(names) == width
        expect(
            good and all(isinstance(name, str) for name in names),
            "feature_names is not one name a column",
        )
    files = about["files"]
    expect(
        isinstance(files, dict) and {*ROLES[:3]} <= {*files} <= {*ROLES},
        "files names other parts",
    )
    for role, file in files.items():
        good = isinstance(file, dict) and {*file} == {"name", "bytes", "sha256"}
        good = good and re.fullmatch("[0-9a-f]{64}", str(file["sha256"]))
        name = f"{role}-{str(file['sha256'])[:16]}" if good else ""
        expect(
            good
            and _is_count(file["bytes"])
            and FILE_NAME.fullmatch(str(file["name"]))
            and file["name"].startswith(f"{name}."),
            f"files does not name the {role}",
        )


def _expect_labels(labels: np.ndarray, classes: np.ndarray, n: int) -> None:
    expect(
        classes.ndim == 1
        and classes.dtype.kind in "biufU"
        and len(classes)
        and np.array_equal(np.unique(classes), classes),
        "the classes are not different labels in order",
    )
    expect(
        labels.shape == (n,)
        and labels.dtype.kind == "i"
        and labels.min() >= 0
        and labels.max() < len(classes),
        "the labels are not one class a row",
    )


def _expect_groups(groups: np.ndarray, n: int, n_groups: int) -> None:
    good = groups.shape == (n,) and groups.dtype.kind == "i" and groups.min() >= -1
    good = good and 0 <= groups.max() < n_groups
    expect(good, "the groups of equal rows are not one a row")
    # A group without a row had one that was removed.
    n_empty = n_groups - len(np.unique(groups[groups >= 0]))
    expect(n_empty <= (groups < 0).sum(), "the index has other rows")


def _expect_aside(aside: np.ndarray, n: int) -> None:
    good = aside.ndim == 1 and aside.dtype.kind == "i"
    good = good and len(aside) > 0 and np.array_equal(np.unique(aside), aside)
    expect(good and aside[0] >= 0 and aside[-1] < n, "aside does not name its rows")


def _sweep(folder: Path) -> None:
    """Remove what killed saves left; the holder of the lock may."""
    for left in folder.iterdir():
        if STAGED.fullmatch(left.name) and left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)


def _move(staged: Path, folder: Path, file: dict[str, Any]) -> None:
    """Move a file into place; on Windows neither may be mapped."""
    target = folder / file["name"]
    try:
        os.replace(staged, target)
    except PermissionError:
        if target.exists():  # its name says that it holds the same
            _checked(folder, file, verify=True)
        else:
            shutil.copyfile(staged, target)


def _checked(folder: Path, file: dict[str, Any], verify: bool) -> Path:
    path = folder / file["name"]
    try:
        same = path.stat().st_size == file["bytes"]
        if same and verify:
            with open(path, "rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
            same = found == file["sha256"]
    except OSError:
        raise DataError(
            f"{path.name} is missing from {folder}: save the index again."
        ) from None
    if not same:
        raise DataError(
            f"{path} is not the file that was saved (its sha256 or its size differs): "
            "save the index again."
        )
    return path
