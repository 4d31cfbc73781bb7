"""Photos of any kind become clean class folders, or are skipped by name."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from pathlib import Path

from course_tools.lessons import ROOT
from course_utils.data import load_photo_credits, load_photos, photos
from course_utils.errors import DataError
from course_utils.frameworks import import_keras
from tests.systems import needs_posix

import numpy as np
import pytest
from PIL import Image

ANIMALS = ROOT.parent / "shared" / "data" / "animals"


def noise(number, size=(64, 48)):
    """Make a picture that is like no other: coarse random patches."""
    rng = np.random.default_rng(number)
    patches = rng.integers(0, 256, (8, 9, 3), dtype=np.uint8)
    return Image.fromarray(patches).resize(size, Image.Resampling.NEAREST)


@pytest.fixture
def folder(tmp_path, cache):
    """Two classes of six different photos each."""
    root = tmp_path / "mine"
    for place, kind in enumerate(("mugs", "shoes")):
        (root / kind).mkdir(parents=True)
        for number in range(6):
            noise(100 * place + number).save(root / kind / f"{number}.png")
    return root


def all_files(loaded):
    return loaded.train_files + loaded.test_files


def reasons(loaded):
    return dict(loaded.skipped)


def test_the_shipped_photos_come_in_four_classes_without_loss(cache):
    loaded = load_photos()
    assert loaded.class_names == ("fishes", "monuments", "renewable", "tools")
    labels = np.concatenate([loaded.train_labels, loaded.test_labels])
    assert np.bincount(labels).tolist() == [28, 27, 28, 38]
    assert np.bincount(loaded.test_labels).tolist() == [7, 7, 7, 10]
    assert not loaded.skipped
    assert loaded.train.is_relative_to(cache)


def test_keras_reads_files_and_labels_in_the_order_given(folder):
    keras = import_keras()

    loaded = load_photos(folder)
    for side in ("train", "test"):
        dataset = keras.utils.image_dataset_from_directory(
            getattr(loaded, side), batch_size=None, shuffle=False, verbose=False
        )
        root = f"{getattr(loaded, side)}/"
        files = tuple(path.removeprefix(root) for path in dataset.file_paths)
        assert files == getattr(loaded, f"{side}_files")
        assert tuple(dataset.class_names) == loaded.class_names
        labels = [int(label) for _, label in dataset]
        assert labels == getattr(loaded, f"{side}_labels").tolist()


def test_the_split_follows_the_seed_and_is_kept(folder, monkeypatch):
    first = load_photos(folder)
    assert any(
        load_photos(folder, seed=seed).test_files != first.test_files
        for seed in range(1, 6)
    )
    monkeypatch.setattr(photos, "_write_photos", None)
    again = load_photos(folder)
    assert again.test_files == first.test_files and again.test == first.test


def test_a_prepared_folder_that_lost_a_picture_is_made_again(folder):
    loaded = load_photos(folder)
    lost = loaded.train / loaded.train_files[0]
    lost.unlink()
    assert load_photos(folder).train_files == loaded.train_files
    assert lost.exists()


def test_changed_photos_are_prepared_anew(folder):
    before = load_photos(folder)
    noise(7).save(folder / "mugs" / "new.png")
    assert load_photos(folder).train.parent != before.train.parent


def test_near_duplicates_stay_on_one_side(folder):
    photo = noise(3)
    for number, copy in enumerate(
        [
            photo.resize((200, 150)),
            photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
            photo.point(lambda value: value * 0.9),
        ]
    ):
        copy.convert("RGB").save(folder / "mugs" / f"copy {number}.jpg", quality=50)
    for seed in range(8):
        loaded = load_photos(folder, seed=seed)
        assert not set(loaded.train_groups) & set(loaded.test_groups)
        groups = np.concatenate([loaded.train_groups, loaded.test_groups])
        assert np.bincount(groups).max() == 4 and len(np.unique(groups)) == 12


def test_the_animals_hold_one_pair_of_twins(cache):
    if not ANIMALS.exists():
        pytest.skip("the original photos are not beside this checkout")
    shutil.copytree(ANIMALS, cache / "animals")
    loaded = load_photos("animals")
    files = np.array(all_files(loaded))
    groups = np.concatenate([loaded.train_groups, loaded.test_groups])
    assert len(files) == 197
    (twins,) = np.flatnonzero(np.bincount(groups) > 1)
    assert set(files[groups == twins]) == {
        "dogs/images (6).png",
        "dogs/images (21).png",
    }


@pytest.mark.parametrize("source", ["shipped", "animals"])
def test_features_and_a_linear_head_reach_the_goal(source, request):
    if source == "animals":
        if not ANIMALS.exists():
            pytest.skip("the original photos are not beside this checkout")
        cache = request.getfixturevalue("cache")
        shutil.copytree(ANIMALS, cache / "animals")
        loaded = load_photos(source)
        request.getfixturevalue("monkeypatch").undo()  # the network is in the real one
    else:
        loaded = load_photos(source)
    assert five_fold_accuracy(loaded) >= 0.94


def five_fold_accuracy(loaded):
    from course_utils.data import load_mobilenet_v2, scale_pixels

    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_score

    pixels = np.concatenate(
        [
            np.stack([x for x, _ in dataset])
            for dataset in (
                import_keras().utils.image_dataset_from_directory(
                    side,
                    image_size=(224, 224),
                    crop_to_aspect_ratio=True,
                    batch_size=None,
                    shuffle=False,
                    verbose=False,
                )
                for side in (loaded.train, loaded.test)
            )
        ]
    )
    base = load_mobilenet_v2(include_top=False)
    features = base.predict(scale_pixels(pixels), verbose=0).mean(axis=(1, 2))
    return cross_val_score(
        LogisticRegression(max_iter=2000),
        features,
        np.concatenate([loaded.train_labels, loaded.test_labels]),
        groups=np.concatenate([loaded.train_groups, loaded.test_groups]),
        cv=StratifiedGroupKFold(5, shuffle=True, random_state=0),
    ).mean()


def test_odd_but_honest_pictures_are_loaded(folder):
    target = folder / "mugs"
    photo = noise(50)
    photo.convert("CMYK").save(target / "cmyk.jpg")
    deep = np.random.default_rng(51).integers(0, 65_536, (40, 60)).astype(np.uint16)
    Image.fromarray(deep).save(target / "deep.png")
    Image.fromarray(deep).save(target / "deep.tiff")
    noise(52).convert("P").save(target / "palette.gif")
    clear = noise(53).convert("RGBA")
    clear.putalpha(0)
    clear.save(target / "clear.png")
    noise(54).convert("1").save(target / "bits.png")
    noise(55).convert("LA").save(target / "grey.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    noise(56, (100, 40)).save(target / "turned.jpg", exif=turned)
    noise(57).save(target / "größe 名.webp")
    loaded = load_photos(folder)
    assert not loaded.skipped
    assert len(all_files(loaded)) == 12 + 9
    found = {}
    for side, files in (
        (loaded.train, loaded.train_files),
        (loaded.test, loaded.test_files),
    ):
        for file in files:
            with Image.open(side / file) as picture:
                assert picture.mode == "RGB" and picture.format == "PNG"
                found[file.split("/")[1]] = np.asarray(picture)
    assert found["clear.png"].min() == 255, "transparent is white"
    assert found["turned.png"].shape[0] > found["turned.png"].shape[1]
    middle = found["deep.png"].mean()
    assert 100 < middle < 155, "16 bits keep their grey"
    difference = np.abs(found["cmyk.png"].astype(int) - np.asarray(photo)).mean()
    assert difference < 40, "not a negative"


def test_what_is_no_photo_is_skipped_with_its_name_and_reason(folder):
    target = folder / "shoes"
    (target / "letter.jpg").write_text("Dear student")
    buffer = io.BytesIO()
    noise(60, (600, 400)).save(buffer, "JPEG")
    (target / "torn.jpg").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    Image.new("RGB", (1, 1)).save(target / "dot.png")
    (target / "empty.png").write_bytes(b"")
    (target / "film.mp4").write_bytes(b"\0" * 100)
    (target / ".hidden.jpg").write_text("listed")
    (target / "Thumbs.db").write_text("listed")
    (target / "CREDITS").write_text("not even listed")
    skipped = reasons(load_photos(folder))
    real = ("letter.jpg", "torn.jpg", "dot.png", "empty.png", "film.mp4")
    assert set(skipped) == {
        f"shoes/{name}" for name in (*real, ".hidden.jpg", "Thumbs.db")
    }
    assert "hidden" in skipped["shoes/.hidden.jpg"]
    assert "left behind" in skipped["shoes/Thumbs.db"]
    assert "no picture" in skipped["shoes/letter.jpg"]
    assert "truncated" in skipped["shoes/torn.jpg"]
    assert "1 × 1" in skipped["shoes/dot.png"]
    assert "no picture" in skipped["shoes/empty.png"]
    assert "ending" in skipped["shoes/film.mp4"]


LEFT_BEHIND = [
    ".ipynb_checkpoints",
    "@eaDir",
    "@Recycle",
    "__MACOSX",
    "__pycache__",
    ".AppleDouble",
    "$RECYCLE.BIN",
    "System Volume Information",
    "lost+found",
]


@pytest.mark.parametrize("name", LEFT_BEHIND)
def test_what_systems_leave_behind_is_passed_over_at_every_level_and_listed(
    folder, name
):
    before = all_files(load_photos(folder))
    (folder / "mugs" / "red").mkdir()
    for place in (folder, folder / "mugs", folder / "mugs" / "red"):
        (place / name / "deep").mkdir(parents=True)
        noise(80).save(place / name / "copy.png")
        noise(81).save(place / name / "deep" / "copy.png")
    loaded = load_photos(folder)
    assert all_files(loaded) == before
    assert loaded.class_names == ("mugs", "shoes")
    assert set(reasons(loaded)) == {name, f"mugs/{name}", f"mugs/red/{name}"}


@pytest.mark.parametrize("name", [".DS_Store", "._0.png", "Thumbs.db", "desktop.ini"])
def test_files_that_systems_leave_behind_are_listed_and_no_photos(folder, name):
    before = all_files(load_photos(folder))
    for place in (folder, folder / "mugs"):
        noise(82).save(place / name, "PNG")
    loaded = load_photos(folder)
    assert all_files(loaded) == before
    assert set(reasons(loaded)) == {name, f"mugs/{name}"}


@pytest.mark.parametrize("name", ["_other", "__other", "other."])
def test_a_class_may_have_any_name_that_is_not_hidden(folder, name):
    shutil.copytree(folder / "shoes", folder / name)
    for path in (folder / name).iterdir():
        noise(int(path.stem) + 300).save(path)
    loaded = load_photos(folder)
    assert name in loaded.class_names
    assert len(all_files(loaded)) == 18 and not loaded.skipped
    dataset = import_keras().utils.image_dataset_from_directory(
        loaded.train, batch_size=None, shuffle=False, verbose=False
    )
    assert tuple(dataset.class_names) == loaded.class_names


def test_what_is_no_class_is_listed(folder):
    (folder / "hats").mkdir()
    (folder / "caps" / ".cache").mkdir(parents=True)
    noise(90).save(folder / "loose.png")
    (folder / "CREDITS").write_text("by me")
    loaded = load_photos(folder)
    assert loaded.class_names == ("mugs", "shoes")
    assert set(reasons(loaded)) == {"hats", "caps", "caps/.cache", "loose.png"}


@needs_posix
def test_links_and_pipes_among_the_photos_are_listed(folder, tmp_path):
    mugs = folder / "mugs"
    (mugs / "again").symlink_to(folder / "shoes")
    (mugs / "circle").symlink_to(mugs / "circle")
    (mugs / "gone.png").symlink_to(tmp_path / "nothing")
    (folder / "loop").symlink_to(folder / "loop")
    os.mkfifo(mugs / "pipe.png")
    skipped = reasons(load_photos(folder))
    assert set(skipped) == {
        "loop",
        *(f"mugs/{name}" for name in ("again", "circle", "gone.png", "pipe.png")),
    }


# --- folders that one may not read -------------------------------------------


@pytest.fixture
def locked(folder, monkeypatch, request):
    """Take rights from a path; root would have them, so a test goes on as nobody."""
    with tempfile.TemporaryDirectory() as top:
        (folder / "mugs" / "red").mkdir()
        noise(95).save(folder / "mugs" / "red" / "1.png")
        root = Path(shutil.copytree(folder, Path(top) / "photos"))
        monkeypatch.setenv("COURSE_DATA_DIR", f"{top}/cache")
        paths = [Path(top), *root.rglob("*"), root]
        if os.geteuid() == 0:
            for path in paths:
                os.chown(path, 65534, 65534)
        changed = []

        def lock(name, mode=0):
            changed.append(root / name)
            (root / name).chmod(mode)
            request.getfixturevalue("as_nobody")
            return root

        yield lock
        for path in changed:
            path.chmod(0o755)


@needs_posix
@pytest.mark.parametrize("name", ["mugs/0.png", "mugs/red"])
def test_a_photo_or_folder_that_may_not_be_read_is_listed(locked, name):
    skipped = reasons(load_photos(locked(name)))
    assert set(skipped) == {name}
    assert "Permission denied" in skipped[name]


@needs_posix
@pytest.mark.parametrize("name", ["mugs", ".", "shoes"])
@pytest.mark.parametrize("mode", [0, 0o444, 0o111])
def test_a_class_that_may_not_be_read_is_one_sentence(locked, name, mode):
    with pytest.raises(DataError) as caught:
        load_photos(locked(name, mode))
    assert "Permission denied" in str(caught.value)
    assert "\n" not in str(caught.value)


@needs_posix
def test_a_prepared_photo_that_may_not_be_read_is_prepared_again(locked):
    root = locked(".", 0o755)
    loaded = load_photos(root)
    (loaded.train / loaded.train_files[0]).chmod(0)
    again = load_photos(root)
    assert (again.train / again.train_files[0]).read_bytes()


def test_a_home_that_is_not_there_is_one_sentence(cache):
    with pytest.raises(DataError, match="There is no folder ~nosuchuser/photos"):
        load_photos("~nosuchuser/photos")


def test_huge_pictures_are_loaded_small_or_skipped_by_name(folder):
    huge = Image.new("RGB", (10_000, 10_000), "teal")
    huge.save(folder / "mugs" / "huge.jpg", quality=30)
    huge.convert("1").save(folder / "mugs" / "huge.png")
    bomb = Image.new("1", (20_000, 20_000))
    bomb.save(folder / "mugs" / "bomb.png")
    loaded = load_photos(folder)
    assert "mugs/huge.png" in all_files(loaded)  # the JPEG, shrunk while it was read
    side = loaded.train if "mugs/huge.png" in loaded.train_files else loaded.test
    with Image.open(side / "mugs" / "huge.png") as picture:
        assert picture.size == (320, 320)
    assert "10,000 × 10,000" in reasons(loaded)["mugs/huge.png"]
    assert "Pillow" in reasons(loaded)["mugs/bomb.png"]


def test_two_files_of_one_name_both_stay(folder):
    noise(70).save(folder / "mugs" / "0.jpg")
    assert len(set(all_files(load_photos(folder)))) == 13


def test_a_folder_that_is_not_there_is_named(tmp_path, cache):
    with pytest.raises(DataError, match="no folder .*nowhere"):
        load_photos(tmp_path / "nowhere")


def test_an_empty_folder_is_told_apart_from_loose_photos(tmp_path, cache):
    with pytest.raises(DataError, match="holds no photos"):
        load_photos(tmp_path)
    noise(1).save(tmp_path / "loose.png")
    with pytest.raises(DataError, match="lie loose"):
        load_photos(tmp_path)


def test_one_class_alone_is_refused(folder):
    shutil.rmtree(folder / "shoes")
    with pytest.raises(DataError, match="one class, 'mugs'"):
        load_photos(folder)


def test_a_class_with_too_few_photos_is_named_with_what_was_lost(folder):
    for number in range(3):
        (folder / "shoes" / f"{number}.png").write_text("no picture")
    with pytest.raises(DataError, match=r"'shoes'.* has 3 .*shoes/0\.png: it is no"):
        load_photos(folder)


def test_copies_do_not_count_as_different_photos(folder):
    for number in range(3):
        (folder / "shoes" / f"{number}.png").unlink()
        shutil.copy(
            folder / "shoes" / "5.png", folder / "shoes" / f"again {number}.png"
        )
    with pytest.raises(DataError, match="'shoes'.* has 3 different"):
        load_photos(folder)


@pytest.mark.parametrize("share", [0, 1, -0.5, 25])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match="choose a number between 0 and 1"):
        load_photos(test_size=share)


def test_where_the_cache_cannot_be_written_a_temporary_folder_is_used(
    folder, tmp_path, monkeypatch, capsys
):
    blocked = tmp_path / "a file, not a folder"
    blocked.write_text("")
    monkeypatch.setenv("COURSE_DATA_DIR", str(blocked))
    loaded = load_photos(folder)
    assert all((loaded.train / file).exists() for file in loaded.train_files)
    assert "for this session only" in capsys.readouterr().err


def test_an_interrupted_preparation_leaves_nothing(folder, cache, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(photos, "_split", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load_photos(folder)
    assert not list((cache / "prepared").iterdir())


def test_every_shipped_photo_has_an_author_and_a_free_licence():
    credits = load_photo_credits()
    loaded = load_photos()
    names = {file.removesuffix(".png") for file in all_files(loaded)}
    assert names <= set(credits)
    for name in names:
        entry = credits[name]
        assert entry["author"] and entry["source"].startswith("http")
        assert entry["licence"] in ("Public Domain", "CC0-1.0"), entry
