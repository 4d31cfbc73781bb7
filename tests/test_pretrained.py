"""MobileNet comes as the checkpoint has it, and torch stays out of the kernel."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

from course_tools.cli import main
from course_tools.lessons import ROOT
from course_utils.data import fetch as fetching
from course_utils.data import pretrained, scale_pixels
from course_utils.data.pretrained import (
    CHECKPOINT,
    CONVERTED,
    decode_predictions,
    load_imagenet_names,
    load_mobilenet_v2,
    prepare_mobilenet_v2,
)
from course_utils.errors import DataError
from course_utils.frameworks import import_keras

import numpy as np
import pytest
import skimage.data

V1 = ROOT.parent / "shared" / "data" / "mobilenet_7_5_224_tf.h5"
PHOTOS = ROOT / "course_utils" / "data" / "photos"
TRIO = ("monuments/arcDeTriomphe", "fishes/fish25", "tools/screwDriver2")

# MobileNetV2's forward pass from the checkpoint's arrays alone, in torch.
BY_TORCH = """
    import sys
    import numpy as np, torch
    from torch.nn import functional as F
    kept = torch.load(sys.argv[1], weights_only=True)
    x = torch.from_numpy(np.load(sys.argv[2]).transpose(0, 3, 1, 2).copy())

    def norm(x, name):
        parts = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(kept[f"{name}.{part}"] for part in parts), eps=1e-5)

    def conv(x, name, stride=1):
        weight = kept[f"{name}.weight"]
        groups = weight.shape[0] if weight.shape[1] == 1 else 1
        padding = weight.shape[2] // 2
        return F.conv2d(x, weight, stride=stride, padding=padding, groups=groups)

    def step(x, name, stride=1):
        return F.relu6(norm(conv(x, f"{name}.0", stride), f"{name}.1"))

    with torch.no_grad():
        x = step(x, "features.0", 2)
        strides = [1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1]
        for number, stride in enumerate(strides, start=1):
            name, before = f"features.{number}.conv", x
            wide = 0 if number == 1 else 1
            if wide:
                x = step(x, f"{name}.0")
            x = step(x, f"{name}.{wide}", stride)
            x = norm(conv(x, f"{name}.{wide + 1}"), f"{name}.{wide + 2}")
            if x.shape == before.shape:
                x = x + before
        x = step(x, "features.18").mean((2, 3))
        x = F.linear(x, kept["classifier.1.weight"], kept["classifier.1.bias"])
    np.save(sys.argv[3], torch.softmax(x, 1).numpy())
"""


@pytest.fixture(scope="module")
def trio():
    """Three shipped photos, 224 × 224 pixels, scaled."""
    from PIL import Image

    pictures = []
    for name in TRIO:
        with Image.open(PHOTOS / f"{name}.webp") as photo:
            pictures.append(np.asarray(photo.convert("RGB").resize((224, 224))))
    return scale_pixels(np.stack(pictures))


@pytest.fixture(scope="module")
def network(ready):
    return load_mobilenet_v2()


@pytest.fixture(scope="module")
def probabilities(network, trio):
    return network.predict(trio, verbose=0)


def test_keras_agrees_with_the_checkpoints_own_forward_pass(
    trio, probabilities, tmp_path
):
    np.save(tmp_path / "pictures.npy", trio)
    checkpoint = fetching.fetch("mobilenet-v2") / CHECKPOINT
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(BY_TORCH), checkpoint]
        + [tmp_path / "pictures.npy", tmp_path / "by_torch.npy"],
        check=True,
    )
    by_torch = np.load(tmp_path / "by_torch.npy")
    assert np.abs(probabilities - by_torch).max() < 1e-4


def test_shipped_photos_are_named_rightly(probabilities):
    best = [top[0] for top in decode_predictions(probabilities)]
    assert [name for name, _ in best] == ["triumphal arch", "goldfish", "screwdriver"]
    assert min(chance for _, chance in best) > 0.9


def test_a_cat_and_a_cup_of_coffee_are_named(network):
    photos = [skimage.data.chelsea(), skimage.data.coffee()]
    squares = np.stack([middle_square(photo) for photo in photos])
    best = decode_predictions(network.predict(scale_pixels(squares), verbose=0), 1)
    assert [top[0][0] for top in best] == ["Egyptian cat", "espresso"]


def middle_square(photo):
    keras = import_keras()
    side = min(photo.shape[:2])
    top, left = ((n - side) // 2 for n in photo.shape[:2])
    square = photo[top : top + side, left : left + side].astype(np.float32)
    return np.asarray(keras.ops.image.resize(square, (224, 224), antialias=True))


def test_five_names_come_in_falling_order(probabilities):
    for top in decode_predictions(probabilities):
        chances = [chance for _, chance in top]
        assert len(top) == 5 and chances == sorted(chances, reverse=True)


def test_the_classes_have_a_thousand_different_names():
    names = load_imagenet_names()
    assert len(names) == len(set(names)) == 1000
    assert (names[0], names[285], names[967]) == ("tench", "Egyptian cat", "espresso")


def test_features_are_not_taken_for_probabilities():
    with pytest.raises(ValueError, match="with its top"):
        decode_predictions(np.zeros((1, 1280)))


def test_without_its_top_any_size_gives_maps():
    base = load_mobilenet_v2(include_top=False, input_shape=(96, 128, 3))
    assert base.output_shape == (None, 3, 4, 1280)


def test_the_kernel_that_loads_does_not_import_torch():
    code = (
        "import sys; from course_utils.data import load_mobilenet_v2 as load; "
        "load(input_shape=(32, 32, 3)); print('torch' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "False"


@pytest.fixture
def own_cache(cache, ready):
    """A cache that holds the checkpoint and a finished conversion."""
    shutil.copytree(ready, cache / "mobilenet-v2")
    return cache / "mobilenet-v2"


@pytest.fixture(scope="module", autouse=True)
def ready(tmp_path_factory):
    """Both files in one folder, wherever they are kept on this machine."""
    folder = tmp_path_factory.mktemp("mobilenet")
    converted = prepare_mobilenet_v2()
    shutil.copy(fetching.fetch("mobilenet-v2") / CHECKPOINT, folder)
    shutil.copy(converted, folder)
    shutil.copy(converted.with_name(CONVERTED + ".sha256"), folder)
    return folder


def no_conversion(*_):
    raise AssertionError("converted again")


def test_a_conversion_is_made_once(own_cache, monkeypatch):
    monkeypatch.setattr(pretrained, "_convert", no_conversion)
    assert prepare_mobilenet_v2() == own_cache / CONVERTED


def test_a_damaged_conversion_is_not_believed(own_cache, monkeypatch):
    path = own_cache / CONVERTED
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    asked = []
    monkeypatch.setattr(pretrained, "_convert", lambda *paths: asked.append(paths))
    prepare_mobilenet_v2()
    assert asked == [(own_cache / CHECKPOINT, path)]


def test_a_conversion_without_its_digest_is_not_believed(own_cache, monkeypatch):
    (own_cache / (CONVERTED + ".sha256")).unlink()
    asked = []
    monkeypatch.setattr(pretrained, "_convert", lambda *paths: asked.append(paths))
    prepare_mobilenet_v2()
    assert asked


def test_a_failed_conversion_leaves_nothing_and_says_why(own_cache, monkeypatch):
    (own_cache / CONVERTED).unlink()
    monkeypatch.setattr(
        pretrained, "_IN_ITS_OWN_PROCESS", "raise SystemExit('no torch')"
    )
    with pytest.raises(DataError, match="no torch"):
        prepare_mobilenet_v2()
    assert not (own_cache / CONVERTED).exists()
    assert not list(own_cache.glob(".conversion-*"))


def test_where_the_cache_cannot_be_written_a_conversion_in_it_is_used(
    own_cache, monkeypatch
):
    monkeypatch.setattr(pretrained, "_convert", no_conversion)
    for path in (*own_cache.iterdir(), own_cache, own_cache.parent):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert prepare_mobilenet_v2() == own_cache / CONVERTED
    finally:
        own_cache.parent.chmod(0o755)
        own_cache.chmod(0o755)


def test_where_nothing_can_be_written_it_is_converted_for_the_session(
    own_cache, monkeypatch, capsys
):
    (own_cache / CONVERTED).unlink()

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pretrained, "locked", refuse)
    asked = []
    monkeypatch.setattr(pretrained, "_convert", lambda *paths: asked.append(paths))
    path = prepare_mobilenet_v2()
    assert own_cache not in path.parents and asked[0][1] == path
    assert "for this session only" in capsys.readouterr().err


def test_course_data_prepares_what_the_lesson_would(own_cache, monkeypatch, capsys):
    (own_cache / (CONVERTED + ".sha256")).unlink()
    asked = []
    monkeypatch.setattr(pretrained, "_convert", lambda *paths: asked.append(paths))
    assert main(["data", "mobilenet-v2"]) == 0
    assert asked and "verified" in capsys.readouterr().out


def test_the_conversion_from_the_start_agrees_with_the_kept_one(cache, ready):
    folder = cache / "mobilenet-v2"
    folder.mkdir(parents=True)
    shutil.copy(ready / CHECKPOINT, folder)
    path = prepare_mobilenet_v2()
    assert path == folder / CONVERTED
    assert sorted(os.listdir(folder)) == sorted(
        [CHECKPOINT, CONVERTED, CONVERTED + ".sha256"]
    )


@pytest.mark.skipif(not V1.exists(), reason="no V1 weights beside this checkout")
def test_the_original_recipes_network_loads_from_a_path(trio):
    model = load_mobilenet_v2(weights=V1, alpha=0.75)
    unscaled = trio * pretrained.CHANNEL_STD + pretrained.CHANNEL_MEAN
    got = model.predict(scale_pixels(unscaled * 255, V1), verbose=0)
    best = [top[0][0] for top in decode_predictions(got)]
    assert best == ["triumphal arch", "goldfish", "screwdriver"]


@pytest.mark.skipif(not V1.exists(), reason="no V1 weights beside this checkout")
def test_weights_of_another_width_are_refused_in_one_sentence():
    with pytest.raises(DataError, match="alpha=1.0"):
        load_mobilenet_v2(weights=V1, alpha=1.0)


def test_a_path_without_weights_is_refused(tmp_path):
    with pytest.raises(DataError, match="no weights at"):
        load_mobilenet_v2(weights=tmp_path / "none.h5")


def test_keras_own_weights_count_only_with_their_digest(cache, tmp_path, monkeypatch):
    (tmp_path / "v1.h5").write_bytes(b"weights")
    md5 = hashlib.md5(b"weights").hexdigest()
    monkeypatch.setattr(pretrained, "V1_ADDRESS", f"file://{tmp_path}/")
    monkeypatch.setattr(pretrained, "V1_FILES", {True: ("v1.h5", md5)})
    got = Path(pretrained._fetch_mobilenet_v1(True))
    assert got.read_bytes() == b"weights" and got.is_relative_to(cache)
    monkeypatch.setattr(pretrained, "V1_FILES", {True: ("v1.h5", "0" * 32)})
    with pytest.raises(DataError, match="could not be had"):
        load_mobilenet_v2(weights="keras")


def test_a_width_without_a_known_digest_is_refused():
    with pytest.raises(DataError, match="only alpha=1.0"):
        load_mobilenet_v2(weights="keras", alpha=0.5)
