"""Representations that somebody else trained."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from course_utils.data.fetch import cache_folder, digest, fetch, locked
from course_utils.errors import DataError
from course_utils.files import replacing
from course_utils.frameworks import import_keras

import numpy as np

KEPT_WORDS = 50_000


def load_glove(n_words: int = KEPT_WORDS) -> tuple[list[str], np.ndarray]:
    """Load GloVe vectors trained on six billion words of Wikipedia and news.

    Parameters
    ----------
    n_words : int
        How many words to keep, the most frequent first; at most 50,000.

    Returns
    -------
    words : list of str
        Lower-case words, in order of falling frequency.
    vectors : numpy.ndarray of shape (n_words, 50), float32
        One row a word.

    Raises
    ------
    ValueError
        When `n_words` is not between 1 and 50,000.
    DataError
        When the vectors can be neither found nor fetched.

    References
    ----------
    Pennington, Socher and Manning (2014), GloVe: Global Vectors for Word
    Representation, EMNLP.
    """
    if not 1 <= n_words <= KEPT_WORDS:
        raise ValueError(f"n_words is {n_words}; choose 1 to {KEPT_WORDS:,}.")
    folder = fetch("glove")
    words = (folder / "words.txt").read_text(encoding="utf-8").split("\n")[:n_words]
    vectors = np.load(folder / "vectors.npy", mmap_mode="r", allow_pickle=False)
    return words, np.array(vectors[:n_words])


def keep_frequent_words(source: Path, target: Path) -> None:
    """Write the 50,000 most frequent of 400,000 GloVe words as two small files.

    Parameters
    ----------
    source : pathlib.Path
        Folder with the members of the package.
    target : pathlib.Path
        Folder that gets ``vectors.npy`` and ``words.txt``.
    """
    import pyarrow.parquet

    index = pyarrow.parquet.read_table(source / "glove_6B_index.parquet")
    words = index.column("index").to_pylist()[:KEPT_WORDS]
    (target / "words.txt").write_text("\n".join(words), encoding="utf-8", newline="\n")
    vectors = np.load(
        source / "glove_6B_50d_emb.npy", mmap_mode="r", allow_pickle=False
    )
    np.save(target / "vectors.npy", np.ascontiguousarray(vectors[:KEPT_WORDS]))


# --- MobileNet -----------------------------------------------------------------

# What ImageNet's pictures have on average, red, green and blue, on a scale of 0 to
# 1, and how much they vary: the numbers of the recipe that trained the weights.
CHANNEL_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
CHANNEL_STD = np.array([0.229, 0.224, 0.225], np.float32)
CHECKPOINT = "mobilenet_v2-b0353104.pth"
CONVERTED = "mobilenet_v2.weights.h5"
# Keras publishes no digest of its V1 files; these are in a public collection of
# Keras's weights whose other entries are those that Keras does publish.
V1_ADDRESS = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet/"
V1_FILES = {
    True: ("mobilenet_1_0_224_tf.h5", "03394917f9a9ea3362f46332a5b6a215"),
    False: ("mobilenet_1_0_224_tf_no_top.h5", "725ccbd03d61d7ced5b5c4cd17e7d527"),
}
_IN_ITS_OWN_PROCESS = (
    "import sys; from course_utils.data import pretrained; "
    "pretrained._write_converted(*sys.argv[1:])"
)


def load_mobilenet_v2(
    include_top: bool = True,
    input_shape: tuple[int, int, int] = (224, 224, 3),
    *,
    weights: str | Path = "imagenet",
    alpha: float = 1.0,
) -> Any:
    """Load a MobileNet that was trained on ImageNet's 1.3 million photos.

    Parameters
    ----------
    include_top : bool
        Whether to keep the last two layers, the average over places and the 1,000
        probabilities; without them the output is a stack of maps, a 32nd as wide
        and high as the picture.
    input_shape : tuple of int
        Height, width and 3, each side at least 32 pixels.
    weights : {"imagenet", "keras"} or path
        ``"imagenet"``: MobileNetV2, converted once from the catalog's checkpoint.
        ``"keras"``: MobileNet V1 as Keras offers it, the network of the original
        recipe. A path: MobileNet V1 with weights from an h5 file of yours.
    alpha : float
        Width of a V1: 0.25, 0.5, 0.75 or 1.

    Returns
    -------
    keras.Model
        Takes float32 pictures of shape (batch, height, width, 3), scaled by
        `scale_pixels` with the same `weights`.

    Raises
    ------
    DataError
        When the weights can be neither found nor fetched, or do not fit.

    References
    ----------
    Sandler et al. (2018), MobileNetV2: Inverted Residuals and Linear Bottlenecks,
    CVPR. Howard et al. (2017), MobileNets, arXiv:1704.04861 (V1).
    """
    if weights != "imagenet":
        return _load_mobilenet_v1(include_top, input_shape, weights, alpha)
    keras = import_keras()

    path = prepare_mobilenet_v2()
    model = _mobilenet_v2(input_shape)
    model.load_weights(path)
    if not include_top:
        model = keras.Model(model.input, model.get_layer("out_relu").output)
    return model


def scale_pixels(pixels: Any, weights: str | Path = "imagenet") -> np.ndarray:
    """Scale pixels to what `load_mobilenet_v2`'s network was trained on.

    Parameters
    ----------
    pixels : array of shape (..., 3)
        Red, green and blue, 0 to 255.
    weights : {"imagenet", "keras"} or path
        As for `load_mobilenet_v2`.

    Returns
    -------
    numpy.ndarray of the same shape, float32
        For V2 each channel less ImageNet's mean, in units of its standard deviation;
        for V1 between -1 and 1.
    """
    pixels = np.asarray(pixels, np.float32)
    if weights == "imagenet":
        return (pixels / 255 - CHANNEL_MEAN) / CHANNEL_STD
    return pixels / 127.5 - 1


def load_imagenet_names() -> list[str]:
    """Names of ImageNet's 1,000 classes, in the order of the network's outputs.

    Returns
    -------
    list of str
        The first of each class's names.

    References
    ----------
    Russakovsky et al. (2015), ImageNet Large Scale Visual Recognition Challenge.
    """
    text = (Path(__file__).parent / "imagenet_names.txt").read_text(encoding="utf-8")
    return text.splitlines()


def decode_predictions(probabilities: Any, top: int = 5) -> list[list[tuple]]:
    """Name the classes that a network finds most probable.

    Parameters
    ----------
    probabilities : array of shape (batch, 1000)
        Output of the network with its top.
    top : int
        How many to name.

    Returns
    -------
    list of list of (str, float)
        For each picture the name and the probability, the highest first.

    Raises
    ------
    ValueError
        When the last axis has not 1,000 columns.
    """
    probabilities = np.atleast_2d(np.asarray(probabilities))
    if probabilities.shape[-1] != 1000:
        raise ValueError(
            f"ImageNet has 1,000 classes, here are {probabilities.shape[-1]} columns: "
            "was the network loaded with its top?"
        )
    names = load_imagenet_names()
    order = np.argsort(-probabilities, axis=-1, kind="stable")[:, :top]
    return [
        [(names[i], float(row[i])) for i in places]
        for row, places in zip(probabilities, order, strict=True)
    ]


def prepare_mobilenet_v2() -> Path:
    """Keras weights of MobileNetV2, converted if that has not been done yet.

    The checkpoint is torch's. It is read in a process of its own, so that a notebook
    which computes with TensorFlow needs no torch beside it.

    Returns
    -------
    pathlib.Path
        An ``.weights.h5`` file whose sha256 is the one noted when it was written.

    Raises
    ------
    DataError
        When the checkpoint cannot be had, or its conversion fails.
    """
    source = fetch("mobilenet-v2")
    own = cache_folder() / "mobilenet-v2"
    for folder in (source, own):
        if _intact(folder / CONVERTED):
            return folder / CONVERTED
    try:
        own.mkdir(parents=True, exist_ok=True)
        with locked(own.parent, "mobilenet-v2-conversion"):
            if not _intact(own / CONVERTED):
                _convert(source / CHECKPOINT, own / CONVERTED)
        return own / CONVERTED
    except OSError as error:
        import atexit

        reason = error.strerror or error
        try:
            folder = Path(tempfile.mkdtemp(prefix="embeddings-course-"))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            print(
                f"{own} cannot be written ({reason}): MobileNetV2 is converted for "
                "this session only.",
                file=sys.stderr,
            )
            _convert(source / CHECKPOINT, folder / CONVERTED)
        except OSError:
            raise DataError(
                f"MobileNetV2's weights cannot be converted: neither {own} ({reason}) "
                "nor the temporary folder can be written. Free some space, or set "
                "COURSE_DATA_DIR to a folder that you can write to."
            ) from None
        return folder / CONVERTED


def _intact(path: Path) -> bool:
    """Whether a converted file has the digest noted beside it."""
    try:
        noted = path.with_name(path.name + ".sha256").read_text(encoding="utf-8")
        return noted.split()[:1] == [digest(path)]
    except (OSError, ValueError):
        return False


def _convert(checkpoint: Path, target: Path) -> None:
    """Convert the weights, and note their digest."""
    # The weights first: a note without them, or an older note, is not believed.
    with replacing(target, target.with_name(CONVERTED + ".sha256")) as (written, note):
        ran = subprocess.run(
            [sys.executable, "-c", _IN_ITS_OWN_PROCESS, checkpoint, written],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            stdin=subprocess.DEVNULL,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        )
        if ran.returncode:
            reason = (ran.stderr.strip().splitlines() or ["it did not say why"])[-1]
            raise DataError(
                f"MobileNetV2's weights could not be converted: {reason}. "
                "`course doctor` looks for the cause."
            )
        note.write_text(f"{digest(written)}  {CONVERTED}\n", encoding="utf-8")


def _mobilenet_v2(input_shape: tuple[int, int, int]) -> Any:
    """Build Keras's MobileNetV2 with the padding and the epsilon of torch's."""
    keras = import_keras()

    plain = keras.applications.MobileNetV2(input_shape=input_shape, weights=None)

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        match layer:
            case keras.layers.ZeroPadding2D():
                config["padding"] = ((1, 1), (1, 1))
            case keras.layers.BatchNormalization():
                config["epsilon"] = 1e-5
            case keras.layers.Conv2D(name="Conv1"):
                config["padding"] = "valid"
        return type(layer).from_config(config)

    def call(layer: Any, *inputs: Any, **options: Any) -> Any:
        if layer.name == "Conv1":
            # "same" would put the missing row and column on one side only.
            inputs = (keras.layers.ZeroPadding2D(1, name="Conv1_pad")(*inputs),)
        return layer(*inputs, **options)

    return keras.models.clone_model(plain, clone_function=clone, call_function=call)


def _write_converted(checkpoint: str, target: str) -> None:
    """Read torch's file and write Keras's; runs in a process of its own."""
    keras = import_keras()
    import torch

    kept = torch.load(checkpoint, map_location="cpu", weights_only=True)
    arrays = [
        (name, tensor.numpy())
        for name, tensor in kept.items()
        if not name.endswith("num_batches_tracked")
    ]
    model = _mobilenet_v2((224, 224, 3))
    for layer in model.layers:
        n_arrays = len(layer.get_weights())
        given, arrays = [array for _, array in arrays[:n_arrays]], arrays[n_arrays:]
        match layer:
            case keras.layers.DepthwiseConv2D():
                given = [given[0].transpose(2, 3, 0, 1)]
            case keras.layers.Conv2D():
                given = [given[0].transpose(2, 3, 1, 0)]
            case keras.layers.Dense():
                given = [given[0].T, given[1]]
        layer.set_weights(given)
    if arrays:
        raise SystemExit(f"{len(arrays)} arrays were left over, {arrays[0][0]} first")
    model.save_weights(target)


def _load_mobilenet_v1(
    include_top: bool,
    input_shape: tuple[int, int, int],
    weights: str | Path,
    alpha: float,
) -> Any:
    keras = import_keras()

    if weights == "keras":
        if alpha != 1.0:
            raise DataError(
                f"alpha is {alpha}, but only alpha=1.0 has a known digest here; pass "
                "the path of a file of yours as weights."
            )
        chosen = _fetch_mobilenet_v1(include_top)
    else:
        chosen = os.path.expanduser(weights)
    if not os.path.isfile(chosen):
        raise DataError(
            f"There are no weights at {chosen}. Choose 'imagenet' (V2), 'keras' "
            "(V1, as Keras offers it), or the path of an h5 file."
        )
    try:
        return keras.applications.MobileNet(
            input_shape=input_shape,
            alpha=alpha,
            include_top=include_top,
            weights=chosen,
        )
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "?"
        raise DataError(
            f"{chosen} does not fit MobileNet V1 with alpha={alpha} and "
            f"include_top={include_top}: {reason}"
        ) from None


def _fetch_mobilenet_v1(include_top: bool) -> str:
    """Let Keras fetch its own file, with the digest that Keras leaves out."""
    keras = import_keras()

    name, md5 = V1_FILES[include_top]
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        with contextlib.redirect_stdout(io.StringIO()):  # its bar fills pages
            return keras.utils.get_file(
                name,
                V1_ADDRESS + name,
                file_hash=md5,
                hash_algorithm="md5",
                cache_dir=cache_folder(),
                cache_subdir="mobilenet-v1",
            )
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "?"
        raise DataError(
            f"MobileNet V1's weights could not be had from {V1_ADDRESS + name}: "
            f"{reason} Use weights='imagenet' (V2), or the path of an h5 file."
        ) from None
